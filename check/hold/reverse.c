#include "reverse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../side_ask.h"
#include "exits.h"
#include "fatal.h"
#include "ours.h"
#include "psync.h"

#define BACKLOG_TRIES 100 /* every 20 ms */

static bool has_backlog(struct side *s, uint64_t *bytes)
{
    char active[8], text[32];
    const struct reply *r = MUST(s, side_lister(s, 0), "INFO", "replication");
    *bytes = info_field(r, "repl_backlog_size", text, sizeof text) ? strtoull(text, NULL, 10) : 0;
    return info_field(r, "repl_backlog_active", active, sizeof active) && strcmp(active, "1") == 0;
}

uint64_t reverse_backlog(struct side *s)
{
    static const char text[] = "*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n";
    struct link *l = &s->node[0].links[1];
    uint64_t bytes;
    if (has_backlog(s, &bytes))
        return bytes;
    loop_del(l->loop, &l->w); /* nobody reads the answer */
    if (transport_send(&l->t, text, sizeof text - 1, side_timeout(s)) != 0)
        fatal_errno(EXIT_CANNOT, "%s: PSYNC", l->name);
    for (unsigned i = 0; !has_backlog(s, &bytes); i++) {
        if (i == BACKLOG_TRIES)
            fatal(EXIT_CANNOT, "%s: it does not begin to keep its stream (PSYNC)", l->name);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    link_close(l);
    return bytes;
}

void reverse_mark(struct side *s, const char *key, struct reverse_mark *m)
{
    struct link *l = side_lister(s, 0);
    char text[32];
    (void)MUST(s, l, "MULTI");
    (void)MUST(s, l, "INFO", "replication"); /* before the first write: then the transaction is behind it */
    (void)MUST(s, l, "SET", key, "");
    (void)MUST(s, l, "DEL", key);
    struct reply *r = MUST(s, l, "EXEC");
    size_t info = reply_child(r, 0, 0);
    if (info >= r->n || r->e[info].type != REPLY_TEXT)
        fatal(EXIT_CANNOT, "%s: EXEC: not understood", l->name);
    struct elem first = r->e[0];
    r->e[0] = r->e[info];
    bool known = info_field(r, "master_replid", m->replid, sizeof m->replid) &&
                 info_field(r, "master_repl_offset", text, sizeof text);
    r->e[0] = first;
    m->offset = known ? strtoull(text, NULL, 10) : 0;
    if (!known || m->offset > PSYNC_OFFSET_MAX)
        fatal(EXIT_CANNOT, "%s: INFO does not say how far its stream is", l->name);
}

void reverse_save(struct side *s, const char *task, const struct reverse_mark *m)
{
    char key[200], session[200], flow[64];
    snprintf(key, sizeof key, OUR_KEYS "%s}", task);
    snprintf(session, sizeof session, "cutover 1 1 %s %s", m->replid, m->replid);
    snprintf(flow, sizeof flow, "1 1 %llu", (unsigned long long)psync_position(m->offset, 0));
    struct link *l = side_lister(s, 0);
    (void)MUST(s, l, "DEL", key);
    (void)MUST(s, l, "HMSET", key, "session", session, "f0", flow);
}

void reverse_kick(struct side *s)
{
    link_close(&s->node[0].links[1]); /* that is ours */
    (void)MUST(s, side_lister(s, 0), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
}
