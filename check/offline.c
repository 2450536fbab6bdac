#include "offline.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"
#include "loop.h"
#include "match.h"
#include "names.h"
#include "named.h"
#include "stage.h"
#include "told.h"

/* Reading one side. */
struct reading {
    struct offline *all;
    unsigned side;
    bool open, more;
    struct stage stage;
    struct recin in;
    struct told told;
};

struct offline {
    const struct options *o;
    struct report *report;
    uint64_t *keys;
    uint64_t suspects;
    bool again, last;          /* looks after the first one */
    struct side_options at[2]; /* as dfreader takes them */
    struct reading reading[2];
    struct piles now[MATCH_PILES], next[MATCH_PILES];
    struct named named[2]; /* to be read again, of servers */
    struct buf line, name;
};

static const char *const labels[] = {"source", "target"};

static bool is_server(const struct offline *x, unsigned i)
{
    return x->o->at[i].side.file == NULL;
}

/* ---- keys that come ---- */

static void keep(struct piles *p, struct buf *line, const struct entry *head, const struct part *part,
                 struct slice name, struct slice source_name)
{
    line->len = 0;
    if (entry_put(line, head, part, name, source_name) < 0)
        fatal(EXIT_CANNOT, "a key of more than %zu bytes cannot be checked", KEY_MAX);
    piles_add(p, entry_hash(head->db, name.p, name.n), (const struct entry *)(const void *)line->p);
}

static bool sampled(const struct options *o, struct slice name)
{
    return o->sample >= 10000 || XXH3_64bits(name.p, name.n) % 10000 < o->sample;
}

static unsigned class_of(const struct entry *e)
{
    return (e->flags & ENTRY_UNKNOWN) != 0 ? 0 : names_class((enum value_type)e->type);
}

static void source_key(struct reading *r, struct entry *head, const struct part *part, struct slice name)
{
    struct offline *x = r->all;
    const struct filter *f = &x->o->filter;
    if (f->active && !filter_passes(f, name.p, name.n, class_of(head), head->db))
        return;
    head->source_db = head->db;
    head->db = filter_db(f, head->db);
    x->name.len = 0;
    struct slice target = name;
    if (f->renames.n > 0) {
        if (names_to_target(f, name.p, name.n, &x->name) < 0)
            fatal(EXIT_CANNOT, "a key is too long");
        target = (struct slice){x->name.p, x->name.len};
    }
    if (sampled(x->o, target))
        keep(&x->now[MATCH_SOURCE], &x->line, head, part, target,
             f->renames.n > 0 ? name : (struct slice){NULL, 0});
}

static void target_key(struct reading *r, struct entry *head, const struct part *part, struct slice name)
{
    struct offline *x = r->all;
    const struct filter *f = &x->o->filter;
    head->source_db = head->db;
    if (sampled(x->o, name) && names_may_come(f, name.p, name.n, class_of(head), head->db, &x->name))
        keep(&x->now[MATCH_TARGET], &x->line, head, part, name, (struct slice){NULL, 0});
}

static void key_came(void *ctx, const struct entry *head, const struct part *part, struct slice name)
{
    struct reading *r = ctx;
    struct entry e = *head;
    if (r->side == 0)
        source_key(r, &e, part, name);
    else
        target_key(r, &e, part, name);
}

/* ---- reading ---- */

static void cannot(const struct reading *r, const char *why)
{
    const struct options *o = r->all->o;
    fatal(EXIT_CANNOT, "%s %s: %s: nothing is said about the keys that were not looked at", labels[r->side],
          o->at[r->side].side.file != NULL ? o->at[r->side].side.file : o->at[r->side].side.bare, why);
}

static void begin_reading(struct offline *x, unsigned i, int keys)
{
    struct reading *r = &x->reading[i];
    r->all = x;
    r->side = i;
    r->open = r->more = true;
    stage_open(&r->stage, &x->at[i], keys);
    if (set_nonblock(r->stage.out, true) < 0)
        fatal_errno(EXIT_CANNOT, "pipe");
    recin_init(&r->in, r->stage.out, KIND_COMMAND);
    told_init(&r->told, key_came, r);
}

static void end_reading(struct reading *r)
{
    const struct told *t = &r->told;
    if (!t->ended || (t->status != EXIT_DONE && t->status != EXIT_DATA))
        cannot(r, t->fault[0] != '\0' ? t->fault : "what reads it ended");
    stage_close(&r->stage);
    recin_free(&r->in);
    told_free(&r->told);
    r->open = false;
}

/* Whatever is there. */
static void take_records(struct reading *r)
{
    struct rec rec;
    const uint8_t *payload;
    for (;;) {
        switch (recin_next(&r->in, &rec, &payload)) {
        case RECIN_RECORD:
            if (told_record(&r->told, &rec, payload) < 0)
                cannot(r, r->told.fault);
            break;
        case RECIN_STREAM: break;
        case RECIN_MORE: return;
        case RECIN_END: end_reading(r); return;
        case RECIN_CUT:
        case RECIN_DAMAGED: cannot(r, r->in.error); return;
        }
    }
}

static void fill(struct reading *r)
{
    long n = recin_fill(&r->in);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        cannot(r, strerror(errno));
    take_records(r);
}

static void read_sides(struct offline *x)
{
    for (;;) {
        struct pollfd fds[2];
        unsigned open = 0;
        for (unsigned i = 0; i < 2; i++) {
            fds[i] =
                (struct pollfd){.fd = x->reading[i].open ? x->reading[i].stage.out : -1, .events = POLLIN};
            open += x->reading[i].open;
        }
        if (open == 0)
            return;
        int n = poll(fds, 2, LOOP_TICK);
        if (signals_seen() > 0)
            fatal(EXIT_PARTIAL, "stopped: nothing is said about the keys that were not looked at");
        for (unsigned i = 0; n > 0 && i < 2; i++)
            if (x->reading[i].open && fds[i].revents != 0)
                fill(&x->reading[i]);
    }
}

/* A server is asked first: one that is a node of a cluster stands for all of it. */
static void find_side(struct offline *x, unsigned i)
{
    static struct side s;
    struct loop loop;
    struct side_options *at = &x->at[i];
    *at = x->o->at[i].side;
    if (!is_server(x, i))
        return;
    loop_init(&loop);
    side_open(&s, &loop, &x->o->at[i].side, labels[i]);
    bool cluster = s.cluster;
    side_close(&s);
    loop_free(&loop);
    if (!cluster || at->url.cluster)
        return;
    const char *rest = strstr(x->o->at[i].side.bare, "://");
    if (at->url.host[0] == '\0' || rest == NULL ||
        snprintf(at->bare, sizeof at->bare, "%s%s", at->url.secure ? "rediss-cluster" : "redis-cluster",
                 rest) >= (int)sizeof at->bare)
        fatal(EXIT_CANNOT, "%s %s: it is a node of a cluster: name it by redis-cluster://", labels[i],
              s.shown);
}

/* ---- what differs ---- */

static void report(const struct offline *x, const struct entry *const e[MATCH_PILES], const struct finding *f,
                   bool settled)
{
    const struct entry *any = e[MATCH_SOURCE] != NULL ? e[MATCH_SOURCE] : e[MATCH_TARGET];
    struct subject s = {.db = {any->source_db, any->db}, .name = {entry_source_name(any), entry_name(any)}};
    (void)report_key(x->report, &s, f, settled);
}

/* Of a server it is read again; of a file what it says is kept. */
static void look_again(struct offline *x, const struct entry *const e[MATCH_PILES], const struct finding *f)
{
    const struct entry *any = e[MATCH_SOURCE] != NULL ? e[MATCH_SOURCE] : e[MATCH_TARGET];
    struct slice name = entry_name(any);
    struct entry mark = {.db = any->db, .type = VALUE_NONE, .flags = ENTRY_MARK, .n = finding_print(f)};
    for (unsigned i = 0; i < 2; i++) {
        if (!is_server(x, i) && e[i] != NULL)
            piles_add(&x->next[i], entry_hash(any->db, name.p, name.n), e[i]);
        else if (is_server(x, i) && i == 1)
            named_add(&x->named[i], any->db, name);
        else if (is_server(x, i))
            named_add_source(&x->named[i], &x->o->filter, any->db, name, &x->name);
    }
    keep(&x->next[MATCH_MARKS], &x->line, &mark, NULL, name, (struct slice){NULL, 0});
    x->suspects++;
}

static void matched(void *ctx, const struct entry *const e[MATCH_PILES])
{
    struct offline *x = ctx;
    struct finding f;
    for (unsigned i = 0; i < 2 && !x->again; i++)
        x->keys[i] += e[i] != NULL;
    if ((e[0] == NULL && e[1] == NULL) || !entry_differs(&x->o->depth, e[0], e[1], &f))
        return;
    bool certain = (!is_server(x, 0) && !is_server(x, 1)) || x->o->rounds == 0 ||
                   (e[MATCH_MARKS] != NULL && e[MATCH_MARKS]->n == finding_print(&f));
    if (certain || x->last)
        report(x, e, &f, certain);
    else
        look_again(x, e, &f);
}

/* ---- looks ---- */

static void match_now(struct offline *x)
{
    struct piles *const p[MATCH_PILES] = {&x->now[0], &x->now[1], &x->now[2]};
    match_all(p, matched, x);
    for (unsigned i = 0; i < MATCH_PILES; i++)
        piles_free(&x->now[i]);
}

static void wait_for(unsigned ms)
{
    uint64_t until = mono_us() + (uint64_t)ms * 1000;
    for (uint64_t now = mono_us(); now < until && signals_seen() == 0; now = mono_us())
        (void)poll(NULL, 0,
                   (int)((until - now) / 1000 + 1 < LOOP_TICK ? (until - now) / 1000 + 1 : LOOP_TICK));
    if (signals_seen() > 0)
        fatal(EXIT_PARTIAL, "stopped: nothing is said about the keys that were not looked at");
}

static void another_look(struct offline *x, unsigned round)
{
    log_event(LOG_INFO, NO_FLOW, "event=look_again keys=%" PRIu64 " round=%u", x->suspects, round);
    x->again = true;
    x->last = round == x->o->rounds;
    x->suspects = 0;
    for (unsigned i = 0; i < MATCH_PILES; i++) {
        x->now[i] = x->next[i];
        piles_init(&x->next[i], 0);
    }
    wait_for(x->o->delay);
    for (unsigned i = 0; i < 2; i++)
        if (is_server(x, i)) {
            int fd = named_end(&x->named[i]);
            begin_reading(x, i, fd);
            close(fd);
        }
    read_sides(x);
    match_now(x);
}

void offline_run(const struct options *o, struct report *report_to, uint64_t keys[2])
{
    static struct offline x; /* its piles are too large for a stack */
    x.o = o;
    x.report = report_to;
    x.keys = keys;
    for (unsigned i = 0; i < MATCH_PILES; i++) {
        piles_init(&x.now[i], 0);
        piles_init(&x.next[i], 0);
    }
    for (unsigned i = 0; i < 2; i++)
        find_side(&x, i);
    for (unsigned i = 0; i < 2; i++)
        begin_reading(&x, i, -1);
    read_sides(&x);
    match_now(&x);
    for (unsigned round = 1; round <= o->rounds && x.suspects > 0; round++)
        another_look(&x, round);
    buf_free(&x.line);
    buf_free(&x.name);
}
