#include "render.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "lanes.h"
#include "log.h"
#include "meta.h"
#include "program.h"
#include "resp.h"

#define LANE_MEM  ((size_t)256 << 10)
#define LANE_FILE ((uint64_t)1 << 30)
#define NO_DB     UINT32_MAX

/* --resp: requests go to one connection, so its database has to be followed, a request of several records
 * must not be broken into, and a FLUSH runs when every flow has come to it. */
struct resp_out {
    struct lanes lanes;
    unsigned flows;
    uint32_t db;
    int chain; /* flow whose request is in part written, -1: none */
};

static void fault(struct emit *e, int code)
{
    e->failed = true;
    e->fault = code;
}

static void put(struct emit *e, const void *p, size_t n)
{
    if (e->failed || n == 0)
        return;
    uint8_t *to = recout_room(&e->rendered, n);
    if (to == NULL) {
        fault(e, errno);
        return;
    }
    memcpy(to, p, n);
    e->rendered.b.len += n;
}

/* ---- JSON ---- */

static void json_flags(struct buf *b, unsigned flags)
{
    static const char *const names[] = {"more",     "plainset", "idempotent", "first", "last",  "live",
                                        "multikey", "precut",   "together",   "held",  "fresh", "oneflow"};
    const char *sep = "";
    (void)buf_addstr(b, ",\"flags\":[");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if ((flags & 1u << i) != 0) {
            (void)buf_addf(b, "%s\"%s\"", sep, names[i]);
            sep = ",";
        }
    (void)buf_addstr(b, "]");
}

static void json_args(struct buf *b, const uint8_t *p, size_t n)
{
    struct slice one[64];
    int whole;
    memset(one, 0, sizeof one);
    long argc = resp_split(p, n, one, 64, &whole);
    if (argc < 0) { /* the middle of a long request */
        (void)buf_addstr(b, ",\"bytes\":");
        json_add(b, p, n);
        return;
    }
    struct slice *all = one;
    if (argc > 64) {
        size_t most = (size_t)argc < n / 5 + 1 ? (size_t)argc : n / 5 + 1; /* "$0\r\n\r\n" is six bytes */
        all = xcalloc(most, sizeof *all);
        (void)resp_split(p, n, all, most, &whole);
        argc = (long)most;
    }
    (void)buf_addstr(b, ",\"args\":[");
    for (long i = 0; i < argc && all[i].p != NULL; i++) {
        if (i > 0)
            (void)buf_add(b, ",", 1);
        json_add(b, all[i].p, all[i].n);
    }
    (void)buf_addstr(b, "]");
    if (all != one)
        free(all);
}

static void json_step(struct buf *b, const struct step *s)
{
    struct slice a;
    unsigned reg;
    const char *sep = "";
    (void)buf_addf(b, "{\"slot\":%u", s->slot);
    if (s->cond != 0)
        (void)buf_addf(b, ",\"%s\":%u", (s->cond & STEP_NOT) != 0 ? "unless" : "if", s->cond & ~STEP_NOT);
    if (s->keep != 0)
        (void)buf_addf(b, ",\"keep\":%u", s->keep);
    if ((s->flags & STEP_MUST) != 0)
        (void)buf_addstr(b, ",\"must\":true");
    if ((s->flags & STEP_TTL) != 0)
        (void)buf_addstr(b, ",\"ttl\":true");
    if ((s->flags & STEP_ALWAYS) != 0)
        (void)buf_addstr(b, ",\"always\":true");
    (void)buf_addstr(b, ",\"args\":[");
    for (size_t at = 0; program_arg(s, &at, &a, &reg); sep = ",") {
        (void)buf_addstr(b, sep);
        if (reg != 0)
            (void)buf_addf(b, "{\"register\":%u}", reg);
        else
            json_add(b, a.p, a.n);
    }
    (void)buf_addstr(b, "]}");
}

static void json_steps(struct buf *b, const uint8_t *p, size_t n)
{
    struct step s;
    const char *sep = "";
    (void)buf_addstr(b, ",\"steps\":[");
    for (size_t at = 0; program_next(p, n, &at, &s); sep = ",") {
        (void)buf_addstr(b, sep);
        json_step(b, &s);
    }
    (void)buf_addstr(b, "]");
}

static void json_meta(struct buf *b, const uint8_t *p, size_t n)
{
    const char *sep = "";
    (void)buf_addstr(b, ",\"meta\":{");
    for (const uint8_t *end = p + n; p < end;) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL)
            nl = end;
        const uint8_t *eq = memchr(p, '=', (size_t)(nl - p));
        if (eq != NULL) {
            char name[64], value[8192];
            if ((size_t)(eq - p) < sizeof name) {
                memcpy(name, p, (size_t)(eq - p));
                name[eq - p] = '\0';
                long k = meta_get(p, (size_t)(nl - p), name, value, sizeof value);
                (void)buf_addstr(b, sep);
                json_add(b, p, (size_t)(eq - p));
                (void)buf_add(b, ":", 1);
                json_add(b, value, k > 0 ? (size_t)k : 0);
                sep = ",";
            }
        }
        p = nl + 1;
    }
    (void)buf_addstr(b, "}");
}

static void render_json(struct emit *e, const struct rec *r, const uint8_t *p)
{
    struct buf *b = &e->text;
    b->len = 0;
    (void)buf_addf(b, "{\"type\":\"%s\",\"flow\":%u,\"epoch\":%u", rec_type_name(r->type), r->flow, r->epoch);
    if (r->seq != 0)
        (void)buf_addf(b, ",\"seq\":%llu,\"pos\":%llu,\"db\":%u", (unsigned long long)r->seq,
                       (unsigned long long)r->pos, r->db);
    if ((r->type == REC_REQUEST || r->type == REC_PROGRAM) && r->slot != REC_NO_SLOT)
        (void)buf_addf(b, ",\"slot\":%u", r->slot);
    if (r->vclass != CLASS_NONE)
        (void)buf_addf(b, ",\"class\":\"%s\"", rec_class_name(r->vclass));
    if (r->time != 0)
        (void)buf_addf(b, ",\"time\":%llu", (unsigned long long)r->time);
    if (r->flags != 0)
        json_flags(b, r->flags);
    if (r->type == REC_REQUEST)
        json_args(b, p, r->len);
    else if (r->type == REC_PROGRAM)
        json_steps(b, p, r->len);
    else if (r->type == REC_BARRIER) {
        uint64_t txid;
        memcpy(&txid, p, sizeof txid);
        (void)buf_addf(b, ",\"txid\":%llu", (unsigned long long)txid);
        json_args(b, p + 8, r->len - 8);
    } else if (r->len > 0)
        json_meta(b, p, r->len);
    (void)buf_addstr(b, "}\n");
    put(e, b->p, b->len);
}

void render_report(struct emit *e, const struct origin *o, bool lost, const char *kind, const uint8_t *key,
                   size_t n, const char *detail)
{
    struct buf *b = &e->text;
    b->len = 0;
    (void)buf_addf(b, "{\"kind\":\"%s\",\"lost\":%s,\"live\":%s,\"flow\":%u,\"db\":%u,\"key\":", kind,
                   lost ? "true" : "false", o->live ? "true" : "false", o->flow, o->db);
    json_add(b, key, n);
    (void)buf_addstr(b, ",\"detail\":");
    json_adds(b, detail);
    (void)buf_addstr(b, "}\n");
    (void)fwrite(b->p, 1, b->len, e->report); /* faults show when it is closed */
}

/* ---- RESP ---- */

static void resp_select(struct emit *e, uint32_t db)
{
    uint8_t num[20];
    if (e->resp->db == db)
        return;
    e->resp->db = db;
    e->text.len = 0;
    (void)resp_add_array(&e->text, 2);
    (void)resp_add_str(&e->text, "SELECT");
    (void)resp_add_bulk(&e->text, num, dec_u64(num, db));
    put(e, e->text.p, e->text.len);
}

static void resp_request(struct emit *e, const struct rec *r, const uint8_t *p)
{
    if (e->resp->chain < 0)
        resp_select(e, r->db);
    put(e, p, r->len);
    e->resp->chain = (r->flags & RF_MORE) != 0 ? r->flow : -1;
}

static void resp_flush(struct emit *e, int scope)
{
    struct lanes *l = &e->resp->lanes;
    size_t n;
    const uint8_t *request = lanes_request(l, scope, &n);
    resp_select(e, lanes_db(l, scope));
    put(e, request, n);
    lanes_release(l, scope);
}

static void resp_barrier(struct emit *e, const struct rec *r, const uint8_t *p)
{
    struct lanes *l = &e->resp->lanes;
    if ((r->flags & RF_PRECUT) != 0) {
        log_event(LOG_ERROR, r->flow,
                  "event=flush_before_cut error=\"the source was flushed while its snapshot was read: start "
                  "again\"");
        fault(e, EPROTO);
        return;
    }
    switch (lanes_arrive(l, r, p)) {
    case LANES_WAIT: return;
    case LANES_COMPLETE: resp_flush(e, LANES_ALL); return;
    case LANES_ALONE: resp_flush(e, r->flow); return;
    case LANES_WIDE:
        log_event(
            LOG_ERROR, r->flow,
            "event=flush_of_one_flow error=\"not supported: keys of other flows would be removed, too\"");
        fault(e, EPROTO);
        return;
    case LANES_CONFLICT:
    case LANES_BAD: break;
    }
    log_event(LOG_ERROR, r->flow, "event=barrier error=\"the flows disagree on a FLUSH\"");
    fault(e, EPROTO);
}

static void resp_apply(struct emit *e, const struct rec *r, const uint8_t *p)
{
    if (r->type == REC_REQUEST)
        resp_request(e, r, p);
    else if (r->type == REC_BARRIER)
        resp_barrier(e, r, p);
}

/* What was queued, as far as it can go now. */
static void resp_drain(struct emit *e)
{
    struct resp_out *o = e->resp;
    int flow = 0;
    struct rec r;
    const uint8_t *p;
    while (!e->failed) {
        flow = o->chain >= 0 ? o->chain : lanes_pick(&o->lanes, (unsigned)flow);
        if (flow < 0)
            return;
        int rc = lanes_peek(&o->lanes, (unsigned)flow, &r, &p);
        if (rc == 0)
            return; /* the rest of a long request has not come yet */
        if (rc < 0) {
            fault(e, errno);
            return;
        }
        resp_apply(e, &r, p);
        lanes_drop(&o->lanes, (unsigned)flow, &r);
    }
}

static void render_resp(struct emit *e, const struct rec *r, const uint8_t *p)
{
    struct resp_out *o = e->resp;
    if (o == NULL || (r->type != REC_REQUEST && r->type != REC_BARRIER))
        return;
    if (r->flow >= o->flows) {
        fault(e, EPROTO);
        return;
    }
    bool foreign = o->chain >= 0 && o->chain != r->flow;
    if (foreign || lanes_blocked(&o->lanes, r->flow)) {
        if (lanes_queue(&o->lanes, r, p) < 0)
            fault(e, errno);
    } else {
        resp_apply(e, r, p);
    }
    if (!e->failed && o->lanes.queued > 0)
        resp_drain(e);
}

void render_session(struct emit *e, unsigned flows)
{
    render_free(e);
    if (e->mode != EMIT_RESP)
        return;
    e->resp = xcalloc(1, sizeof *e->resp);
    e->resp->flows = flows;
    e->resp->db = NO_DB;
    e->resp->chain = -1;
    lanes_init(&e->resp->lanes, flows, LANE_MEM, LANE_FILE, NULL);
}

uint64_t render_end(struct emit *e)
{
    uint64_t left = 0;
    if (e->resp == NULL)
        return 0;
    for (unsigned i = 0; i < e->resp->flows; i++)
        left += spool_len(&e->resp->lanes.lane[i].q) > 0 || e->resp->lanes.lane[i].waiting;
    return left;
}

void render_free(struct emit *e)
{
    if (e->resp != NULL)
        lanes_free(&e->resp->lanes);
    free(e->resp);
    e->resp = NULL;
}

void render(struct emit *e, const struct rec *r, const uint8_t *payload)
{
    switch (e->mode) {
    case EMIT_JSON: render_json(e, r, payload); return;
    case EMIT_RESP: render_resp(e, r, payload); return;
    default: return; /* --null */
    }
}
