/* The session of a source that is scanned: its servers, their flows, and the end. */
#include "scan_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "crc64.h"
#include "exits.h"
#include "io.h"
#include "log.h"

#define WINDOW_LEAST 200u
#define WINDOW_PART  500u /* of the keys that there are */
#define WINDOW_MOST  100000u

/* ---- the beginning ---- */

/* Cursors are those of a process, and of the slots that it had. The id is that of its data. */
static void set_lineage(struct scan_node *n, uint64_t layout)
{
    const struct scan_server *v = &n->server;
    const char *id = v->replid[0] != '\0' ? v->replid : v->run_id;
    snprintf(n->lineage.replid, sizeof n->lineage.replid, "%s",
             id[0] != '\0' ? id : "0000000000000000000000000000000000000000");
    snprintf(n->lineage.top, sizeof n->lineage.top, "%s.%016llx", v->run_id[0] != '\0' ? v->run_id : "-",
             (unsigned long long)layout);
}

static uint64_t layout_of(const struct scan_source *s)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->nodes; i++)
        sum = crc64(sum, (const uint8_t *)&s->node[i].server.slots, sizeof s->node[i].server.slots);
    return sum;
}

static void set_window(struct scan_source *s)
{
    uint64_t given = s->stream->o->scan_window;
    s->keys = 0;
    for (unsigned i = 0; i < s->nodes; i++)
        s->keys += s->node[i].server.keys;
    s->window = given > 0 ? given : s->keys / WINDOW_PART / (s->nodes > 0 ? s->nodes : 1);
    if (given == 0 && s->window < WINDOW_LEAST)
        s->window = WINDOW_LEAST;
    if (given == 0 && s->window > WINDOW_MOST)
        s->window = WINDOW_MOST;
}

static void say_session(struct scan_source *s)
{
    struct sessinfo *info = &s->stream->info;
    const struct scan_node *n = &s->node[0];
    struct buf dbs = {.max = sizeof info->dbs};
    info->journal = true;
    info->flows = s->nodes;
    info->keys = s->keys;
    strlcpy(info->version, n->server.version, sizeof info->version);
    strlcpy(info->run_id, s->nodes == 1 ? n->server.run_id : "", sizeof info->run_id);
    strlcpy(info->address, s->stream->o->shown, sizeof info->address);
    info->server[0] = '\0';
    info->lineage = s->nodes == 1 && !s->stream->o->url.cluster ? n->lineage : (struct lineage){.top = ""};
    if (s->stream->o->url.sentinel)
        url_show(&n->at, info->server, sizeof info->server);
    info->dbs_known = n->server.dbs_known;
    for (unsigned i = 0; i < n->server.held && info->dbs_known; i++)
        info->dbs_known = buf_addf(&dbs, "%s%u", i > 0 ? "," : "", n->server.db[i]) == 0;
    snprintf(info->dbs, sizeof info->dbs, "%.*s", (int)dbs.len, dbs.len > 0 ? (const char *)dbs.p : "");
    buf_free(&dbs);
}

static void close_nodes(struct scan_source *s)
{
    for (unsigned i = 0; i < s->nodes; i++)
        scan_node_close(&s->node[i]);
}

static void free_nodes(struct scan_source *s)
{
    for (unsigned i = 0; i < s->nodes; i++)
        scan_node_free(&s->node[i]);
    free(s->node);
    s->node = NULL;
    s->nodes = 0;
}

static void open_source(struct source *src)
{
    struct scan_source *s = scan_of(src);
    const struct options *o = s->stream->o;
    struct fault f;
    free_nodes(s);
    int rc = scan_find(s, &f);
    for (unsigned i = 0; rc == 0 && i < s->nodes; i++)
        rc = scan_node_open(&s->node[i], &f);
    for (unsigned i = 0; rc == 0 && i < s->nodes && o->follow; i++)
        rc = scan_notes_open(&s->node[i], &f);
    for (unsigned i = 0; rc == 0 && i < s->nodes && o->scan_keys != NULL; i++)
        rc = scan_list_open(&s->node[i], &f);
    if (rc < 0) {
        bool known = s->stream->restarts > 0 || o->resume;
        session_fail(s->session, f.status == EXIT_RETRY && !known ? EXIT_CANNOT : f.status, "%s: %s",
                     o->shown, f.text);
        return;
    }
    uint64_t layout = layout_of(s);
    for (unsigned i = 0; i < s->nodes; i++)
        set_lineage(&s->node[i], layout);
    set_window(s);
    say_session(s);
    log_event(LOG_INFO, NO_FLOW, "event=session epoch=%u version=%s keys=%llu window=%llu",
              (unsigned)s->stream->info.epoch,
              s->stream->info.version[0] != '\0' ? s->stream->info.version : "unknown",
              (unsigned long long)s->keys, (unsigned long long)s->window);
    session_opened(s->session);
}

static void close_source(struct source *src)
{
    close_nodes(scan_of(src));
}

/* ---- flows ---- */

/* Another process has other cursors: everything is read again, and nothing is lost but that. */
static const char *place_of(const struct scan_source *s, const struct scan_node *n, unsigned i)
{
    const struct session *session = s->session;
    if (!session->resume.going_on)
        return NULL;
    const struct resume_flow *f = &session->resume.flow[i];
    bool known = n->server.run_id[0] != '\0' || n->server.replid[0] != '\0';
    if (known && f->place[0] != '\0' && strcmp(f->lineage.top, n->lineage.top) == 0 &&
        (n->server.run_id[0] != '\0' || strcmp(f->lineage.replid, n->lineage.replid) == 0))
        return f->place;
    log_event(LOG_WARN, (int)i, "event=scan_begins_anew server=%s note=%s", n->shown,
              "\"it was started anew since, or slots have moved: cursors of before mean nothing there\"");
    return NULL;
}

static void flow_open(struct flow *f)
{
    struct scan_source *s = scan_of(f->stream->source);
    struct scan_node *n = &s->node[f->id];
    n->flow = f;
    f->partial = f->from.pos > 0;
    scan_node_begin(n, f->from.pos, place_of(s, n, f->id));
    if (n->conn.open)
        flow_up(f);
}

static const struct lineage *flow_lineage(const struct flow *f)
{
    const struct scan_source *s = scan_of(f->stream->source);
    return s->stream->o->url.cluster ? &s->node[f->id].lineage : &s->stream->info.lineage;
}

/* Records are written by work: nothing comes as bytes. */
static bool flow_readable(const struct flow *f)
{
    (void)f;
    return false;
}

static long flow_read(struct flow *f, uint8_t *to, size_t cap)
{
    (void)f;
    (void)to;
    (void)cap;
    return 0;
}

static void flow_close(struct flow *f)
{
    struct scan_source *s = scan_of(f->stream->source);
    if (f->id < s->nodes && s->node[f->id].flow == f)
        scan_node_close(&s->node[f->id]);
}

static void flows_up(struct source *src)
{
    struct scan_source *s = scan_of(src);
    if (s->session->resume.going_on)
        flows_announce(s->session, FORM_SNAPSHOT);
    s->session->live = true;
    session_enter(s->session, PHASE_FULL);
}

static void synced(struct source *src)
{
    struct scan_source *s = scan_of(src);
    const struct options *o = s->stream->o;
    if (s->session->flows.synced < s->stream->info.flows)
        return;
    session_enter(s->session, PHASE_STABLE);
    if (!o->follow || o->until_synced)
        session_stop(s->session, "complete", EXIT_DONE);
}

/* ---- turns ---- */

static bool work(struct source *src)
{
    struct scan_source *s = scan_of(src);
    bool more = false;
    for (unsigned i = 0; i < s->nodes; i++) {
        struct scan_node *n = &s->node[(s->turn + i) % s->nodes];
        if (n->flow == NULL || n->flow->state != FLOW_UP || !n->flow->announced)
            continue;
        more |= n->notes != NULL && scan_notes_work(n);
        if (n->conn.open)
            more |= scan_node_work(n);
        key_out_cut(&n->out);
        if (key_out_flush(&n->out, &s->stream->out) < 0)
            return false; /* noticed in this turn */
    }
    s->turn = s->nodes > 0 ? (s->turn + 1) % s->nodes : 0;
    return more;
}

static int timeout(const struct source *src, int most)
{
    const struct scan_source *s = (const struct scan_source *)src;
    uint64_t now = mono_us(), at = s->keys_at > s->bytes_at ? s->keys_at : s->bytes_at;
    int ms = at > now ? (int)((at - now) / 1000) + 1 : most;
    for (unsigned i = 0; i < s->nodes; i++)
        if (s->node[i].notes != NULL && scan_notes_waiting(&s->node[i]) > 0 && ms > 10)
            ms = 10;
    return ms < most ? ms : most;
}

/* ---- status ---- */

static const char *phase(const struct source *src)
{
    const struct scan_source *s = (const struct scan_source *)src;
    bool again = false;
    for (unsigned i = 0; i < s->nodes; i++)
        again |= s->node[i].done && (s->node[i].scanning || s->node[i].again);
    return s->session->phase == PHASE_FULL ? "scanning" : again ? "rescanning" : NULL;
}

static void fields(const struct source *src, struct buf *b)
{
    const struct scan_source *s = (const struct scan_source *)src;
    unsigned long long read = 0, waiting = 0;
    unsigned pass = 0;
    for (unsigned i = 0; i < s->nodes; i++) {
        read += s->node[i].read;
        waiting += s->node[i].notes != NULL ? scan_notes_waiting(&s->node[i]) : 0;
        pass = s->node[i].pass > pass ? s->node[i].pass : pass;
    }
    (void)buf_addf(b, "read=%llu of=%llu pass=%u ", read, (unsigned long long)s->keys, pass);
    if (scan_follows(s))
        (void)buf_addf(b, "named=%llu ", waiting);
    if (s->stream->info.version[0] != '\0')
        (void)buf_addf(b, "version=%s ", s->stream->info.version);
}

/* ---- all ---- */

static struct source *create(struct stream *st, struct session *session)
{
    struct scan_source *s = xcalloc(1, sizeof *s);
    s->source.kind = &source_scan;
    s->stream = st;
    s->session = session;
    return &s->source;
}

static void destroy(struct source *src)
{
    struct scan_source *s = scan_of(src);
    free_nodes(s);
    free(s);
}

const struct source_kind source_scan = {
    .name = "scan",
    .live = true,
    .create = create,
    .free = destroy,
    .flow_open = flow_open,
    .flow_readable = flow_readable,
    .flow_read = flow_read,
    .flow_lineage = flow_lineage,
    .flow_close = flow_close,
    .work = work,
    .open = open_source,
    .flows_up = flows_up,
    .synced = synced,
    .close = close_source,
    .timeout = timeout,
    .phase = phase,
    .fields = fields,
};
