/* The commands of any connection: AUTH, PING, REPLCONF, INFO, QUIT ...; DFLY is in dfly.c. */
#include "psync.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NOT_INTEGER "-ERR value is not an integer or out of range\r\n"
#define SYNTAX      "-ERR syntax error\r\n"

bool word_is(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

/* The words as one printable line; passwords never. */
static void log_command(struct master *m, const struct conn *c, const struct request *r)
{
    char text[512];
    size_t n = 0;
    bool secret = word_is(r->argv[0], "AUTH");
    for (size_t i = 0; i < r->argc && n + 8 < sizeof text; i++) {
        if (i)
            text[n++] = ' ';
        if (i && secret) {
            text[n++] = '*';
            continue;
        }
        for (size_t j = 0; j < r->len[i] && n + 8 < sizeof text; j++) {
            char ch = r->argv[i][j];
            text[n++] = isprint((unsigned char)ch) && ch != '"' ? ch : '?';
        }
    }
    text[n] = '\0';
    log_event(m, c, "command text=\"%s\"", text);
}

static void run_auth(struct master *m, struct conn *c, const struct request *r)
{
    const char *user = r->argc == 3 ? r->argv[1] : "default";
    const char *want = r->argc == 3 && opt.user ? opt.user : "default";
    if (r->argc != 2 && r->argc != 3) {
        conn_reply(c, SYNTAX);
    } else if (!opt.password) {
        conn_reply(c, "-ERR AUTH <password> called without any password configured for the default user. "
                      "Are you sure your configuration is correct?\r\n");
    } else if (strcmp(user, want) != 0 || strcmp(r->argv[r->argc - 1], opt.password) != 0 ||
               (r->argc == 2 && opt.user && strcmp(opt.user, "default") != 0)) {
        log_event(m, c, "wrong-password");
        conn_reply(c, "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    } else {
        c->authenticated = true;
        conn_reply(c, "+OK\r\n");
    }
}

static void run_greeting(struct master *m, struct conn *c)
{
    if (opt.replica_error) {
        conn_reply(c, "-ERR Replicating a replica is unsupported\r\n");
        return;
    }
    if (opt.plain_ok) {
        conn_reply(c, "+OK\r\n");
        return;
    }
    if (c->session)
        log_illegal(m, c, "REPLCONF capa dragonfly twice on one connection");
    if (!c->announced)
        log_event(m, c, "note text=\"no REPLCONF listening-port before capa dragonfly\"");
    struct session *s = session_new(m, c);
    conn_reply(c, "*%u\r\n+%s\r\n+SYNC%u\r\n:%u\r\n", m->greeting, m->replid, s->id, m->nflows);
    if (m->greeting > 3)
        conn_reply(c, ":%u\r\n", m->version_int);
    if (m->greeting > 4)
        conn_reply(c, "+%s\r\n", m->lineage);
}

/* One pair of REPLCONF.  False: an error has been answered, or the connection is gone. */
static bool run_pair(struct master *m, struct conn *c, const char *name, const char *value)
{
    uint64_t number;
    if (word_is(name, "listening-port")) {
        if (!parse_u64(value, &number) || number > 65535) {
            conn_reply(c, NOT_INTEGER);
            return false;
        }
        c->announced = true;
    } else if (word_is(name, "CLIENT-ID")) {
        if (c->client_id_seen)
            log_illegal(m, c, "CLIENT-ID twice");
        c->client_id_seen = true;
    } else if (word_is(name, "CLIENT-VERSION")) {
        if (!c->session) {
            log_illegal(m, c, "CLIENT-VERSION without a session: a real master would have crashed");
            conn_close(m, c, "CLIENT-VERSION without a session");
            return false;
        }
        if (!parse_u64(value, &number)) {
            conn_reply(c, NOT_INTEGER);
            return false;
        }
    } else if (!word_is(name, "ip-address") && !word_is(name, "capa")) {
        conn_reply(c, SYNTAX);
        return false;
    }
    return true;
}

static void run_replconf(struct master *m, struct conn *c, const struct request *r)
{
    if (r->argc < 3 || r->argc % 2 == 0) {
        conn_reply(c, SYNTAX);
        return;
    }
    if (word_is(r->argv[1], "ACK")) {
        log_illegal(m, c, "ACK on a connection that is no flow");
        return; /* acks are never answered */
    }
    /* The value is compared case-sensitively and only as the only pair. */
    if (r->argc == 3 && word_is(r->argv[1], "capa") && !strcmp(r->argv[2], "dragonfly")) {
        run_greeting(m, c);
        return;
    }
    for (size_t i = 1; i < r->argc; i += 2)
        if (!run_pair(m, c, r->argv[i], r->argv[i + 1]))
            return;
    conn_reply(c, "+OK\r\n");
}

/* A replica looks for keys that masters from v1.39 on may have left out, and reads again what is missing.
 * Only with --omit and --live are all keys known here: elsewhere an older version is claimed, or a key that
 * the journal made would be said to be missing. */
static const char *info_version(const struct master *m)
{
    return opt.omit > 0 || opt.live_port > 0 || opt.version_given ? m->df_version : "df-v1.38.0";
}

static void info_server(struct master *m, struct buf *out)
{
    char line[256];
    snprintf(line, sizeof line,
             "# Server\r\nredis_version:7.4.0\r\ndragonfly_version:%s\r\nredis_mode:standalone\r\n"
             "arch_bits:64\r\nthread_count:%u\r\n",
             info_version(m), m->nflows);
    buf_text(out, line);
}

static void info_replication(struct master *m, struct buf *out)
{
    char line[256];
    unsigned n = 0;
    for (const struct session *s = m->sessions; s; s = s->next)
        n += !s->ended;
    snprintf(line, sizeof line, "# Replication\r\nrole:master\r\nconnected_slaves:%u\r\n", n);
    buf_text(out, line);
    n = 0;
    for (const struct session *s = m->sessions; s; s = s->next) {
        static const char *const state[] = {"preparation", "full_sync", "online"};
        if (s->ended)
            continue;
        snprintf(line, sizeof line, "slave%u:ip=127.0.0.1,port=0,state=%s,lag=0\r\n", n++, state[s->state]);
        buf_text(out, line);
    }
    snprintf(line, sizeof line, "master_replid:%s\r\n", m->replid);
    buf_text(out, line);
}

static void info_stats(const struct master *m, struct buf *out)
{
    char line[80];
    snprintf(line, sizeof line, "# Stats\r\ntotal_journal_omits:%llu\r\n",
             (unsigned long long)(m->live ? live_omits(m->live) : m->omits));
    buf_text(out, line);
}

static void run_info(struct master *m, struct conn *c, const struct request *r)
{
    struct buf text = {0};
    const char *section = r->argc > 1 ? r->argv[1] : "all";
    bool all = word_is(section, "all") || word_is(section, "everything") || word_is(section, "default");
    if (all || word_is(section, "server"))
        info_server(m, &text);
    if (all)
        buf_text(&text, "\r\n");
    if (all || word_is(section, "replication"))
        info_replication(m, &text);
    if (all || word_is(section, "stats"))
        info_stats(m, &text);
    if ((all || word_is(section, "keyspace")) && m->live)
        live_keyspace(m->live, &text);
    else if (all || word_is(section, "keyspace"))
        values_keyspace(m->values, &text);
    buf_bulk(&c->out, text.p, text.len);
    buf_free(&text);
}

/* On a flow only acks are in order. */
static void run_on_flow(struct master *m, struct conn *c, const struct request *r)
{
    uint64_t lsn;
    if (r->argc == 3 && word_is(r->argv[0], "REPLCONF") && word_is(r->argv[1], "ACK")) {
        if (parse_u64(r->argv[2], &lsn))
            session_ack(m, c->flow, lsn);
        else
            log_illegal(m, c, "ACK with something that is no number");
        return;
    }
    log_command(m, c, r);
    log_illegal(m, c, "a command on a flow, where only REPLCONF ACK is in order");
}

void command_run(struct master *m, struct conn *c, struct request *r)
{
    const char *name = r->argv[0];
    if (c->flow && m->psync) {
        psync_on_flow(m, c, r);
        return;
    }
    if (c->flow) {
        run_on_flow(m, c, r);
        return;
    }
    log_command(m, c, r);
    if (c->mute)
        return;
    if (word_is(name, "QUIT")) {
        conn_reply(c, "+OK\r\n");
        c->quit = true;
    } else if (word_is(name, "AUTH")) {
        run_auth(m, c, r);
    } else if (!c->authenticated) {
        conn_reply(c, "-NOAUTH Authentication required.\r\n");
    } else if (m->psync && psync_run(m, c, r)) {
        return;
    } else if (word_is(name, "REPLCONF")) {
        run_replconf(m, c, r);
    } else if (c->loading) { /* REPLCONF is allowed in that state, these are not */
        conn_reply(c, "-LOADING %s is loading the dataset in memory\r\n", m->psync ? "Redis" : "Dragonfly");
    } else if (word_is(name, "PING")) {
        if (r->argc == 2)
            buf_bulk(&c->out, r->argv[1], r->len[1]);
        else
            conn_reply(c, "+PONG\r\n");
    } else if (word_is(name, "INFO")) {
        run_info(m, c, r);
    } else if (word_is(name, "DFLY")) {
        dfly_run(m, c, r);
    } else if (word_is(name, "CLIENT") && r->argc > 2) { /* SETNAME, SETINFO */
        conn_reply(c, "+OK\r\n");
    } else if (!live_run(m, c, r) && !keyspace_run(m, c, r) && !values_run(m, c, r)) {
        conn_reply(c, "-ERR unknown command `%.64s`\r\n", name);
    }
}
