#include "node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bsd/string.h>

#include "call.h"
#include "exits.h"
#include "info.h"
#include "io.h"
#include "log.h"
#include "policy.h"
#include "seek.h"
#include "suspect.h"
#include "target.h"
#include "tls.h"
#include "signals.h"
#include "writer.h"

#define CALL_MS    20000
#define IDLE_AFTER ((uint64_t)1000000)

enum shake {
    SHAKE_OK,
    SHAKE_AGAIN,   /* no connection */
    SHAKE_LATER,   /* it is there and says that it cannot now: LOADING and the like */
    SHAKE_UNKNOWN, /* sentinels do not know the master's name: maybe just now */
    SHAKE_RIVAL,   /* another writer of the task is at work there */
    SHAKE_FATAL,
};

static void fresh_reader(struct node *n)
{
    if (!wire_begin(&n->wire)) {
        writer_fail(n->w, EXIT_CANNOT, "event=out_of_memory");
        n->dead = true;
    }
}

/* ---- handshake ---- */

#define A_STATUS   REPLY_BIT(REDIS_REPLY_STATUS)
#define AN_INTEGER REPLY_BIT(REDIS_REPLY_INTEGER)
#define A_STRING   REPLY_BIT(REDIS_REPLY_STRING)
#define AN_ARRAY   REPLY_BIT(REDIS_REPLY_ARRAY)

/* Judge a reply in a handshake, which has to be of one of these types, without freeing it; lost_why gets the
 * words of a refusal. */
static enum shake look_at(struct node *n, const redisReply *r, const char *what, unsigned types)
{
    if (r == NULL) {
        /* Of a server that never spoke to us: it is no Redis, or not without TLS. */
        bool never = n->wire.t.hopeless || (errno == EPROTO && n->wire.in.reader == NULL);
        snprintf(n->lost_why, sizeof n->lost_why, "%s: %s", what, call_reason(&n->wire.t));
        return never ? SHAKE_FATAL : SHAKE_AGAIN;
    }
    if (r->type == REDIS_REPLY_ERROR) {
        snprintf(n->lost_why, sizeof n->lost_why, "%s: %s", what, r->str);
        if (error_class(r->str, r->len) != ERR_RETRY)
            return SHAKE_FATAL;
        error_count(&n->w->stats.refusals, r->str, r->len);
        return SHAKE_LATER;
    }
    if ((REPLY_BIT(r->type) & types) != 0)
        return SHAKE_OK;
    snprintf(n->lost_why, sizeof n->lost_why, "%s: unexpected reply", what);
    return SHAKE_AGAIN;
}

static enum shake judge(struct node *n, redisReply *r, const char *what, unsigned types)
{
    enum shake verdict = look_at(n, r, what, types);
    freeReplyObject(r);
    return verdict;
}

static enum shake authenticate(struct node *n)
{
    const struct url *u = &n->w->opt.url;
    bool needed;
    redisReply *r = call_auth(&n->wire.t, CALL_MS, u->user, u->password, &needed);
    if (!needed)
        return SHAKE_OK;
    if (r != NULL && r->type == REDIS_REPLY_ERROR && u->user[0] == '\0' &&
        (strstr(r->str, "without any password") != NULL || strstr(r->str, "no password is set") != NULL)) {
        log_event(LOG_WARN, NO_FLOW, "event=password_not_needed target=%s", n->w->opt.shown);
        freeReplyObject(r);
        return SHAKE_OK;
    }
    return judge(n, r, "AUTH", A_STATUS);
}

/* A line of CLIENT LIST at a time: the next one, or NULL. */
static const char *next_line(const redisReply *list, const char *line)
{
    line += strcspn(line, "\n");
    line += *line != '\0';
    return line < list->str + list->len ? line : NULL;
}

/* A writer of this task that may be alive is not cut off: what it does then would be in doubt. */
static enum shake find_rival(struct node *n, const redisReply *list, long long self)
{
    char who[RIVAL_NAME];
    long long id;
    if (policy_may_take_over(n->w))
        return SHAKE_OK;
    for (const char *line = list->str; line != NULL; line = next_line(list, line))
        if (rival_of(&n->w->self, line, strcspn(line, "\n"), &id, who) == RIVAL_ALIVE && id != self) {
            policy_rival(n->w, who, n->lost_why, sizeof n->lost_why);
            return SHAKE_RIVAL;
        }
    n->w->rival_since = 0;
    return SHAKE_OK;
}

/* End every other connection with the name of this task: bytes that a dead writer left in its socket must not
 * be executed after the position was read. */
static enum shake kill_others(struct node *n)
{
    redisReply *r = target_call(n, CALL_MS, "CLIENT", "ID", NULL);
    bool old = r != NULL && r->type == REDIS_REPLY_ERROR && version_less(n->info.compat, "5.0");
    if (r == NULL || (r->type != REDIS_REPLY_INTEGER && !old))
        return judge(n, r, "CLIENT ID", AN_INTEGER);
    long long self = old ? 0 : r->integer; /* CLIENT KILL leaves out whoever asks */
    freeReplyObject(r);
    redisReply *list = target_call(n, CALL_MS, "CLIENT", "LIST", NULL);
    if (list == NULL || list->type != REDIS_REPLY_STRING)
        return judge(n, list, "CLIENT LIST", A_STRING);
    enum shake verdict = find_rival(n, list, self);
    for (const char *line = list->str; line != NULL && verdict == SHAKE_OK; line = next_line(list, line)) {
        char num[24], who[RIVAL_NAME];
        long long id;
        enum rival rival = rival_of(&n->w->self, line, strcspn(line, "\n"), &id, who);
        if (rival == RIVAL_NONE || id == self)
            continue;
        n->w->took_over |= rival == RIVAL_ALIVE;
        snprintf(num, sizeof num, "%lld", id);
        log_event(LOG_INFO, NO_FLOW, "event=ends_old_connection id=%lld writer=%s", id,
                  log_quote(who, strlen(who)));
        verdict = judge(n, target_call(n, CALL_MS, "CLIENT", "KILL", "ID", num, NULL), "CLIENT KILL",
                        AN_INTEGER | A_STATUS);
    }
    freeReplyObject(list);
    return verdict;
}

/* A MULTI that is refused later would let the requests behind it run one by one: find out now. */
static enum shake probe_multi(struct node *n)
{
    enum shake verdict = judge(n, target_call(n, CALL_MS, "MULTI", NULL), "MULTI", A_STATUS);
    if (verdict != SHAKE_OK)
        return verdict;
    redisReply *r = target_call(n, CALL_MS, "EXEC", NULL);
    bool more = r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements > 0;
    return judge(n, r, "EXEC", more ? 0 : AN_ARRAY);
}

static enum shake inspect(struct node *n)
{
    bool lost;
    redisReply *r = target_inspect(n, &n->info, &lost);
    if (r != NULL || lost)
        return judge(n, r, "INFO", 0);
    if (n->w->opt.url.sentinel && strcmp(n->info.role, "master") != 0) {
        snprintf(n->lost_why, sizeof n->lost_why,
                 "sentinels name a server as the master that says it is a %s", n->info.role);
        return SHAKE_AGAIN;
    }
    return SHAKE_OK;
}

/* Databases that were in use must be there again. */
static enum shake select_again(struct node *n)
{
    char num[16];
    for (unsigned i = 0; i < n->dbs.n; i++) {
        if (n->dbs.bad[i])
            continue;
        snprintf(num, sizeof num, "%u", n->dbs.known[i]);
        enum shake verdict = judge(n, target_call(n, CALL_MS, "SELECT", num, NULL), "SELECT", A_STATUS);
        if (verdict != SHAKE_OK)
            return verdict;
    }
    return SHAKE_OK;
}

/* What the position key says. */
struct saved {
    bool there;        /* with the session that it is of */
    bool session_ours; /* this session, this epoch */
    bool writer_ours;  /* this process */
    bool ours;         /* both */
    uint64_t *seq;
};

static void saved_field(const struct writer *w, struct saved *s, const char *name, const char *value)
{
    const struct session *se = &w->session;
    if (strcmp(name, "session") == 0) {
        s->there = true;
        struct position_id id;
        s->session_ours =
            position_id_parse(&id, value) && id.epoch == se->epoch && strcmp(id.nonce, se->nonce) == 0;
        return;
    }
    if (strcmp(name, "writer") == 0) {
        s->writer_ours = strcmp(value, w->run) == 0;
        return;
    }
    struct position_flow f;
    if (position_flow_parse(&f, se->flows, name, value) && f.epoch == se->epoch)
        s->seq[f.flow] = f.seq;
}

static enum shake read_saved(struct node *n, struct saved *s)
{
    struct writer *w = n->w;
    memset(s->seq, 0, w->session.flows * sizeof *s->seq);
    s->there = s->session_ours = s->writer_ours = false;
    redisReply *r = target_call(n, CALL_MS, "HGETALL", w->session.position_key, NULL);
    enum shake verdict = look_at(n, r, "HGETALL", reply_is_hash(r) ? AN_ARRAY : 0);
    if (verdict != SHAKE_OK) {
        freeReplyObject(r);
        return verdict;
    }
    for (size_t i = 0; i < r->elements; i += 2)
        saved_field(w, s, r->element[i]->str, r->element[i + 1]->str);
    s->ours = s->session_ours && s->writer_ours;
    freeReplyObject(r);
    return SHAKE_OK;
}

static bool session_begun(const struct writer *w)
{
    return w->session.stage == ST_RUN || (w->session.stage == ST_VOID && w->session.wrote);
}

/* From a connected socket to one that requests may be sent on; saved: NULL, or where to put the position. */
static enum shake handshake(struct node *n, struct saved *saved)
{
    char name[RIVAL_NAME], num[16];
    rival_name(&n->w->self, name);
    enum shake v = authenticate(n);
    if (v == SHAKE_OK)
        v = judge(n, target_call(n, CALL_MS, "CLIENT", "SETNAME", name, NULL), "CLIENT SETNAME", A_STATUS);
    if (v == SHAKE_OK)
        v = inspect(n);
    if (v == SHAKE_OK && saved != NULL) {
        v = read_saved(n, saved);
        if (v == SHAKE_OK && saved->there && !saved->ours) {
            snprintf(n->lost_why, sizeof n->lost_why, "another writer has taken over task %s",
                     n->w->opt.task);
            return SHAKE_FATAL;
        }
    }
    if (v == SHAKE_OK)
        v = kill_others(n);
    if (v == SHAKE_OK && saved != NULL)
        v = read_saved(n, saved);                  /* again: the connections just ended may have written */
    if (v == SHAKE_OK && !n->w->opt.at_least_once) /* a proxy may have none */
        v = probe_multi(n);
    if (v == SHAKE_OK)
        v = select_again(n);
    snprintf(num, sizeof num, "%u", n->db);
    if (v == SHAKE_OK)
        v = judge(n, target_call(n, CALL_MS, "SELECT", num, NULL), "SELECT", A_STATUS);
    return v;
}

static enum shake try_once(struct node *n, struct saved *saved)
{
    struct endpoint at = {.host = ""};
    enum seek found = seek_target(&n->w->opt, n->first, &n->wire.t, &at, n->lost_why, sizeof n->lost_why);
    strlcpy(n->host, at.host, sizeof n->host);
    strlcpy(n->port, at.port, sizeof n->port);
    switch (found) {
    case SEEK_GONE: return SHAKE_AGAIN;
    case SEEK_UNKNOWN: return SHAKE_UNKNOWN;
    case SEEK_FATAL: return SHAKE_FATAL;
    case SEEK_LATER: n->reached = true; return SHAKE_AGAIN;
    case SEEK_OK: n->reached = true; break;
    }
    enum shake v = handshake(n, saved);
    const struct url *u = &n->w->opt.url;
    if (v == SHAKE_AGAIN && n->wire.in.reader == NULL && u->tls == NULL && tls_spoken(&at)) {
        snprintf(n->lost_why, sizeof n->lost_why, "the server expects TLS: name it as rediss://");
        v = SHAKE_FATAL;
    }
    if (v != SHAKE_OK) {
        n->first++; /* this one may be the last to learn */
        n->wire.t.close(&n->wire.t);
    }
    return v;
}

/* A target that answers is not lost, however long it loads: the time to give up moves on. */
static void not_yet(struct node *n, uint64_t *give_up, uint64_t *said)
{
    uint64_t now = mono_us();
    n->lost_since = now;
    *give_up = now + (uint64_t)n->w->opt.reconnect_timeout * 1000000;
    if (us_since(now, *said) < SAY_EVERY)
        return;
    *said = now;
    log_event(LOG_WARN, NO_FLOW, "event=target_not_ready target=%s error=%s action=waiting", n->w->opt.shown,
              log_quote(n->lost_why, strlen(n->lost_why)));
}

static void wait_ms(unsigned ms)
{
    for (unsigned done = 0; done < ms && signals_seen() < 2; done += 20)
        usleep(20000);
}

/* Its connection may be about to vanish. True: it has not, and the writer has failed. */
static bool rival_remains(struct node *n)
{
    struct writer *w = n->w;
    if (signals_seen() < 2 && mono_us() - w->rival_since < RIVAL_WAIT)
        return false;
    writer_fail(w, EXIT_CANNOT, "event=task_in_use target=%s error=%s", w->opt.shown,
                log_quote(n->lost_why, strlen(n->lost_why)));
    return true;
}

bool node_connect(struct node *n)
{
    struct writer *w = n->w;
    uint64_t give_up = mono_us() + (uint64_t)w->opt.reconnect_timeout * 1000000, said = 0;
    for (;;) {
        enum shake v = try_once(n, NULL);
        if (v == SHAKE_OK && target_limits(n, &n->info) && watch_begin(w))
            break;
        if (v == SHAKE_OK) { /* lost again at once: another writer of this task may have ended us */
            strlcpy(n->lost_why, "lost again right after the handshake", sizeof n->lost_why);
            n->wire.t.close(&n->wire.t);
            v = SHAKE_AGAIN;
        }
        if (v == SHAKE_LATER && w->opt.reconnect_timeout > 0)
            not_yet(n, &give_up, &said);
        if (v == SHAKE_RIVAL && !rival_remains(n)) {
            wait_ms(500);
            continue;
        }
        if (v == SHAKE_RIVAL)
            return false;
        /* One that does not answer at all, or whose name is not known, is not waited for here: whoever
         * started us sees it at once, and may try again. Nor is a master that no sentinel knows: that is a
         * mistake in its name, unless it has been there before. */
        bool there = (n->reached || w->opt.expect_saved) && v != SHAKE_UNKNOWN;
        if (v == SHAKE_FATAL || !there || mono_us() >= give_up || signals_seen() >= 2) {
            writer_fail(w, v != SHAKE_FATAL && v != SHAKE_UNKNOWN ? EXIT_RETRY : EXIT_CANNOT,
                        "event=cannot_use_target target=%s error=%s", w->opt.shown,
                        log_quote(n->lost_why, strlen(n->lost_why)));
            return false;
        }
        wait_ms(500);
    }
    n->connected_at = mono_us();
    if (strcmp(n->info.role, "slave") == 0 || strcmp(n->info.role, "replica") == 0)
        log_event(LOG_WARN, NO_FLOW, "event=target_is_a_replica target=%s", w->opt.shown);
    fresh_reader(n);
    log_event(LOG_INFO, NO_FLOW, "event=connected target=%s kind=%s version=%s", w->opt.shown, n->info.kind,
              n->info.version);
    return true;
}

/* ---- after a loss ---- */

/* Is what was confirmed still there? applied: the group in flight was executed. */
static bool verify(struct node *n, const struct saved *s, bool same_run, bool *applied)
{
    struct writer *w = n->w;
    const char *lost = s->there ? NULL : "the position key is missing";
    if (s->there && !s->ours) {
        writer_fail(w, EXIT_CANNOT, "event=task_taken_over task=%s target=%s note=%s", w->opt.task,
                    w->opt.shown, "\"another writer uses the name: give each its own --task\"");
        n->dead = true;
        return false;
    }
    for (unsigned i = 0; i < w->session.flows && lost == NULL; i++)
        if (s->seq[i] < w->positions.flow[i].saved_seq)
            lost = "the position key is behind what was confirmed";
    if (lost == NULL && !same_run && n->confirmed_a > 0 && !positions_all_saved_synced(&w->positions))
        lost = "the server was started anew during the full sync";
    int done = group_applied(n, s->seq);
    if (lost == NULL && done < 0)
        lost = "half a transaction is there";
    if (lost != NULL) {
        writer_fail(w, EXIT_RETRY, "event=target_has_lost_data target=%s reason=%s", w->opt.shown,
                    log_quote(lost, strlen(lost)));
        n->dead = true;
        return false;
    }
    /* One with requests of our own only has no position to tell it by, and does no harm twice. */
    *applied = done > 0;
    return true;
}

/* Keep the unconfirmed requests of path A in the ring, close up, and send them again from the first. */
static void rewind_ring(struct node *n)
{
    struct ring *r = &n->wire.ring;
    uint8_t *base = ring_at(r, r->acked);
    size_t from = 0, to = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->un; i++) {
        struct unit u = n->unit[(n->uhead + i) & (UNITS_MAX - 1)];
        if (u.kind == U_ONE || u.kind == U_MSET || u.kind == U_PARTS) {
            if (from != to)
                memmove(base + to, base + from, u.len);
            n->unit[(n->uhead + kept++) & (UNITS_MAX - 1)] = u;
            to += u.len;
        }
        from += u.len;
    }
    n->un = kept;
    r->sent = r->acked;
    r->tail = r->acked + to;
    n->selecting = false;
    n->since_select = SELECT_AFTER;
    n->chunk_at = n->chunk_n = 0;
    n->a.parts.replied = 0;
}

/* A connection that is lost again and again before anything was confirmed on it is no better than none. */
static uint64_t begin_loss(struct node *n)
{
    uint64_t now = mono_us();
    bool idle = node_quiet(n) && !n->in_call &&
                now - n->connected_at > IDLE_AFTER; /* nothing was there to be confirmed */
    if (n->progress || n->lost_since == 0 || idle) {
        n->lost_since = now;
        n->lost_wait = 0;
    } else {
        n->lost_wait = patience_longer(n->lost_wait);
    }
    n->progress = false;
    return n->lost_since + (uint64_t)n->w->opt.reconnect_timeout * 1000000;
}

static bool look_for_target(struct node *n, struct saved *saved)
{
    struct writer *w = n->w;
    uint64_t give_up = begin_loss(n), said = 0;
    bool in_vain = mono_us() >= give_up && !suspect_in_flight(n); /* it lets us in, and then is lost again */
    for (;;) {
        unsigned ms = n->lost_wait;
        wait_ms(ms * 3 / 4 + (unsigned)(mono_us() % (ms / 2 + 1)));
        bool late = in_vain || (w->failed && mono_us() >= w->failed_at + 1500000);
        enum shake v = late || signals_seen() >= 2 ? SHAKE_AGAIN : try_once(n, saved);
        if (v == SHAKE_OK)
            return true;
        if (v == SHAKE_LATER)
            not_yet(n, &give_up, &said);
        if (v == SHAKE_RIVAL && rival_remains(n)) {
            n->dead = true;
            return false;
        }
        late |= mono_us() >= give_up; /* after a try: waiting may have taken all of the time */
        if (v == SHAKE_FATAL || late || signals_seen() >= 2) {
            writer_fail(w, v == SHAKE_FATAL ? EXIT_CANNOT : EXIT_RETRY,
                        "event=target_lost target=%s error=%s", w->opt.shown,
                        log_quote(n->lost_why, strlen(n->lost_why)));
            n->dead = true;
            return false;
        }
        n->lost_wait = patience_longer(ms);
    }
}

bool node_reconnect(struct node *n)
{
    struct writer *w = n->w;
    struct identity before = n->info.who;
    log_event(LOG_WARN, NO_FLOW, "event=target_connection_lost target=%s error=%s in_flight=%u", w->opt.shown,
              log_quote(n->lost_why, strlen(n->lost_why)), n->un);
    n->wire.t.close(&n->wire.t);
    watch_down(w);
    w->stats.reconnects++;
    char why[sizeof n->lost_why];
    memcpy(why, n->lost_why, sizeof why);
    suspect_lost(n);
    struct saved saved = {.seq = xcalloc(w->session.flows + 1, sizeof *saved.seq)};
    bool begun = session_begun(w);
    bool ok = look_for_target(n, begun ? &saved : NULL);
    bool applied = false;
    if (ok && begun)
        ok = verify(n, &saved, identity_same(&before, &n->info.who), &applied);
    free(saved.seq);
    if (!ok)
        return false;
    if (!identity_same(&before, &n->info.who))
        w->watch.evicted = (struct evictions){0}; /* another server: its counters say nothing of ours */
    fresh_reader(n);
    n->lost = false;
    n->connected_at = mono_us();
    n->wire.want_out = false;
    n->patience.until = 0;
    n->in_call = n->blameless = false;
    memcpy(n->lost_why, why, sizeof why); /* what was lost, not what was tried since */
    if (!applied || n->unit[n->uhead].kind != U_GROUP)
        suspect_judge(n);
    rewind_ring(n);
    group_settle(n, applied);
    log_event(LOG_WARN, NO_FLOW, "event=target_connected_again target=%s", w->opt.shown);
    return true;
}
