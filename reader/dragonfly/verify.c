#include "verify.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "../session.h"

#define FIRST_AFFECTED 139                        /* v1.39 */
#define TURN           16                         /* steps, then the flows have theirs */
#define NAME_MAX_BYTES ((CTL_LINE_MAX - 200) / 3) /* a name has to fit a control line, escaped */

/* A key that a writer has not found at the target. */
struct missing {
    STAILQ_ENTRY(missing) link;
    unsigned flow;
    uint32_t db;
    bool own; /* dfparse had it looked for, not we */
    size_t len;
    char key[];
};

static void put_keys(void *ctx, uint32_t db, unsigned flow, uint64_t at, const redisReply *keys);

void verify_init(struct verify *v, struct session *s, const struct conn *like)
{
    memset(v, 0, sizeof *v);
    v->session = s;
    v->scan = (struct scan){.like = like, .omits = -1, .keys = put_keys, .ctx = v, .conn.w.fd = -1};
    STAILQ_INIT(&v->missing);
}

static void drop_first(struct verify *v)
{
    struct missing *m = STAILQ_FIRST(&v->missing);
    STAILQ_REMOVE_HEAD(&v->missing, link);
    v->nmissing--;
    v->nown -= m->own;
    free(m);
}

void verify_reset(struct verify *v)
{
    struct scan before = v->scan;
    struct session *session = v->session;
    scan_reset(&before);
    while (!STAILQ_EMPTY(&v->missing))
        drop_first(v);
    free(v->asked);
    verify_init(v, session, before.like);
}

/* ---- whether it is needed ---- */

/* 139 of "df-v1.39.0"; 0: not told. */
static unsigned version_of(const struct handshake *h)
{
    unsigned major, minor;
    if (sscanf(h->version, "df-v%u.%u", &major, &minor) != 2 || major > 1000 || minor > 99)
        return 0;
    return major * 100 + minor;
}

void verify_full_sync(struct verify *v, const struct handshake *h)
{
    const char *shown = h->version[0] != '\0' ? h->version : "unknown";
    unsigned version = version_of(h);
    v->scan.omits = h->omits;
    /* One that does not tell its version shows by its protocol that it may be one of these (v1.37 or later).
     */
    if (version != 0 ? version < FIRST_AFFECTED : v->session->stream.info.protocol < 5)
        return;
    log_event(LOG_WARN, NO_FLOW,
              "event=omitted_writes version=%s verify=%s note=\"masters from v1.39 on may lose new keys that "
              "are set during a full sync; with --journal_omit_redundant_writes=false the master does not\"",
              log_quote(shown, strlen(shown)), v->session->o->no_verify ? "no" : "yes");
    if (!v->session->o->no_verify)
        v->state = VERIFY_NEEDED;
}

void verify_owed(struct verify *v)
{
    if (!v->session->resume.verify)
        return;
    if (v->session->o->no_verify)
        log_event(LOG_WARN, NO_FLOW,
                  "event=not_verified note=\"the full sync of an earlier run was not verified to its "
                  "end, and --no-verify is given\"");
    else
        v->state = VERIFY_NEEDED;
    v->scan.looked = true; /* what that master had left out then is not known */
}

/* ---- into the stream ---- */

static void put(struct verify *v, unsigned flow, struct buf *b)
{
    flows_check(v->session, flow, b);
    b->len = 0;
}

static void put_state(struct verify *v, unsigned flow, const char *state)
{
    struct buf b = {.max = 64};
    meta_adds(&b, "state", state);
    put(v, flow, &b);
    buf_free(&b);
}

void verify_flows(struct verify *v)
{
    for (unsigned i = 0; v->state == VERIFY_NEEDED && i < v->session->stream.info.flows; i++)
        put_state(v, i, "begin");
}

static void begin_text(struct buf *b, const char *state, uint32_t db)
{
    meta_adds(b, "state", state);
    meta_addu(b, "db", db);
}

/* Keys of a flow that the source has, as it was at LSN at: into the stream. */
static void put_keys(void *ctx, uint32_t db, unsigned flow, uint64_t at, const redisReply *keys)
{
    struct verify *v = ctx;
    struct buf b = {.max = flows_check_max(v->session->o)};
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *k = keys->element[i];
        if (k->type != REDIS_REPLY_STRING || k->len > NAME_MAX_BYTES) {
            v->unnamed++;
            continue;
        }
        if (b.len > 0 && b.len + 3 * k->len + 100 > b.max)
            put(v, flow, &b);
        if (b.len == 0) {
            begin_text(&b, "key", db);
            meta_addu(&b, "at", at);
        }
        meta_add(&b, "key", k->str, k->len, '\n');
        v->asked[flow].keys++;
        v->pass_keys++;
    }
    if (b.len > 0)
        put(v, flow, &b);
    buf_free(&b);
}

/* Have a key read again, and asked for once more then. */
static void put_again(struct verify *v, const struct missing *m)
{
    struct buf b = {.max = CTL_LINE_MAX};
    begin_text(&b, "again", m->db);
    if (m->own)
        meta_addu(&b, "own", 1);
    meta_add(&b, "key", m->key, m->len, '\n');
    if (m->own)
        v->asked[m->flow].later++;
    else
        v->asked[m->flow].again++;
    put(v, m->flow, &b);
    buf_free(&b);
}

/* ---- the end ---- */

static void over(struct verify *v, enum verify_state state)
{
    v->state = state;
    scan_reset(&v->scan);
    for (unsigned i = 0; i < v->session->stream.info.flows; i++)
        put_state(v, i, state == VERIFY_DONE ? "done" : "failed");
}

/* Nothing can be missing but what commands find missing on their way to the target. They are to stop doing
 * so, and when all of it is told and read again the session is verified. */
static void put_ends(struct verify *v)
{
    for (unsigned i = 0; i < v->session->stream.info.flows; i++) {
        v->asked[i].keys++;
        put_state(v, i, "ends");
    }
}

static void soon_over(struct verify *v)
{
    v->state = VERIFY_ENDS;
    scan_reset(&v->scan);
    put_ends(v);
}

/* A command may have found its key missing since the last answers. When those to come are there, none can. */
static void closes(struct verify *v)
{
    v->closes = true;
    put_ends(v);
}

static void fail(struct verify *v, const char *why)
{
    log_event(
        LOG_ERROR, NO_FLOW,
        "event=verify_failed pass=%u error=%s note=\"keys may be missing at the target; see dfreader(1)\"",
        v->pass, log_quote(why, strlen(why)));
    over(v, VERIFY_FAILED);
}

/* ---- what the writers say ---- */

static void missing(struct verify *v, unsigned flow, const char *line)
{
    char key[CTL_LINE_MAX];
    uint64_t db, own = 0;
    long n = ctl_get(line, "key", key, sizeof key);
    (void)ctl_getu(line, "own", &own);
    if (n < 0 || !ctl_getu(line, "db", &db) || db > UINT32_MAX)
        return;
    v->lost++;
    log_event(LOG_DEBUG, (int)flow, "event=missing_at_target db=%u key=%s", (unsigned)db,
              log_quote(key, (size_t)n));
    if (v->nmissing >= VERIFY_MISSING) {
        if (v->overflow++ == 0 && v->state == VERIFY_ENDS)
            fail(v, "more keys are missing than can be kept");
        return;
    }
    struct missing *m = xmalloc(sizeof *m + (size_t)n);
    *m = (struct missing){.flow = flow, .db = (uint32_t)db, .own = own != 0, .len = (size_t)n};
    memcpy(m->key, key, (size_t)n);
    STAILQ_INSERT_TAIL(&v->missing, m, link);
    v->nmissing++;
    v->nown += m->own;
}

/* A count that exceeds what was asked for, or falls, would keep outstanding() from ever reaching zero. */
static bool plausible(const struct verify_count *asked, const struct verify_count *before,
                      const struct verify_count *c)
{
    return c->keys <= asked->keys && c->again <= asked->again && c->later <= asked->later &&
           c->found <= c->again && c->keys >= before->keys && c->again >= before->again &&
           c->later >= before->later && c->found >= before->found;
}

static void probed(struct verify *v, struct peer *p, unsigned flow, const char *line)
{
    struct verify_count c;
    if (!ctl_getu(line, "keys", &c.keys) || !ctl_getu(line, "again", &c.again) ||
        !ctl_getu(line, "later", &c.later) || !ctl_getu(line, "found", &c.found))
        return;
    if (p->probed == NULL) {
        p->probed = xcalloc(v->session->stream.info.flows, sizeof *p->probed);
        p->nprobed = v->session->stream.info.flows;
    }
    if (!plausible(&v->asked[flow], &p->probed[flow], &c)) {
        fail(v, "a writer counts answers that cannot be");
        return;
    }
    p->probed[flow] = c;
}

void verify_line(struct verify *v, struct peer *p, const char *line)
{
    uint64_t flow, epoch;
    char reason[200] = "";
    if (v->state == VERIFY_OFF || !ctl_getu(line, "epoch", &epoch) ||
        epoch != v->session->stream.info.epoch || session_ending(v->session))
        return;
    if (ctl_is(line, "unprobed")) {
        (void)ctl_get(line, "reason", reason, sizeof reason);
        if (verify_runs(v))
            fail(v, reason);
        return;
    }
    if (!ctl_getu(line, "flow", &flow) || flow >= v->session->stream.info.flows)
        return;
    if (ctl_is(line, "missing"))
        missing(v, (unsigned)flow, line);
    else if (verify_runs(v))
        probed(v, p, (unsigned)flow, line);
}

/* What all writers have answered of a flow; none: nothing. */
static struct verify_count answered(const struct verify *v, unsigned flow)
{
    struct verify_count low = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0}, none = {0};
    const struct peer *p;
    bool any = false;
    TAILQ_FOREACH(p, &v->session->control.peers, link)
    {
        if (p->role != ROLE_WRITER)
            continue;
        const struct verify_count *c = flow < p->nprobed ? &p->probed[flow] : &none;
        any = true;
        low.keys = c->keys < low.keys ? c->keys : low.keys;
        low.again = c->again < low.again ? c->again : low.again;
        low.later = c->later < low.later ? c->later : low.later;
        low.found = c->found > low.found ? c->found : low.found;
    }
    return any ? low : none;
}

/* Keys that are not answered yet, of all kinds, and those found so far. */
static struct verify_count outstanding(const struct verify *v)
{
    struct verify_count sum = {0};
    for (unsigned i = 0; i < v->session->stream.info.flows; i++) {
        struct verify_count c = answered(v, i);
        sum.keys += v->asked[i].keys - c.keys;
        sum.again += v->asked[i].again - c.again;
        sum.later += v->asked[i].later - c.later;
        sum.found += c.found;
    }
    return sum;
}

/* ---- passes ---- */

static void next_pass(struct verify *v)
{
    for (unsigned i = 0; v->overflow > 0 && i < v->session->stream.info.flows; i++)
        put_state(v, i, "begin"); /* what dfparse has looked for, too, may be missing and not told */
    v->overflow = 0;
    v->pass++;
    v->pass_keys = 0;
    scan_begin(&v->scan);
}

bool verify_start(struct verify *v)
{
    if (v->state != VERIFY_NEEDED)
        return false;
    v->asked = xcalloc(v->session->stream.info.flows, sizeof *v->asked);
    if (v->session->control.count[ROLE_WRITER] == 0) { /* the stream is kept: there is no target to ask */
        log_event(LOG_WARN, NO_FLOW, "event=not_verified note=\"no writer is there to ask its target\"");
        over(v, VERIFY_FAILED);
        v->state = VERIFY_OFF;
        return false;
    }
    v->state = VERIFY_RUNS;
    v->scan.o = v->session->o;
    v->scan.loop = &v->session->stream.loop;
    v->scan.flows = v->session->stream.info.flows;
    next_pass(v);
    log_event(LOG_INFO, NO_FLOW, "event=verify_begins");
    return true;
}

static void pass_ends(struct verify *v, uint64_t found)
{
    uint64_t repaired = found - v->pass_found;
    log_event(LOG_INFO, NO_FLOW, "event=verify_pass pass=%u keys=%llu repaired=%llu", v->pass,
              (unsigned long long)v->pass_keys, (unsigned long long)repaired);
    v->pass_found = found;
    if (repaired > 0 || v->overflow > 0) {
        if (v->pass >= VERIFY_PASSES)
            fail(v, "every pass finds keys that the target lacks");
        else
            next_pass(v);
        return;
    }
    log_event(found > 0 ? LOG_WARN : LOG_INFO, NO_FLOW, "event=verified passes=%u keys=%llu repaired=%llu",
              v->pass, (unsigned long long)v->pass_keys, (unsigned long long)found);
    if (v->unnamed > 0)
        log_event(LOG_WARN, NO_FLOW,
                  "event=not_verified keys=%llu note=\"their names are too long to be asked for\"",
                  (unsigned long long)v->unnamed);
    soon_over(v);
}

/* Have keys read again, as far as there is room. */
static struct verify_count put_missing(struct verify *v)
{
    struct verify_count left = outstanding(v);
    for (uint64_t n = left.again + left.later;
         !STAILQ_EMPTY(&v->missing) && n < VERIFY_AGAIN && !output_full(&v->session->stream.out); n++) {
        put_again(v, STAILQ_FIRST(&v->missing));
        drop_first(v);
    }
    return outstanding(v);
}

/* Keys that were missing before the scan: it finds them all, unless it is not needed. */
static void scanned(struct verify *v)
{
    struct scan *sc = &v->scan;
    if (sc->error[0] != '\0') {
        fail(v, sc->error);
    } else if (sc->needless && v->overflow == 0) {
        log_event(LOG_INFO, NO_FLOW, "event=verified note=\"the master has left no write out\"");
        soon_over(v);
    } else {
        sc->needless = false;
    }
}

/* Returns false when there is nothing to do now. */
static bool step(struct verify *v)
{
    struct scan *sc = &v->scan;
    struct session *s = v->session;
    struct verify_count left = put_missing(v);
    if (v->state == VERIFY_ENDS) {
        if (left.keys > 0 || left.again > 0 || left.later > 0 || v->nmissing > 0)
            return false;
        if (v->closes)
            over(v, VERIFY_DONE);
        else
            closes(v);
        return false;
    }
    bool more = !scan_complete(sc) && flows_room(s) && left.keys + SCAN_COUNT <= VERIFY_WINDOW &&
                mono_us() >= sc->next_at;
    if (sc->await != SCAN_NONE || !sc->listed || more) {
        scan_step(sc);
        scanned(v);
        return sc->await == SCAN_NONE && sc->conn.open;
    }
    /* What dfparse has looked for is new, as long as it makes new keys: the pass need not wait for it. */
    if (!scan_complete(sc) || left.keys > 0 || left.again > 0 || v->nmissing > v->nown)
        return false;
    pass_ends(v, left.found);
    return true;
}

bool verify_work(struct verify *v)
{
    const struct session *s = v->session;
    bool more = verify_runs(v) && s->stream.state == STREAM_RUNS;
    if (!more && v->state >= VERIFY_DONE && v->nmissing > 0 && s->stream.state == STREAM_RUNS)
        (void)put_missing(v); /* told when it was over */
    for (int turn = 0; turn < TURN && more; turn++)
        more = step(v) && verify_runs(v) && s->stream.state == STREAM_RUNS;
    return more;
}

int verify_timeout(const struct verify *v, int most)
{
    const struct scan *sc = &v->scan;
    uint64_t now = mono_us();
    if (!verify_runs(v) || sc->await != SCAN_NONE || sc->next_at <= now)
        return most;
    uint64_t ms = (sc->next_at - now) / 1000 + 1;
    return ms < (uint64_t)most ? (int)ms : most;
}

void verify_fields(const struct verify *v, struct buf *b)
{
    static const char *const states[] = {"off", "needed", "runs", "runs", "done", "failed"};
    if (v->state != VERIFY_OFF)
        (void)buf_addf(b, "verify=%s pass=%u checked=%llu missing=%llu ", states[v->state], v->pass,
                       (unsigned long long)v->pass_keys, (unsigned long long)v->lost);
}
