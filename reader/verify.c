/* Verifying: the state, what goes into the stream, and what the writers say of it. See also verify_scan.c. */
#include "verify.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "owner.h"

#define FIRST_AFFECTED 139                        /* v1.39 */
#define TURN           16                         /* steps, then the flows have theirs */
#define NAME_MAX_BYTES ((CTL_LINE_MAX - 200) / 3) /* a name has to fit a control line, escaped */

/* A key that a writer has not found at the target. */
struct missing {
    STAILQ_ENTRY(missing) link;
    unsigned flow;
    uint32_t db;
    size_t len;
    char key[];
};

void verify_init(struct verify *v)
{
    memset(v, 0, sizeof *v);
    v->link.w.fd = -1;
    STAILQ_INIT(&v->missing);
}

static void drop_first(struct verify *v)
{
    struct missing *m = STAILQ_FIRST(&v->missing);
    STAILQ_REMOVE_HEAD(&v->missing, link);
    v->nmissing--;
    free(m);
}

void verify_reset(struct owner *w)
{
    struct verify *v = &w->verify;
    verify_scan_reset(v);
    while (!STAILQ_EMPTY(&v->missing))
        drop_first(v);
    free(v->asked);
    verify_init(v);
}

/* ---- whether it is needed ---- */

/* 139 of "df-v1.39.0"; 0: not told. */
static unsigned version_of(const struct owner *w)
{
    unsigned major, minor;
    if (sscanf(w->handshake.version, "df-v%u.%u", &major, &minor) != 2 || major > 1000 || minor > 99)
        return 0;
    return major * 100 + minor;
}

/* One that does not tell its version shows by its protocol that it may be one of these (v1.37 or later). */
static bool affected(const struct owner *w)
{
    unsigned version = version_of(w);
    return version != 0 ? version >= FIRST_AFFECTED : w->info.protocol >= 5;
}

void verify_full_sync(struct owner *w)
{
    const char *shown = w->handshake.version[0] != '\0' ? w->handshake.version : "unknown";
    if (!affected(w))
        return;
    log_event(LOG_WARN, NO_FLOW,
              "event=omitted-writes version=%s verify=%s note=\"masters from v1.39 on may lose new keys that "
              "are set "
              "during a full sync; with --journal_omit_redundant_writes=false the master does not\"",
              log_quote(shown, strlen(shown)), w->o->no_verify ? "no" : "yes");
    if (!w->o->no_verify)
        w->verify.state = VERIFY_NEEDED;
}

void verify_owed(struct owner *w)
{
    if (!w->resume.verify)
        return;
    if (w->o->no_verify)
        log_event(LOG_WARN, NO_FLOW,
                  "event=not-verified note=\"the full sync of an earlier run was not verified to its "
                  "end, and --no-verify is given\"");
    else
        w->verify.state = VERIFY_NEEDED;
    w->verify.looked = true; /* what that master had left out then is not known */
}

/* ---- into the stream ---- */

/* Of a flow in another process the text goes over the control socket, blanks for newlines. */
static char separator(const struct owner *w)
{
    return w->o->session_only ? ' ' : '\n';
}

static void put(struct owner *w, unsigned flow, struct buf *b)
{
    if (!w->o->session_only) {
        memcpy(output_room(&w->out), b->p, b->len);
        (void)output_check(&w->out, flow, w->info.epoch, b->len); /* a failure is noticed in the main loop */
    } else if (w->flows[flow].remote != NULL) {
        hub_send(w->flows[flow].remote, "check flow=%u epoch=%u %.*s", flow, (unsigned)w->info.epoch,
                 (int)b->len, (const char *)b->p);
    }
    b->len = 0;
}

static void put_state(struct owner *w, unsigned flow, const char *state)
{
    struct buf b = {.max = 64};
    meta_add(&b, "state", state, strlen(state), separator(w));
    put(w, flow, &b);
    buf_free(&b);
}

void verify_flows(struct owner *w)
{
    for (unsigned i = 0; w->verify.state == VERIFY_NEEDED && i < w->info.flows; i++)
        put_state(w, i, "begin");
}

static void begin_text(const struct owner *w, struct buf *b, const char *state, uint32_t db)
{
    meta_add(b, "state", state, strlen(state), separator(w));
    (void)buf_addf(b, "db=%u%c", db, separator(w));
}

void verify_keys(struct owner *w, unsigned flow, uint64_t at, const redisReply *keys)
{
    struct verify *v = &w->verify;
    struct buf b = {.max = w->o->session_only ? CTL_LINE_MAX : DATA_MAX};
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *k = keys->element[i];
        if (k->type != REDIS_REPLY_STRING || k->len > NAME_MAX_BYTES) {
            v->unnamed++;
            continue;
        }
        if (b.len > 0 && b.len + 3 * k->len + 100 > b.max)
            put(w, flow, &b);
        if (b.len == 0) {
            begin_text(w, &b, "key", v->db[v->at_db]);
            (void)buf_addf(&b, "at=%llu%c", (unsigned long long)at, separator(w));
        }
        meta_add(&b, "key", k->str, k->len, separator(w));
        v->asked[flow].keys++;
        v->pass_keys++;
    }
    if (b.len > 0)
        put(w, flow, &b);
    buf_free(&b);
}

/* Have a key read again, and asked for once more then. */
static void put_again(struct owner *w, const struct missing *m)
{
    struct buf b = {.max = CTL_LINE_MAX};
    begin_text(w, &b, "again", m->db);
    meta_add(&b, "key", m->key, m->len, separator(w));
    w->verify.asked[m->flow].again++;
    put(w, m->flow, &b);
    buf_free(&b);
}

/* ---- what the writers say ---- */

static void missing(struct owner *w, unsigned flow, const char *line)
{
    struct verify *v = &w->verify;
    char key[CTL_LINE_MAX];
    uint64_t db;
    long n = ctl_get(line, "key", key, sizeof key);
    if (n < 0 || !ctl_getu(line, "db", &db) || db > UINT32_MAX)
        return;
    v->lost++;
    log_event(LOG_DEBUG, (int)flow, "event=missing-at-target db=%u key=%s", (unsigned)db,
              log_quote(key, (size_t)n));
    if (v->nmissing >= VERIFY_MISSING) {
        v->overflow++;
        return;
    }
    struct missing *m = xmalloc(sizeof *m + (size_t)n);
    *m = (struct missing){.flow = flow, .db = (uint32_t)db, .len = (size_t)n};
    memcpy(m->key, key, (size_t)n);
    STAILQ_INSERT_TAIL(&v->missing, m, link);
    v->nmissing++;
}

/* A count that exceeds what was asked for, or falls, would keep outstanding() from ever reaching zero. */
static bool plausible(const struct verify_count *asked, const struct verify_count *before,
                      const struct verify_count *c)
{
    return c->keys <= asked->keys && c->again <= asked->again && c->found <= c->again &&
           c->keys >= before->keys && c->again >= before->again && c->found >= before->found;
}

static void probed(struct owner *w, struct peer *p, unsigned flow, const char *line)
{
    struct verify_count c;
    if (!ctl_getu(line, "keys", &c.keys) || !ctl_getu(line, "again", &c.again) ||
        !ctl_getu(line, "found", &c.found))
        return;
    if (p->probed == NULL) {
        p->probed = xcalloc(w->info.flows, sizeof *p->probed);
        p->nprobed = w->info.flows;
    }
    if (!plausible(&w->verify.asked[flow], &p->probed[flow], &c)) {
        verify_fail(w, "a writer counts answers that cannot be");
        return;
    }
    p->probed[flow] = c;
}

void verify_line(struct owner *w, struct peer *p, const char *line)
{
    uint64_t flow, epoch;
    char reason[200] = "";
    if (!verify_runs(&w->verify) || !ctl_getu(line, "epoch", &epoch) || epoch != w->info.epoch ||
        owner_ending(w))
        return;
    if (ctl_is(line, "unprobed")) {
        (void)ctl_get(line, "reason", reason, sizeof reason);
        verify_fail(w, reason);
        return;
    }
    if (!ctl_getu(line, "flow", &flow) || flow >= w->info.flows)
        return;
    if (ctl_is(line, "missing"))
        missing(w, (unsigned)flow, line);
    else
        probed(w, p, (unsigned)flow, line);
}

/* What all writers have answered of a flow; none: nothing. */
static struct verify_count answered(const struct owner *w, unsigned flow)
{
    struct verify_count low = {UINT64_MAX, UINT64_MAX, 0}, none = {0, 0, 0};
    const struct peer *p;
    bool any = false;
    TAILQ_FOREACH(p, &w->hub.peers, link)
    {
        if (p->role != ROLE_WRITER)
            continue;
        const struct verify_count *c = flow < p->nprobed ? &p->probed[flow] : &none;
        any = true;
        low.keys = c->keys < low.keys ? c->keys : low.keys;
        low.again = c->again < low.again ? c->again : low.again;
        low.found = c->found > low.found ? c->found : low.found;
    }
    return any ? low : none;
}

/* Keys that are not answered yet, of both kinds, and those found so far. */
static struct verify_count outstanding(const struct owner *w)
{
    struct verify_count sum = {0, 0, 0};
    for (unsigned i = 0; i < w->info.flows; i++) {
        struct verify_count c = answered(w, i);
        sum.keys += w->verify.asked[i].keys - c.keys;
        sum.again += w->verify.asked[i].again - c.again;
        sum.found += c.found;
    }
    return sum;
}

/* ---- passes ---- */

void verify_next_pass(struct verify *v)
{
    v->pass++;
    v->pass_keys = 0;
    v->listed = v->selected = v->by_one = false;
    v->at_db = v->ndbs = 0;
    v->cursor = 0;
}

bool verify_start(struct owner *w)
{
    struct verify *v = &w->verify;
    if (v->state != VERIFY_NEEDED)
        return false;
    if (w->hub.count[ROLE_WRITER] == 0) { /* the stream is kept: there is no target to ask */
        log_event(LOG_WARN, NO_FLOW, "event=not-verified note=\"no writer is there to ask its target\"");
        v->state = VERIFY_OFF;
        return false;
    }
    v->state = VERIFY_RUNS;
    v->asked = xcalloc(w->info.flows, sizeof *v->asked);
    verify_next_pass(v);
    log_event(LOG_INFO, NO_FLOW, "event=verify-begins");
    return true;
}

static void over(struct owner *w, enum verify_state state)
{
    struct verify *v = &w->verify;
    v->state = state;
    verify_scan_reset(v);
    for (unsigned i = 0; state == VERIFY_DONE && i < w->info.flows; i++)
        put_state(w, i, "done");
    session_verified(w);
}

void verify_fail(struct owner *w, const char *why)
{
    log_event(
        LOG_ERROR, NO_FLOW,
        "event=verify-failed pass=%u reason=%s note=\"keys may be missing at the target; see dfreader(1)\"",
        w->verify.pass, log_quote(why, strlen(why)));
    over(w, VERIFY_FAILED);
}

void verify_needless(struct owner *w)
{
    log_event(LOG_INFO, NO_FLOW, "event=verified note=\"the master has left no write out\"");
    over(w, VERIFY_DONE);
}

static void pass_ends(struct owner *w, uint64_t found)
{
    struct verify *v = &w->verify;
    uint64_t repaired = found - v->pass_found;
    log_event(LOG_INFO, NO_FLOW, "event=verify-pass pass=%u keys=%llu repaired=%llu", v->pass,
              (unsigned long long)v->pass_keys, (unsigned long long)repaired);
    v->pass_found = found;
    if (repaired > 0 || v->overflow > 0) {
        v->overflow = 0;
        if (v->pass >= VERIFY_PASSES)
            verify_fail(w, "every pass finds keys that the target lacks");
        else
            verify_next_pass(v);
        return;
    }
    log_event(found > 0 ? LOG_WARN : LOG_INFO, NO_FLOW, "event=verified passes=%u keys=%llu repaired=%llu",
              v->pass, (unsigned long long)v->pass_keys, (unsigned long long)found);
    if (v->unnamed > 0)
        log_event(LOG_WARN, NO_FLOW,
                  "event=not-verified keys=%llu note=\"their names are too long to be asked for\"",
                  (unsigned long long)v->unnamed);
    over(w, VERIFY_DONE);
}

/* May another SCAN be sent? */
static bool room(struct owner *w, const struct verify_count *left)
{
    bool full = output_full(&w->out) || w->barrier_since != 0;
    for (unsigned i = 0; w->o->session_only && i < w->info.flows; i++) {
        const struct oflow *f = &w->flows[i];
        full = full || f->remote == NULL || f->full || f->remote->ctl.out.len > 65536;
    }
    return !full && left->keys + VERIFY_COUNT <= VERIFY_WINDOW && mono_us() >= w->verify.next_at;
}

/* Returns false when there is nothing to do now. */
static bool step(struct owner *w)
{
    struct verify *v = &w->verify;
    struct verify_count left = outstanding(w);
    for (; !STAILQ_EMPTY(&v->missing) && left.again < VERIFY_AGAIN && !output_full(&w->out); left.again++) {
        put_again(w, STAILQ_FIRST(&v->missing));
        drop_first(v);
    }
    if (v->await != VA_NONE || !v->listed || (!verify_scanned(v) && room(w, &left))) {
        verify_scan(w);
        return v->await == VA_NONE && v->link.open;
    }
    if (!verify_scanned(v) || left.keys > 0 || left.again > 0 || !STAILQ_EMPTY(&v->missing))
        return false;
    pass_ends(w, left.found);
    return true;
}

void verify_pump(struct owner *w)
{
    struct verify *v = &w->verify;
    v->more = verify_runs(v) && !owner_ending(w) && w->stop_reason == NULL;
    for (int turn = 0; turn < TURN && v->more; turn++)
        v->more = step(w) && verify_runs(v) && !owner_ending(w);
}

int verify_timeout(const struct owner *w, int most)
{
    const struct verify *v = &w->verify;
    uint64_t now = mono_us();
    if (v->more)
        return 0;
    if (!verify_runs(v) || v->await != VA_NONE || v->next_at <= now)
        return most;
    uint64_t ms = (v->next_at - now) / 1000 + 1;
    return ms < (uint64_t)most ? (int)ms : most;
}
