/* A flow's bytes out of a recording: pieces of mapped files, in order. */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

struct capture_source {
    struct source base;
    struct chunk piece[6];
    enum phase phase[6];
    unsigned pieces, done, journal; /* journal: the piece that its entries begin with */
    uint64_t first_lsn, end_lsn;
    bool whole_entries;
};

static struct capture_source *of(struct source *s)
{
    return (struct capture_source *)(void *)s;
}

static bool capture_next(struct source *s, enum phase phase, int64_t now_us, struct chunk *c, int64_t *wake)
{
    struct capture_source *cs = of(s);
    (void)now_us;
    (void)wake;
    if (cs->done == cs->pieces || cs->phase[cs->done] > phase)
        return false;
    *c = cs->piece[cs->done++];
    return true;
}

static bool capture_finished(const struct source *s)
{
    const struct capture_source *cs = (const struct capture_source *)(const void *)s;
    return cs->done == cs->pieces;
}

static uint64_t capture_next_lsn(const struct source *s)
{
    const struct capture_source *cs = (const struct capture_source *)(const void *)s;
    return cs->done > cs->journal ? cs->end_lsn : cs->first_lsn;
}

static bool capture_between(const struct source *s)
{
    return ((const struct capture_source *)(const void *)s)->whole_entries;
}

static void capture_close(struct source *s)
{
    free(of(s));
}

static const struct source_ops capture_ops = {
    capture_next, capture_next_lsn, capture_finished, capture_between, capture_close,
};

static void add(struct capture_source *cs, enum phase phase, const struct rec_flow *f, size_t from, size_t to,
                unsigned flags)
{
    if (from == to && !flags)
        return;
    cs->phase[cs->pieces] = phase;
    cs->piece[cs->pieces++] = (struct chunk){f->data + from, to - from, flags};
}

/* What a first session recorded, from lsn on, and what a second one added: true if lsn is there.
 * As in a master's backlog, not more than opt.backlog entries back. */
static bool partial_pieces(struct capture_source *cs, const struct rec_flow *first,
                           const struct rec_flow *second, uint64_t lsn)
{
    const struct rec_flow *last = second ? second : first;
    uint64_t at = first->first_lsn;
    if (lsn > last->end_lsn || last->end_lsn - lsn > opt.backlog) {
        /* The recorded request is granted even where the backlog is set smaller. */
        if (!second || lsn != second->first_lsn)
            return false;
    }
    cs->end_lsn = last->end_lsn;
    if (second && lsn >= second->first_lsn) {
        uint64_t from = second->first_lsn;
        size_t skip =
            walk_journal(second->data + second->switch_end, second->len - second->switch_end, &from, lsn);
        add(cs, PHASE_STABLE, second, second->switch_end + skip, second->len, 0);
        return true;
    }
    if (lsn < at)
        return false;
    size_t skip = walk_journal(first->data + first->switch_end, first->len - first->switch_end, &at, lsn);
    add(cs, PHASE_STABLE, first, first->switch_end + skip, first->len, 0);
    if (second) {
        if (first->end_lsn != second->first_lsn)
            return false; /* a gap between the recordings */
        add(cs, PHASE_STABLE, second, second->switch_end, second->len, 0);
    }
    return true;
}

static void full_pieces(struct capture_source *cs, const struct rec_flow *f)
{
    cs->first_lsn = f->first_lsn;
    cs->end_lsn = f->end_lsn;
    cs->whole_entries = f->whole_entries;
    add(cs, PHASE_SNAPSHOT, f, f->reply_end, f->cut_end, CHUNK_CUT);
    /* Where all that was recorded came after the cut's STARTSTABLE, nothing is left in between. */
    if (f->pre_end > f->cut_end) {
        add(cs, PHASE_SNAPSHOT, f, f->cut_end, f->pre_end, 0);
        add(cs, PHASE_STABLE, f, f->pre_end, f->switch_end, CHUNK_SWITCH);
    } else {
        add(cs, PHASE_STABLE, f, f->cut_end, f->switch_end, CHUNK_SWITCH);
    }
    cs->journal = cs->pieces;
    add(cs, PHASE_STABLE, f, f->switch_end, f->len, 0);
}

bool capture_start(const struct capture *c, unsigned session, unsigned flow, struct flow_start *start)
{
    struct capture_source *cs = grab(sizeof *cs);
    const struct rec_flow *first = &c->session[0].flow[flow], *second = NULL;
    cs->base.ops = &capture_ops;
    if (opt.second_session && session > 1 && c->sessions > 1 && flow < c->session[1].flows &&
        c->session[1].flow[flow].data && c->session[1].flow[flow].partial)
        second = &c->session[1].flow[flow];

    if (start->has_lsn && !opt.old_no_partial && partial_pieces(cs, first, second, start->lsn)) {
        cs->first_lsn = start->lsn;
        start->partial = true;
        memcpy(start->token, (second ? second : first)->token, sizeof start->token);
    } else {
        cs->pieces = 0;
        full_pieces(cs, first);
        start->partial = false;
        memcpy(start->token, first->token, sizeof start->token);
    }
    start->source = &cs->base;
    return true;
}

uint64_t capture_end_lsn(const struct capture *c, unsigned flow)
{
    if (opt.second_session && c->sessions > 1 && flow < c->session[1].flows && c->session[1].flow[flow].data)
        return c->session[1].flow[flow].end_lsn;
    return c->session[0].flow[flow].end_lsn;
}
