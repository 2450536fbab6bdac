/* Flows of a cluster: a connection to the master of each, or none; keys that are read again or named for
 * them. In the process of one flow this is all there is: which master it has, and what it takes, it is told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "cluster_source.h"
#include "ctl.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"

static struct member *member_of(const struct flow *f)
{
    return &cluster_of(f->stream->source)->member[f->id];
}

/* ---- members ---- */

void cluster_drop_members(struct cluster_source *c)
{
    for (unsigned i = 0; i < c->members; i++) {
        reread_reset(&c->member[i].reread, c->stream->info.epoch);
        slot_keys_close(&c->member[i].keys);
    }
    free(c->member);
    c->member = NULL;
    c->members = 0;
}

void cluster_make_members(struct cluster_source *c)
{
    c->member = xcalloc(c->members, sizeof *c->member);
    for (unsigned i = 0; i < c->members; i++) {
        struct member *m = &c->member[i];
        reread_init(&m->reread, c->stream->o, &c->stream->loop);
        reread_reset(&m->reread, c->stream->info.epoch);
        m->reread.psync = true;
        slot_keys_init(&m->keys, i);
        memset(m->lineage.replid, '0', REPLID_LEN);
        strlcpy(m->lineage.top, m->lineage.replid, sizeof m->lineage.top);
    }
}

/* ---- connections ---- */

void cluster_server_of(struct flow *f, struct psync_server *where)
{
    const struct master *m = member_of(f)->master;
    *where = (struct psync_server){
        .wait = m->away, .at = &m->at, .like = m->conn.open ? &m->conn : NULL, .version = m->version};
}

void cluster_flow_open(struct flow *f)
{
    struct cluster_source *c = cluster_of(f->stream->source);
    struct member *m = member_of(f);
    bool resumed = f->from.pos > 0;
    f->member = true;
    f->skips = resumed;
    m->told = 0;
    if (c->session == NULL ? m->master != NULL : f->id == 0) /* each parser has to know them */
        psync_commands(&c->base, c->stream, &c->master[0].at);
    if (m->kind == MEMBER_IDLE) {
        f->begins = IDLE_POS;
        f->from.pos = resumed ? IDLE_POS : 0;
        f->partial = resumed;
        flow_up(f);
        return;
    }
    if (m->kind == MEMBER_NEW)
        f->from.pos = 0;
    psync_flow_open(f);
}

static bool is_idle(const struct flow *f)
{
    return member_of(f)->kind == MEMBER_IDLE;
}

/* What an idle flow says in a full sync: no keys. */
static const uint8_t no_keys[] = {'R', 'E', 'D', 'I', 'S', '0', '0', '1', '1', 0xff, 0, 0, 0, 0, 0, 0, 0, 0};

/* Not before the record of its slots is written: what would stand before it, the parser took for the flow's.
 */
bool cluster_flow_readable(const struct flow *f)
{
    if (cluster_of(f->stream->source)->session == NULL && !member_of(f)->set)
        return false;
    if (is_idle(f))
        return !f->partial && member_of(f)->told < sizeof no_keys;
    return psync_flow_readable(f);
}

long cluster_flow_read(struct flow *f, uint8_t *to, size_t cap)
{
    struct member *m = member_of(f);
    if (!is_idle(f))
        return psync_flow_read(f, to, cap);
    size_t n = f->partial ? 0 : sizeof no_keys - m->told;
    if (n > cap)
        n = cap;
    memcpy(to, no_keys + m->told, n);
    m->told += n;
    return (long)n;
}

const struct lineage *cluster_flow_lineage(const struct flow *f)
{
    const struct member *m = member_of(f);
    return is_idle(f) ? &m->lineage : psync_flow_lineage(f);
}

int cluster_flow_acknowledge(struct flow *f, uint64_t pos)
{
    return is_idle(f) ? 1 : psync_flow_acknowledge(f, pos);
}

void cluster_flow_finish(struct flow *f)
{
    if (!is_idle(f))
        psync_flow_finish(f);
}

void cluster_flow_close(struct flow *f)
{
    if (cluster_of(f->stream->source)->member != NULL && !is_idle(f))
        psync_flow_close(f);
}

/* ---- in the process of a flow ---- */

void cluster_flow_line(const struct source *src, unsigned flow, struct buf *b)
{
    static const char *const kinds[] = {
        [MEMBER_IDLE] = "idle", [MEMBER_NEW] = "new", [MEMBER_GOES_ON] = "known"};
    const struct cluster_source *c = (const struct cluster_source *)src;
    const struct member *m = &c->member[flow];
    (void)buf_addf(b, "master flow=%u kind=%s", flow, kinds[m->kind]);
    if (m->master == NULL)
        return;
    (void)buf_addstr(b, " at=");
    meta_escape(b, m->master->shown, strlen(m->master->shown), 0);
    (void)buf_addf(b, " version=%s", m->master->version);
}

static void take_master(struct cluster_source *c, const char *line)
{
    char kind[16] = "", at[300] = "";
    struct url said;
    uint64_t flow;
    if (!ctl_getu(line, "flow", &flow) || flow >= REC_FLOWS_MAX)
        return;
    cluster_drop_members(c);
    c->members = (unsigned)flow + 1;
    cluster_make_members(c);
    struct member *m = &c->member[flow];
    (void)ctl_get(line, "kind", kind, sizeof kind);
    if (ctl_get(line, "at", at, sizeof at) <= 0 || url_parse(&said, at) != NULL)
        return;
    if (c->master == NULL)
        c->master = xcalloc(1, sizeof *c->master);
    m->master = &c->master[0];
    *m->master = (struct master){.cluster = c, .conn.w.fd = -1, .flow = (unsigned)flow};
    cluster_node_url(&m->master->at, c->stream->o, said.seed[0].host, said.seed[0].port);
    url_show(&m->master->at, m->master->shown, sizeof m->master->shown);
    (void)ctl_get(line, "version", m->master->version, sizeof m->master->version);
    m->kind = strcmp(kind, "new") == 0 ? MEMBER_NEW : MEMBER_GOES_ON;
}

/* A SLOTS record of its flow, from "op=" on; with a take its keys are named. */
static void take_slots(struct cluster_source *c, const char *line)
{
    const char *text = strstr(line, " op=");
    char op[16], slots[SLOTSET_TEXT];
    struct slotset set;
    struct member *m = &c->member[c->stream->first];
    struct buf b = {.max = CTL_LINE_MAX + 1};
    if (text == NULL || ctl_get(line, "op", op, sizeof op) <= 0)
        return;
    (void)buf_addstr(&b, text + 1);
    for (size_t i = 0; i < b.len; i++)
        b.p[i] = b.p[i] == ' ' ? '\n' : b.p[i];
    if (b.p[b.len - 1] != '\n')
        (void)buf_addstr(&b, "\n");
    (void)stream_slots(c->stream, c->stream->first, &b); /* a failure is noticed in the next turn */
    buf_free(&b);
    m->set |= strcmp(op, "set") == 0;
    if (strcmp(op, "take") == 0 && m->master != NULL && ctl_get(line, "slots", slots, sizeof slots) > 0 &&
        slotset_parse(&set, slots))
        slot_keys_start(&m->keys, &set, m->master->version);
}

void cluster_told(struct source *src, const char *line)
{
    struct cluster_source *c = cluster_of(src);
    if (ctl_is(line, "master")) {
        take_master(c, line);
        return;
    }
    if (c->stream->n == 0 || c->members <= c->stream->first)
        return;
    if (ctl_is(line, "slots"))
        take_slots(c, line);
    else if (ctl_is(line, "untake"))
        slot_keys_close(&c->member[c->stream->first].keys);
}

/* ---- in each turn ---- */

static void named(struct cluster_source *c, unsigned flow, unsigned slots, uint64_t keys)
{
    char line[120];
    if (c->session != NULL) {
        handover_listed(c->slots, flow, slots, keys);
        return;
    }
    snprintf(line, sizeof line, "named flow=%u epoch=%u slots=%u keys=%llu", flow,
             (unsigned)c->stream->info.epoch, slots, (unsigned long long)keys);
    c->stream->events->say(c->stream->events->ctx, line);
}

static void cannot_name(struct cluster_source *c, const struct member *m)
{
    const struct stream_events *to = c->stream->events;
    char why[480];
    snprintf(why, sizeof why, "%s: %s", m->master->shown, m->keys.error);
    if (c->session != NULL)
        session_fail(c->session, m->keys.status, "%s", why);
    else
        to->failed(to->ctx, m->keys.status, why);
}

/* Where keys are read from; NULL: what is asked for waits until the master is there again. */
static const struct conn *like_of(const struct cluster_source *c, const struct master *m)
{
    if (c->session == NULL)
        return psync_flow_conn(&c->stream->flows[0]);
    return m->away ? NULL : &m->conn;
}

static bool flow_work(struct cluster_source *c, struct flow *f, uint64_t now)
{
    struct member *m = member_of(f);
    unsigned listed;
    uint64_t keys;
    psync_flow_turn(f, now);
    const struct conn *like = like_of(c, m->master);
    if (like == NULL)
        return false;
    bool more = reread_pump(&m->reread, like, &c->stream->out);
    more = slot_keys_work(&m->keys, c->stream, like, &m->master->at) || more;
    if (slot_keys_listed(&m->keys, &listed, &keys))
        named(c, f->id, listed, keys);
    if (m->keys.error[0] != '\0') {
        cannot_name(c, m);
        m->keys.error[0] = '\0';
    }
    return more;
}

bool cluster_work(struct source *src)
{
    struct cluster_source *c = cluster_of(src);
    uint64_t now = mono_us();
    bool more = false;
    psync_watch_spool(&c->base, &c->stream->out);
    for (unsigned i = 0; i < c->stream->n && !stream_ending(c->stream); i++)
        if (c->stream->flows[i].id < c->members && member_of(&c->stream->flows[i])->master != NULL)
            more = flow_work(c, &c->stream->flows[i], now) || more;
    return more;
}
