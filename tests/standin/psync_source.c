/* The bytes behind the reply to PSYNC: the RDB, its token, the stream up to the end of the stage. */
#include "psync.h"

#include <stdlib.h>
#include <string.h>

#define LAG_PIECE 16384u

struct psync_bytes {
    struct source base;
    const struct psync_history *history;
    bool full, rdb_done, token_done, wrong_done;
    char token[TOKEN_LEN + 1];
    uint64_t at, end, wrong_at; /* offsets; wrong_at: of wrong bytes, UINT64_MAX none */
    const char *wrong;
    uint64_t rng;
    bool lags; /* --lag */
    int64_t waits_until;
    uint64_t stop; /* a server of --values-of waits here until it has removed what TRIMSLOTS says */
    const char *trim;
    size_t trim_len;
};

static struct psync_bytes *of(struct source *s)
{
    return (struct psync_bytes *)(void *)s;
}

static const struct psync_bytes *of_const(const struct source *s)
{
    return (const struct psync_bytes *)(const void *)s;
}

static bool next_of_transfer(struct psync_bytes *b, struct chunk *c)
{
    if (b->full && !b->rdb_done) {
        b->rdb_done = true;
        *c = (struct chunk){b->history->rdb, b->history->rdb_len, CHUNK_CUT | (*b->token ? 0 : CHUNK_SWITCH)};
        return true;
    }
    if (*b->token && !b->token_done) {
        b->token_done = true;
        *c = (struct chunk){(const uint8_t *)b->token, TOKEN_LEN, CHUNK_SWITCH};
        return true;
    }
    return false;
}

/* --lag: this much at a time, and then a pause.  0: it is not over yet. */
static size_t lag_limit(struct psync_bytes *b, int64_t now_us, int64_t *wake_at, size_t n)
{
    if (!b->lags)
        return n;
    if (now_us < b->waits_until) {
        if (b->waits_until < *wake_at)
            *wake_at = b->waits_until;
        return 0;
    }
    b->rng = mix64(b->rng);
    size_t piece = 1 + (size_t)(b->rng % LAG_PIECE);
    b->waits_until = now_us + (int64_t)(mix64(b->rng) % (opt.lag * 1000 + 1));
    return piece < n ? piece : n;
}

static bool psync_next(struct source *s, enum phase phase, int64_t now_us, struct chunk *c, int64_t *wake_at)
{
    struct psync_bytes *b = of(s);
    if (next_of_transfer(b, c))
        return true;
    if (phase != PHASE_STABLE)
        return false;
    if (b->at == b->wrong_at && !b->wrong_done) {
        b->wrong_done = true;
        *c = (struct chunk){(const uint8_t *)b->wrong, strlen(b->wrong), 0};
        return true;
    }
    uint64_t to = b->at < b->wrong_at && b->wrong_at < b->end ? b->wrong_at : b->end;
    if (b->stop < to)
        to = b->stop;
    if (b->at == to)
        return false;
    size_t n = lag_limit(b, now_us, wake_at, (size_t)(to - b->at));
    if (n == 0)
        return false;
    *c = (struct chunk){b->history->stream.p + (b->at - b->history->start), n, 0};
    b->at += n;
    return true;
}

static uint64_t psync_next_offset(const struct source *s)
{
    return of_const(s)->at;
}

static bool psync_finished(const struct source *s)
{
    const struct psync_bytes *b = of_const(s);
    return b->at == b->end && b->rdb_done >= b->full && b->token_done >= (*b->token != '\0');
}

static bool psync_between(const struct source *s)
{
    (void)s;
    return false; /* no filler: it would count as part of the stream */
}

static void psync_close(struct source *s)
{
    free(of(s));
}

static void next_stop(struct psync_bytes *b)
{
    const struct psync_mark *m = history_trim(b->history, b->at, &b->trim, &b->trim_len);
    b->stop = m ? m->end : UINT64_MAX;
}

const char *psync_source_stopped(const struct source *s, uint64_t at, size_t *n)
{
    const struct psync_bytes *b = of_const(s);
    *n = b->trim_len;
    return b->stop == at && b->at == at ? b->trim : NULL;
}

void psync_source_go_on(struct source *s)
{
    next_stop(of(s));
}

static const struct source_ops psync_ops = {
    psync_next, psync_next_offset, psync_finished, psync_between, psync_close,
};

struct source *psync_source(const struct psync_node *n, const struct psync_reply *r,
                            const struct wrong *wrong, uint64_t rng)
{
    const struct psync_stage *stage = &n->stage[n->now];
    struct psync_bytes *b = grab(sizeof *b);
    b->base.ops = &psync_ops;
    b->history = &n->history[stage->history];
    b->full = r->full;
    if (r->full && r->by_token)
        memcpy(b->token, r->token, sizeof b->token);
    if (*b->token && opt.bad_token)
        b->token[0] ^= 1;
    b->at = r->from;
    b->end = stage->end;
    b->rng = rng;
    b->lags = opt.lag && !r->follower;
    b->wrong_at = b->stop = UINT64_MAX;
    if (r->follower)
        next_stop(b);
    if (wrong && wrong->stream) {
        uint64_t place = history_place(b->history, PLACE_BOUNDARY, b->at, rng);
        b->wrong = wrong->stream;
        b->wrong_at = place ? place : b->at;
    }
    return &b->base;
}
