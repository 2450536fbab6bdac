/* Streams, decoded into commands. */
#include <stdio.h>

#include "stream.h"

#define PEL_ENTRY 33 /* id, time, count, whether it has an owner */

enum phase {
    PH_COUNT,
    PH_NODES,
    PH_TAIL,
    PH_GROUP,
    PH_PEL,
    PH_CONSUMERS,
    PH_CONSUMER,
    PH_IDS,
    PH_NACKS,
    PH_NACK
};

static void send(struct value *v, unsigned keyarg, const struct slice *argv, size_t argc)
{
    if (!v->dropped)
        emit_argv(v->e, v->o, &v->key, keyarg, v->vclass, 0, argv, argc);
}

/* A stream without entries comes into being by a group that is taken away again. */
static void write_empty(struct value *v)
{
    struct slice key = {v->key.p, v->key.n};
    struct slice create[6] = {SLICE("XGROUP"),   SLICE("CREATE"), key,
                              SLICE("df2redis"), SLICE("0"),      SLICE("MKSTREAM")};
    struct slice destroy[4] = {SLICE("XGROUP"), SLICE("DESTROY"), key, SLICE("df2redis")};
    value_start(v);
    send(v, 2, create, 6);
    send(v, 2, destroy, 4);
}

static bool knows_counters(const struct target *t)
{
    return t->version >= VERSION(7, 0) && t->kind != SERVER_DRAGONFLY;
}

static void write_tail(struct value *v, const uint64_t *t)
{
    struct id_text last, del;
    uint8_t added[20];
    if (v->st.written == 0)
        write_empty(v);
    struct slice argv[7] = {SLICE("XSETID"), {v->key.p, v->key.n}, stream_id(&last, t[1], t[2])};
    size_t argc = 3;
    if (v->type != 15 && knows_counters(&v->e->target)) {
        argv[3] = SLICE("ENTRIESADDED");
        argv[4] = (struct slice){added, dec_u64(added, t[7])};
        argv[5] = SLICE("MAXDELETEDID");
        argv[6] = stream_id(&del, t[5], t[6]);
        argc = 7;
    }
    v->st.deleted = v->type == 15 || t[7] != t[0];
    send(v, 1, argv, argc);
}

static void write_group(struct value *v, const struct slice *name, const uint64_t *t)
{
    struct id_text last;
    uint8_t read[20];
    struct slice argv[7] = {
        SLICE("XGROUP"), SLICE("CREATE"), {v->key.p, v->key.n}, *name, stream_id(&last, t[0], t[1])};
    size_t argc = 5;
    if (v->type != 15 && (knows_counters(&v->e->target) || v->e->target.kind == SERVER_DRAGONFLY) &&
        t[2] != UINT64_MAX) {
        argv[5] = SLICE("ENTRIESREAD");
        argv[6] = (struct slice){read, dec_u64(read, t[2])};
        argc = 7;
    }
    send(v, 2, argv, argc);
}

static void write_claim(struct value *v, const uint8_t *id)
{
    const uint8_t *pe = stream_find_pending(&v->st.pel, PEL_ENTRY, id);
    struct id_text text;
    uint8_t when[21], count[20];
    struct slice idarg = stream_id(&text, be64(id), be64(id + 8));
    if (v->dropped || (pe == NULL && v->st.unkept > 0)) /* that was reported */
        return;
    if (pe == NULL || pe[32] != 0) {
        emit_report(v->e, v->o, true, "pending-entry", v->key.p, v->key.n,
                    pe == NULL ? "a consumer's pending id is not in its group"
                               : "two consumers have one pending id");
        return;
    }
    v->st.pel.p[(size_t)(pe - v->st.pel.p) + 32] = 1;
    v->st.claimed++;
    struct slice argv[12] = {SLICE("XCLAIM"),
                             {v->key.p, v->key.n},
                             {v->st.group.p, v->st.group.len},
                             {v->st.consumer.p, v->st.consumer.len},
                             SLICE("0"),
                             idarg,
                             SLICE("TIME"),
                             {when, dec_i64(when, (int64_t)le64(pe + 16))},
                             SLICE("RETRYCOUNT"),
                             {count, dec_u64(count, le64(pe + 24))},
                             SLICE("FORCE"),
                             SLICE("JUSTID")};
    send(v, 1, argv, 12);
    if (v->st.deleted && !v->st.remarked)
        emit_report(
            v->e, v->o, false, "stream-pending", v->key.p, v->key.n,
            "pending entries of messages deleted at the source are not recreated in a stream this large");
    v->st.remarked = true;
}

static bool set_name(struct scratch *s, struct buf *b, const struct pstr *ps)
{
    struct slice t;
    if (!value_text(s, 0, ps, &t))
        return false;
    b->len = 0;
    return buf_add(b, t.p, t.n) == 0;
}

static enum got feed_tail(struct value *v, struct cur *c)
{
    uint64_t t[9] = {0};
    unsigned np = tail_plens(v->type);
    enum got g = cur_plens(c, t, np);
    if (g != GOT)
        return g;
    const char *why = stream_tail_damage(t, &v->st.order);
    if (why != NULL && (g = value_damaged(v, c, why)) != GOT)
        return g;
    write_tail(v, t);
    v->st.groups = t[np - 1];
    v->st.phase = PH_GROUP;
    return GOT;
}

static enum got feed_group(struct value *v, struct cur *c)
{
    struct pstr name;
    uint64_t t[4] = {0};
    unsigned np = group_plens(v->type);
    const uint8_t *unused;
    enum got g = stream_head(c, &name, 0, &unused, t, np);
    if (g != GOT)
        return g;
    if (!set_name(v->s, &v->st.group, &name))
        return cur_bad(c, "a group's name");
    struct slice text = {v->st.group.p, v->st.group.len};
    write_group(v, &text, t);
    v->st.groups--;
    v->st.pels = t[np - 1];
    v->st.claimed = v->st.unkept = 0;
    v->st.pel.len = 0;
    v->st.pel.max = PEL_MAX;
    v->st.phase = PH_PEL;
    return GOT;
}

static enum got feed_pending(struct value *v, struct cur *c)
{
    const uint8_t *p = NULL;
    uint64_t count = 0;
    enum got g = stream_pending(c, &p, &count);
    if (g != GOT)
        return g;
    v->st.pels--;
    if (v->dropped || PEL_MAX - v->st.pel.len < PEL_ENTRY) {
        v->st.unkept++;
        return GOT;
    }
    if (buf_add(&v->st.pel, p, 24) < 0 || buf_add(&v->st.pel, &count, 8) < 0 ||
        buf_add(&v->st.pel, "", 1) < 0)
        return cur_bad(c, "memory for pending entries");
    return GOT;
}

/* All pending entries of the group were taken. */
static void pending_done(struct value *v)
{
    char detail[160];
    v->st.phase = PH_CONSUMERS;
    if (v->st.unkept == 0 || v->dropped)
        return;
    snprintf(detail, sizeof detail,
             "not supported: %llu of the pending entries of a group, which has more than %zu",
             (unsigned long long)v->st.unkept, PEL_MAX / PEL_ENTRY);
    emit_report(v->e, v->o, true, "pending-entry", v->key.p, v->key.n, detail);
}

static enum got feed_consumer(struct value *v, struct cur *c)
{
    struct pstr name;
    const uint8_t *unused;
    enum got g = stream_head(c, &name, consumer_raw(v->type), &unused, &v->st.ids, 1);
    if (g != GOT)
        return g;
    if (!set_name(v->s, &v->st.consumer, &name))
        return cur_bad(c, "a consumer's name");
    struct slice argv[5] = {SLICE("XGROUP"),
                            SLICE("CREATECONSUMER"),
                            {v->key.p, v->key.n},
                            {v->st.group.p, v->st.group.len},
                            {v->st.consumer.p, v->st.consumer.len}};
    send(v, 2, argv, 5);
    v->st.consumers--;
    v->st.phase = PH_IDS;
    return GOT;
}

/* A pending entry without a consumer cannot be made by commands. */
static void report_unowned(struct value *v)
{
    if (!v->reported)
        emit_report(v->e, v->o, true, "pending-entry", v->key.p, v->key.n,
                    "pending entries that no consumer owns");
    v->reported = true;
}

static enum got feed_nack(struct value *v, struct cur *c)
{
    const uint8_t *p;
    if (v->st.ids == 0) {
        v->st.phase = PH_GROUP;
        return GOT;
    }
    enum got g = cur_raw(c, 16, &p);
    if (g == GOT && v->st.ids-- > 0 && !v->dropped)
        report_unowned(v);
    return g;
}

/* One step of the machine. *done: the value is complete. */
static enum got feed_step(struct value *v, struct cur *c, bool *done)
{
    struct stream_state *st = &v->st;
    const uint8_t *p;
    const char *why = NULL;
    enum got g = GOT;
    switch ((enum phase)st->phase) {
    case PH_COUNT:
        g = cur_plen(c, &v->left);
        if (g == GOT)
            st->phase = PH_NODES;
        return g;
    case PH_NODES:
        if (v->left == 0)
            st->phase = PH_TAIL;
        else if ((g = stream_node(c, v->s, v, &st->order, &why)) == GOT)
            v->left--;
        return why != NULL ? value_damaged(v, c, why) : g;
    case PH_TAIL: return feed_tail(v, c);
    case PH_GROUP:
        if (st->groups > 0)
            return feed_group(v, c);
        if (has_producers(v->type))
            g = stream_producers(c);
        *done = g == GOT;
        return g;
    case PH_PEL:
        if (st->pels > 0)
            return feed_pending(v, c);
        pending_done(v);
        return GOT;
    case PH_CONSUMERS:
        g = cur_plen(c, &st->consumers);
        if (g == GOT)
            st->phase = PH_CONSUMER;
        return g;
    case PH_CONSUMER:
        if (st->consumers > 0)
            return feed_consumer(v, c);
        st->phase = has_nacks(v->type) ? PH_NACKS : PH_GROUP;
        if (!has_nacks(v->type) && !v->dropped && st->claimed != st->pel.len / PEL_ENTRY)
            report_unowned(v);
        return GOT;
    case PH_NACKS:
        g = cur_plen(c, &st->ids);
        if (g == GOT)
            st->phase = PH_NACK;
        return g;
    case PH_NACK: return feed_nack(v, c);
    case PH_IDS: break;
    }
    if (st->ids == 0) {
        st->phase = PH_CONSUMER;
        return GOT;
    }
    g = cur_raw(c, 16, &p);
    if (g == GOT) {
        st->ids--;
        write_claim(v, p);
    }
    return g;
}

enum got stream_feed(struct value *v, struct cur *c)
{
    bool done = false;
    enum got g = GOT;
    while (g == GOT && !done)
        g = feed_step(v, c, &done);
    return g;
}
