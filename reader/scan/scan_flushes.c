/* FLUSHALL, FLUSHDB and SWAPDB, of which no notification tells: how often the source has executed them is
 * asked for once a second. Keys that went so are not known by name, so the session begins anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "log.h"
#include "../redis/psync_reply.h"
#include "scan_source.h"

#define EVERY    US
#define TEXT_MAX ((size_t)1 << 20)

void scan_flushes_ask(struct scan_node *n, uint64_t now)
{
    static const char *const info[] = {"INFO", "commandstats"};
    struct scan_flushes *f = &n->flushes;
    if (!scan_follows(n->source) || f->asked || f->refused || us_since(now, f->asked_at) < EVERY)
        return;
    f->asked = true;
    f->asked_at = now;
    f->text.len = 0;
    f->text.max = TEXT_MAX;
    scan_request(n, ASK_FLUSHES, 2, info, 0, NULL);
}

/* Since the server was started, or its counters were reset. */
static uint64_t calls_of(const char *text)
{
    static const char *const names[] = {"cmdstat_flushall", "cmdstat_flushdb", "cmdstat_swapdb"};
    char field[256];
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (info_field(text, names[i], field, sizeof field) && strncmp(field, "calls=", 6) == 0)
            sum += strtoull(field + 6, NULL, 10);
    return sum;
}

static void take_calls(struct scan_node *n, uint64_t calls)
{
    struct scan_flushes *f = &n->flushes;
    bool first = !f->known, reset = calls < f->calls;
    bool flushed = !first && (reset ? calls > 0 : calls > f->calls);
    f->known = true;
    f->calls = calls;
    if (!flushed)
        return;
    log_event(LOG_WARN, (int)n->flow->id, "event=source_flushed server=%s", n->shown);
    scan_node_anew(n, "flushed");
}

void scan_flushes_token(struct scan_node *n, const struct resp_token *t)
{
    struct scan_flushes *f = &n->flushes;
    if (t->type == 'b')
        (void)buf_add(&f->text, t->text, t->len);
    if (!t->end)
        return;
    f->asked = false;
    if (t->type == '-' || f->text.len == 0 || buf_add(&f->text, "", 1) < 0) {
        f->refused = true;
        log_event(LOG_WARN, (int)n->flow->id, "event=flushes_unknown server=%s note=%s", n->shown,
                  "\"INFO commandstats is refused: FLUSHALL, FLUSHDB and SWAPDB are not noticed\"");
        return;
    }
    take_calls(n, calls_of((const char *)f->text.p));
}
