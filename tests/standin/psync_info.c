/* INFO of a Redis or Valkey master. */
#include "psync.h"

static void server_section(const struct master *m, const struct psync_node *n, struct buf *out)
{
    const struct psync *p = m->psync;
    char line[512], run_id[REPLID_LEN + 1];
    hex40(run_id, opt.seed, 0x72756e6964 + n->index);
    buf_text(out, "# Server\r\n");
    if (p->valkey) {
        snprintf(line, sizeof line, "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:%s\r\n",
                 p->version);
        buf_text(out, line);
    } else {
        snprintf(line, sizeof line, "redis_version:%s\r\n", p->version);
        buf_text(out, line);
    }
    snprintf(line, sizeof line, "redis_mode:%s\r\nos:Linux\r\narch_bits:64\r\nrun_id:%s\r\ntcp_port:%u\r\n",
             p->cluster ? "cluster" : "standalone", run_id, m->listener[n->index].port);
    buf_text(out, line);
}

static void replicas(const struct master *m, const struct psync_node *n, struct buf *out)
{
    char line[160];
    unsigned count = 0;
    for (const struct session *s = m->sessions; s; s = s->next)
        count += !s->ended && s->flow[n->index];
    snprintf(line, sizeof line, "connected_slaves:%u\r\n", count);
    buf_text(out, line);
    count = 0;
    for (const struct session *s = m->sessions; s; s = s->next) {
        const struct flow *f = s->flow[n->index];
        if (s->ended || !f)
            continue;
        snprintf(line, sizeof line, "slave%u:ip=127.0.0.1,port=0,state=%s,offset=%llu,lag=0\r\n", count++,
                 s->stable ? "online" : "send_bulk", (unsigned long long)f->last_ack);
        buf_text(out, line);
    }
}

static void replication_section(const struct master *m, const struct psync_node *n, struct buf *out)
{
    static const char none[] = "0000000000000000000000000000000000000000";
    const struct psync_stage *s = &n->stage[n->now];
    const struct psync_history *h = &n->history[s->history];
    /* A cluster's masters are looked at while they are played: layout and offset must belong together. */
    uint64_t offset = m->psync->cluster ? n->sent > h->start ? n->sent : h->start : s->end;
    char line[512];
    buf_text(out, "# Replication\r\nrole:master\r\n");
    replicas(m, n, out);
    snprintf(line, sizeof line,
             "master_replid:%s\r\nmaster_replid2:%s\r\nmaster_repl_offset:%llu\r\nsecond_repl_offset:%lld\r\n"
             "repl_backlog_active:1\r\nrepl_backlog_size:1048576\r\nrepl_backlog_first_byte_offset:%llu\r\n"
             "repl_backlog_histlen:%llu\r\n",
             s->id, *s->id2 ? s->id2 : none, (unsigned long long)offset, *s->id2 ? (long long)s->second : -1,
             (unsigned long long)h->start + 1, (unsigned long long)(offset - h->start));
    buf_text(out, line);
}

void psync_info(struct master *m, struct conn *c, const struct request *r)
{
    const struct psync_node *n = &m->psync->node[c->node];
    struct buf text = {0};
    bool all = r->argc < 2;
    for (size_t i = 1; i < r->argc; i++)
        all |=
            word_is(r->argv[i], "all") || word_is(r->argv[i], "everything") || word_is(r->argv[i], "default");
    for (size_t i = all ? 0 : 1; i < r->argc; i++) {
        if (all || word_is(r->argv[i], "server"))
            server_section(m, n, &text);
        if (all || word_is(r->argv[i], "replication"))
            replication_section(m, n, &text);
        if (all || word_is(r->argv[i], "cluster"))
            buf_text(&text, m->psync->cluster ? "# Cluster\r\ncluster_enabled:1\r\n"
                                              : "# Cluster\r\ncluster_enabled:0\r\n");
        if (all || word_is(r->argv[i], "keyspace"))
            values_keyspace(m->values, &text);
        if (all)
            break;
    }
    buf_bulk(&c->out, text.p, text.len);
    buf_free(&text);
}
