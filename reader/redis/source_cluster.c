#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "cluster_source.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "psync.h"

#define FLOWS_MIN 8u
#define OPEN_LONG (30 * US) /* that slots are written by nobody is worth an alarm */
#define ORPHANS   (3 * US)  /* slots that no master seems to have are waited for so long */

/* ---- flows ---- */

/* Which slots it holds from its beginning on. A stream that could not go on holds none. */
static void write_held(struct cluster_source *c, unsigned flow)
{
    struct member *m = &c->member[flow];
    const struct flow *f = flow < c->stream->n ? &c->stream->flows[flow] : NULL;
    struct ho_order set = {.what = HO_NOTHING};
    bool twice;
    if (f != NULL ? f->partial && f->begins > 0 : c->session->flows.flow[flow].anew)
        memset(&m->held, 0, sizeof m->held);
    handover_holds(c->slots, flow, &m->held, c->session->resume.going_on, &twice);
    if (twice)
        log_event(LOG_WARN, (int)flow, "event=slots_held_twice note=\"they are read again\"");
    handover_set(c->slots, flow, &set.slots);
    cluster_slots(c, flow, "set", &set);
}

/* ---- flows and masters ---- */

/* So many that masters can join without a full sync, and the same after restarts. Which masters have slots of
 * a share changes more often than how many there are: there it is twice their average. */
static unsigned flow_count(unsigned masters, unsigned average)
{
    unsigned n = FLOWS_MIN;
    while (n < (average > 0 ? 2 * average : masters + 2))
        n *= 2;
    while (n < masters)
        n *= 2;
    return n;
}

static void join(struct cluster_source *c, unsigned flow, struct master *m, enum member_kind kind)
{
    c->member[flow].kind = kind;
    c->member[flow].master = m;
    m->flow = flow;
    log_event(LOG_INFO, (int)flow, "event=master address=%s id=%s kind=%s slots=%u", m->shown, m->id,
              kind == MEMBER_NEW ? "new" : "known", slotset_count(&m->owned));
}

/* The master that goes on with a lineage. */
static struct master *successor(struct cluster_source *c, const char *replid)
{
    for (unsigned k = 0; k < 2; k++)
        for (unsigned i = 0; i < c->masters; i++)
            if (c->master[i].flow == HO_NOBODY && strcasecmp(c->master[i].replid[k], replid) == 0)
                return &c->master[i];
    return NULL;
}

/* A slot that two masters say they have is in the flow of the first: a later look decides. */
static void assign_new(struct cluster_source *c)
{
    struct slotset taken = {{0}};
    for (unsigned i = 0, flow = 0; i < c->masters; i++) {
        struct master *m = &c->master[i];
        if (m->flow != HO_NOBODY)
            continue;
        while (c->member[flow].kind != MEMBER_IDLE)
            flow++;
        join(c, flow, m, MEMBER_NEW);
        if (c->session->resume.going_on)
            continue;
        c->member[flow].held = m->owned;
        slotset_meet(&c->member[flow].held, &c->share);
        slotset_drop(&c->member[flow].held, &taken);
        slotset_join(&taken, &m->owned);
    }
}

/* Positions of another share would leave slots that it holds to nobody, or to two. */
static bool fits_share(const struct cluster_source *c, const struct resume *r)
{
    for (unsigned i = 0; i < r->flows; i++) {
        struct slotset others = r->flow[i].slots;
        slotset_drop(&others, &c->share);
        if (slotset_next(&others, 0) < SLOTS)
            return false;
    }
    return true;
}

/* Flows are about to be opened. */
static void opening(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    struct session *s = c->session;
    handover_init(c->slots, c->members, &c->share);
    if (s->resume.going_on && !fits_share(c, &s->resume)) {
        session_fail(
            s, EXIT_CANNOT,
            "the positions of this task are those of other slots than --masters says: go on with the "
            "share that it had, or begin another --task");
        return;
    }
    for (unsigned i = 0; s->resume.going_on && i < c->members; i++) {
        const struct resume_flow *from = &s->resume.flow[i];
        struct master *m = successor(c, from->lineage.replid);
        if (m == NULL)
            continue;
        join(c, i, m, MEMBER_GOES_ON);
        c->member[i].held = from->slots;
    }
    assign_new(c);
}

/* ---- the session ---- */

static void close_source(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    for (unsigned i = 0; i < c->masters; i++)
        look_close(&c->master[i]);
}

static void open_source(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    struct sessinfo *info = &c->stream->info;
    const struct options *o = c->stream->o;
    struct fault f;
    stream_set_flows(c->stream, 0, 0); /* those of the epoch before are members' */
    cluster_drop_members(c);
    info->journal = true;
    c->heads_told = false;
    c->open_since = 0;
    strlcpy(info->address, o->shown, sizeof info->address);
    if (o->masters.of > 0) { /* so that no other share goes on from its positions */
        masters_share_print(&o->masters, info->masters);
        strlcat(info->address, "?masters=", sizeof info->address);
        strlcat(info->address, info->masters, sizeof info->address);
    }
    int rc = cluster_find(c, &f);
    for (unsigned i = 0; rc == 0 && i < c->masters; i++)
        rc = look_open(&c->master[i], o->connect_timeout, &f);
    if (rc < 0) { /* a source that has been there may come back */
        bool known = c->stream->restarts > 0 || o->resume;
        session_fail(c->session, f.status == EXIT_RETRY && !known ? EXIT_CANNOT : f.status, "%s: %s",
                     o->shown, f.text);
        return;
    }
    strlcpy(info->version, c->master[0].version, sizeof info->version);
    info->flows = flow_count(c->masters, c->average);
    c->members = info->flows;
    cluster_make_members(c);
    log_event(LOG_INFO, NO_FLOW, "event=session epoch=%u version=%s masters=%u flows=%u",
              (unsigned)info->epoch, info->version[0] != '\0' ? info->version : "unknown", c->masters,
              info->flows);
    session_opened(c->session);
}

static void stable(struct cluster_source *c)
{
    session_enter(c->session, PHASE_STABLE);
    for (unsigned i = 0; i < c->members; i++) {
        handover_ready(c->slots, i, c->member[i].master != NULL);
        if (c->member[i].master == NULL)
            c->session->flows.flow[i].head = IDLE_POS;
    }
}

/* Every slot that a master has is written: also those that have moved since the snapshots were asked for. */
static bool complete(const struct cluster_source *c, uint64_t now)
{
    uint64_t since = c->session->phase_since;
    if (c->session->control.ever[ROLE_WRITER] ==
        0) /* a recording: nobody confirms that a slot has been let go */
        return true;
    for (unsigned i = 0; i < c->masters; i++)
        if (c->master[i].looked_at <= since || c->master[i].strangers > 0)
            return false;
    return handover_busy(c->slots) == 0 && (handover_open(c->slots) == 0 || us_since(now, since) >= ORPHANS);
}

/* Each flow goes on, or begins here without a snapshot: its slots are taken anew then. */
static void on_flows_up(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    struct session *s = c->session;
    flows_announce(s, s->resume.going_on ? FORM_JOURNAL : FORM_FULL);
    for (unsigned i = 0; i < c->members; i++)
        write_held(c, i);
    if (!s->resume.going_on) {
        s->live = true;
        session_enter(s, PHASE_FULL);
        return;
    }
    session_flows_all_synced(&s->flows);
    s->live = true;
    stable(c);
}

static void on_cut(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    if (c->session->phase == PHASE_FULL && c->session->flows.cut == c->stream->info.flows)
        session_enter(c->session, PHASE_STARTING);
}

static void on_synced(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    if (c->session->phase == PHASE_STARTING && c->session->flows.synced == c->stream->info.flows)
        stable(c);
}

/* ---- what is said ---- */

static bool get_slots(const char *line, struct slotset *slots)
{
    char text[SLOTSET_TEXT];
    return ctl_get(line, "slots", text, sizeof text) > 0 && slotset_parse(slots, text);
}

/* What was being named is of no use any more. */
static void forget_take(struct cluster_source *c, unsigned flow)
{
    struct peer *process = c->session->flows.flow[flow].process;
    if (flow < c->stream->n)
        slot_keys_close(&c->member[flow].keys);
    else if (process != NULL)
        control_send(process, "untake flow=%u epoch=%u", flow, (unsigned)c->stream->info.epoch);
}

/* A parser says what became of slots of a flow, or its process how many keys they had. */
static void on_parser(struct source *src, unsigned flow, const char *line)
{
    struct cluster_source *c = cluster_of(src);
    struct slotset slots;
    struct ho_order order;
    uint64_t number;
    bool failed = ctl_is(line, "failed");
    if (ctl_is(line, "rename") || ctl_is(line, "list")) { /* what it wants to know of the target */
        control_send_role(&c->session->control, ROLE_WRITER, line);
        return;
    }
    if (ctl_is(line, "named")) {
        uint64_t keys;
        if (ctl_getu(line, "slots", &number) && number > 0 && number <= SLOTS &&
            ctl_getu(line, "keys", &keys))
            handover_listed(c->slots, flow, (unsigned)number, keys);
        return;
    }
    if (!ctl_getu(line, "n", &number) || number > UINT32_MAX || !get_slots(line, &slots))
        return;
    if (ctl_is(line, "clean")) {
        handover_clean(c->slots, flow, (uint32_t)number, &slots);
    } else if (failed || ctl_is(line, "dropped")) {
        log_event(failed ? LOG_WARN : LOG_INFO, (int)flow, "event=slots_%s count=%u",
                  failed ? "not_taken" : "flushed", slotset_count(&slots));
        if (failed)
            forget_take(c, flow);
        if (handover_dropped(c->slots, flow, &slots, failed, &order))
            cluster_give(c, &order);
    }
}

/* A key that the target has of a slot that is being taken: is it at the source? */
static void held_key(struct cluster_source *c, unsigned flow, const char *line)
{
    char key[CTL_LINE_MAX];
    struct buf b = {.max = 4 * CTL_LINE_MAX};
    uint64_t db = 0;
    long n = ctl_get(line, "key", key, sizeof key);
    if (n < 0)
        return;
    (void)ctl_getu(line, "db", &db);
    meta_adds(&b, "op", "held");
    meta_addu(&b, "db", db);
    meta_add(&b, "key", key, (size_t)n, '\n');
    flows_record(c->session, flow, REC_SLOTS, &b);
    buf_free(&b);
}

static void target_listed(struct cluster_source *c, unsigned flow)
{
    struct buf b = {.max = 64};
    meta_adds(&b, "op", "swept");
    flows_record(c->session, flow, REC_SLOTS, &b);
    buf_free(&b);
}

/* A writer. */
static void on_message(struct source *src, struct peer *p, const char *line)
{
    struct cluster_source *c = cluster_of(src);
    uint64_t flow, epoch, number;
    (void)p;
    if (session_ending(c->session) || !ctl_getu(line, "flow", &flow) || flow >= c->members ||
        !ctl_getu(line, "epoch", &epoch) || epoch != c->stream->info.epoch || !ctl_getu(line, "n", &number) ||
        number > UINT32_MAX)
        return;
    if (ctl_is(line, "slots"))
        handover_saved(c->slots, (unsigned)flow, (uint32_t)number);
    else if (ctl_is(line, "held") && number == c->member[flow].taking)
        held_key(c, (unsigned)flow, line);
    else if (ctl_is(line, "listed") && number == c->member[flow].taking)
        target_listed(c, (unsigned)flow);
}

/* ---- now and then ---- */

/* A writer that does not know what runs before it have sent: nothing behind where the masters stand now. */
static void tell_heads(struct cluster_source *c)
{
    const struct session *s = c->session;
    char line[96];
    for (unsigned i = 0; i < c->members; i++)
        if (s->flows.flow[i].head == 0 && c->member[i].master != NULL)
            return;
    for (unsigned i = 0; i < c->members; i++) {
        uint64_t head = c->member[i].master != NULL ? s->flows.flow[i].head : IDLE_POS;
        snprintf(line, sizeof line, "head flow=%u epoch=%u pos=%llu", i, (unsigned)c->stream->info.epoch,
                 (unsigned long long)head);
        control_send_role(&c->session->control, ROLE_WRITER, line);
    }
    c->heads_told = true;
}

static void watch_open(struct cluster_source *c, uint64_t now)
{
    unsigned n = handover_open(c->slots);
    if (n > 0 && c->open_since == 0)
        c->open_since = now;
    if (n == 0)
        c->open_since = 0;
}

static void on_tick(struct source *src, uint64_t now)
{
    struct cluster_source *c = cluster_of(src);
    struct ho_order order;
    if (session_ending(c->session) || c->session->phase < PHASE_FLOWS)
        return;
    for (unsigned i = 0; i < c->masters && !session_ending(c->session); i++)
        look_tick(&c->master[i], now);
    if (session_ending(c->session) || c->session->phase != PHASE_STABLE)
        return;
    if (!c->heads_told && c->session->flows.partial > 0)
        tell_heads(c);
    if (us_since(now, c->ticked_at) >= US) {
        c->ticked_at = now;
        handover_tick(c->slots);
        watch_open(c, now);
    }
    while (handover_take(c->slots, SLOTS, &order))
        cluster_give(c, &order);
    if (c->stream->o->until_synced && complete(c, now))
        session_stop(c->session, "complete", EXIT_DONE);
}

/* ---- keys ---- */

static void on_reread(struct source *src, unsigned flow, const char *line)
{
    struct cluster_source *c = cluster_of(src);
    if (flow < c->members && c->member[flow].master != NULL)
        reread_ask(&c->member[flow].reread, flow, line);
}

static unsigned count_rereads(const struct source *src)
{
    const struct cluster_source *c = (const struct cluster_source *)src;
    unsigned n = 0;
    for (unsigned i = 0; i < c->members; i++)
        n += c->member[i].reread.queued;
    return n;
}

static void drop_rereads(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    for (unsigned i = 0; i < c->members; i++)
        reread_reset(&c->member[i].reread, c->stream->info.epoch);
}

/* ---- status ---- */

static void add_alarms(const struct source *src, struct buf *b, bool *any)
{
    const struct cluster_source *c = (const struct cluster_source *)src;
    bool silent = false, away = session_flows_away(&c->session->flows);
    for (unsigned i = 0; i < c->masters; i++) {
        silent |= c->master[i].silent;
        away |= c->master[i].away;
    }
    if (silent)
        alarm_add(b, any, "master-silent");
    if (away)
        alarm_add(b, any, "source-reconnecting");
    if (c->open_since != 0 && us_since(mono_us(), c->open_since) >= OPEN_LONG)
        alarm_add(b, any, "slots-open");
}

/* As its stream bears it: a master takes another id when its first replica comes. */
static const char *flow_master(const struct source *src, unsigned flow)
{
    const struct cluster_source *c = (const struct cluster_source *)src;
    if (flow >= c->members || c->member[flow].master == NULL)
        return NULL;
    if (flow < c->stream->n) {
        const struct flow *f = &c->stream->flows[flow];
        return f->conn != NULL ? cluster_flow_lineage(f)->replid : NULL;
    }
    const struct session_flow *f = &c->session->flows.flow[flow];
    return f->replid[0] != '\0' ? f->replid : NULL;
}

static void add_fields(const struct source *src, struct buf *b)
{
    const struct cluster_source *c = (const struct cluster_source *)src;
    (void)buf_addf(b, "unit=bytes masters=%u ", c->masters);
    if (c->stream->info.masters[0] != '\0')
        (void)buf_addf(b, "share=%s ", c->stream->info.masters);
    if (c->session->phase == PHASE_STABLE)
        (void)buf_addf(b, "slots_open=%u ", handover_open(c->slots));
    if (c->stream->info.version[0] != '\0')
        (void)buf_addf(b, "version=%s ", c->stream->info.version);
}

/* ---- all ---- */

static struct source *create(struct stream *st, struct session *s)
{
    struct cluster_source *c = xcalloc(1, sizeof *c);
    c->base.source.kind = &source_cluster;
    c->base.server = cluster_server_of;
    c->stream = st;
    c->session = s;
    c->slots = xcalloc(1, sizeof *c->slots);
    masters_share_slots(&st->o->masters, &c->share);
    return &c->base.source;
}

static void destroy(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    stream_set_flows(c->stream, 0, 0);
    cluster_drop_members(c);
    buf_free(&c->base.commands);
    free(c->master);
    free(c->slots);
    free(c);
}

const struct source_kind source_cluster = {
    .name = "redis",
    .live = true,
    .slow_answers = true,
    .shown = psync_offset,
    .create = create,
    .free = destroy,
    .flow_open = cluster_flow_open,
    .flow_readable = cluster_flow_readable,
    .flow_read = cluster_flow_read,
    .flow_lineage = cluster_flow_lineage,
    .flow_acknowledge = cluster_flow_acknowledge,
    .flow_finish = cluster_flow_finish,
    .flow_close = cluster_flow_close,
    .told = cluster_told,
    .reread = on_reread,
    .rereads = count_rereads,
    .drop_rereads = drop_rereads,
    .work = cluster_work,
    .open = open_source,
    .opening = opening,
    .flows_up = on_flows_up,
    .cut = on_cut,
    .synced = on_synced,
    .flow_line = cluster_flow_line,
    .message = on_message,
    .parser_message = on_parser,
    .tick = on_tick,
    .close = close_source,
    .alarms = add_alarms,
    .fields = add_fields,
    .flow_master = flow_master,
};
