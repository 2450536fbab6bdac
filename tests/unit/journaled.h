/* One journal entry, given to a flow: what comes out for a target. */
#ifndef JOURNALED_H
#define JOURNALED_H

#include "test.h"

#include "../../parser/flow.h"

#define NOW_MS  UINT64_C(1700000000000) /* clock and arrival */
#define ONE     "1 pos=101 db=0 "
#define SKIPPED "1 pos=101 db=0 V position\n"

static struct capture cap;
static struct flow flow;

struct source {
    unsigned version; /* 0: 1.40 */
    unsigned flows;
    bool json;
    bool own_master;
};

static inline void begin(const char *target, struct source s)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, target));
    cap.e.target.has_json = s.json;
    flow_init(&flow, 0);
    flow_begin(&flow, 1, false, true, s.flows > 0 ? s.flows : 2, 100, NULL);
    flow.to.own_master = s.own_master;
    if (s.version != 0)
        flow.to.dialect = dialect_dragonfly(s.version == 1 ? 0 : s.version);
}

static inline void feed(const struct buf *b)
{
    uint8_t *p = exact(b->p, b->len);
    if (flow_feed(&flow, &cap.e, p, b->len, flow.offset + flow.carry.len, NOW_MS * 1000) < 0)
        printf("%s\n", flow.error);
    free(p);
}

static inline void end(void)
{
    CHECK(flow_end(&flow, false) == 0);
    flow_free(&flow);
    capture_free(&cap);
}

static inline void is_from(struct source s, const char *target, const char *line, const char *want)
{
    struct buf b = {0};
    begin(target, s);
    add_command(&b, 7, line);
    feed(&b);
    if (!EQ_S(capture_text(&cap), want))
        printf("  for %s: %s\n", target, line);
    EQ(flow.to.next_lsn, 101); /* one entry, whatever became of it */
    end();
    buf_free(&b);
}

static const char *const targets[] = {"portable", "6.2", "7.0", "7.4"};

static inline void all(const char *line, const char *want)
{
    for (size_t i = 0; i < 4; i++)
        is_from((struct source){0}, targets[i], line, want);
}

static inline void is(const char *target, const char *line, const char *want)
{
    is_from((struct source){0}, target, line, want);
}

/* portable and 6.2; 7.0 and 7.4 */
static inline void differs(const char *line, const char *old, const char *new)
{
    is("portable", line, old);
    is("6.2", line, old);
    is("7.0", line, new);
    is("7.4", line, new);
}

#endif
