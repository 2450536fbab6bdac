#include "lanes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEM_ALL ((size_t)4 << 20)
#define MEM_MIN ((size_t)4 << 10)

void lanes_init(struct lanes *l, unsigned n, size_t memmax, uint64_t cap, const char *dir)
{
    memset(l, 0, sizeof *l);
    l->n = n;
    l->lane = xcalloc(n, sizeof *l->lane);
    l->request.max = LANES_REQUEST_MAX;
    l->whole.max = REC_HEADER + REC_PAYLOAD_MAX;
    size_t share = MEM_ALL / (n > 0 ? n : 1);
    if (share < MEM_MIN)
        share = MEM_MIN;
    if (memmax > share)
        memmax = share;
    for (unsigned i = 0; i < n; i++)
        spool_init(&l->lane[i].q, memmax, NULL, 0, dir, cap);
}

void lanes_free(struct lanes *l)
{
    for (unsigned i = 0; i < l->n; i++) {
        spool_free(&l->lane[i].q);
        buf_free(&l->lane[i].request);
    }
    free(l->lane);
    buf_free(&l->request);
    buf_free(&l->whole);
    memset(l, 0, sizeof *l);
}

int lanes_queue(struct lanes *l, const struct rec *r, const uint8_t *payload)
{
    struct spool *q = &l->lane[r->flow].q;
    bool first = spool_len(q) == 0;
    l->whole.len = 0;
    (void)buf_add(&l->whole, r, REC_HEADER);
    (void)buf_add(&l->whole, payload, r->len);
    if (spool_put(q, l->whole.p, l->whole.len, false) < 0)
        return -1;
    if (first)
        l->queued++;
    return 0;
}

/* FLUSHALL is no request of one flow among several. What the request is else, the stream's writer knows. */
static bool spares_others(const uint8_t *request, size_t n)
{
    static const char name[] = "\r\n$7\r\nFLUSHDB\r\n";
    return n >= 2 + sizeof name - 1 && request[0] == '*' &&
           strncasecmp((const char *)request + 2, name, sizeof name - 1) == 0;
}

static enum lanes_result stand_alone(struct lanes *l, struct lane *lane, const struct rec *r,
                                     const uint8_t *request, size_t n)
{
    if (!spares_others(request, n))
        return LANES_WIDE;
    lane->waiting = lane->alone = true;
    lane->at = *r;
    lane->request.len = 0;
    (void)buf_add(&lane->request, request, n);
    l->alone++;
    return LANES_ALONE;
}

enum lanes_result lanes_arrive(struct lanes *l, const struct rec *r, const uint8_t *payload)
{
    struct lane *lane = &l->lane[r->flow];
    uint64_t txid;
    if (r->len <= sizeof txid || r->len - sizeof txid > LANES_REQUEST_MAX || lane->waiting)
        return LANES_BAD;
    memcpy(&txid, payload, sizeof txid);
    const uint8_t *request = payload + sizeof txid;
    size_t n = r->len - sizeof txid;
    if ((r->flags & RF_ONEFLOW) != 0 && l->n > 1)
        return stand_alone(l, lane, r, request, n);
    if (l->arrived == 0) {
        l->txid = txid;
        l->db = r->db;
        l->request.len = 0;
        (void)buf_add(&l->request, request, n);
    } else {
        if (txid != l->txid || r->db != l->db)
            return LANES_CONFLICT;
        if (n != l->request.len || memcmp(request, l->request.p, n) != 0)
            return LANES_BAD;
    }
    lane->waiting = true;
    lane->at = *r;
    l->arrived++;
    return l->arrived == l->n ? LANES_COMPLETE : LANES_WAIT;
}

bool lanes_ready(const struct lanes *l, unsigned from, int *scope)
{
    *scope = LANES_ALL;
    if (l->n > 0 && l->arrived == l->n)
        return true;
    for (unsigned i = 0; i < l->n && l->alone > 0; i++) {
        unsigned k = (from + i) % l->n;
        if (l->lane[k].alone) {
            *scope = (int)k;
            return true;
        }
    }
    return false;
}

void lanes_release(struct lanes *l, int scope)
{
    for (unsigned i = 0; i < l->n; i++)
        if (lanes_within(scope, i))
            l->lane[i].waiting = false;
    if (scope == LANES_ALL) {
        l->arrived = 0;
        l->request.len = 0;
    } else {
        l->lane[scope].alone = false;
        buf_free(&l->lane[scope].request);
        l->alone--;
    }
}

int lanes_pick(const struct lanes *l, unsigned from)
{
    if (l->queued == 0)
        return -1;
    for (unsigned i = 0; i < l->n; i++) {
        unsigned k = (from + i) % l->n;
        if (!l->lane[k].waiting && spool_len(&l->lane[k].q) > 0)
            return (int)k;
    }
    return -1;
}

int lanes_peek(struct lanes *l, unsigned flow, struct rec *r, const uint8_t **payload)
{
    struct spool *q = &l->lane[flow].q;
    size_t n;
    if (spool_len(q) == 0)
        return 0;
    const uint8_t *p = spool_peek(q, REC_HEADER, &n);
    if (p == NULL)
        return -1;
    if (n >= REC_HEADER)
        memcpy(r, p, REC_HEADER);
    if (n >= REC_HEADER && n < REC_HEADER + r->len)
        p = spool_peek(q, REC_HEADER + r->len, &n);
    if (p == NULL || n < REC_HEADER || n < REC_HEADER + r->len) {
        if (p != NULL)
            errno = EIO; /* whole records went in: the file lost bytes */
        return -1;
    }
    *payload = p + REC_HEADER;
    return 1;
}

void lanes_drop(struct lanes *l, unsigned flow, const struct rec *r)
{
    struct spool *q = &l->lane[flow].q;
    spool_drop(q, REC_HEADER + r->len);
    if (spool_len(q) == 0) {
        l->queued--;
        buf_trim(&q->mem, MEM_MIN);
        q->start = 0;
    }
}

int lanes_missing(const struct lanes *l, unsigned from)
{
    for (unsigned i = from; i < l->n; i++)
        if (!l->lane[i].waiting || l->lane[i].alone)
            return (int)i;
    return -1;
}

uint64_t lanes_peak(const struct lanes *l)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < l->n; i++)
        if (l->lane[i].q.peak > most)
            most = l->lane[i].q.peak;
    return most;
}
