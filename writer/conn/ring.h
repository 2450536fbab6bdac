/* The output of a connection: bytes that are not confirmed yet stay in it, so that they can be sent again.
 * The memory is mapped twice in a row, so that every range of it is contiguous.
 *
 *     acked ......... sent ......... tail
 *     unconfirmed      not yet sent   free */
#ifndef RW_RING_H
#define RW_RING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ring {
    uint8_t *p;
    size_t size;                /* a power of two */
    uint64_t acked, sent, tail; /* offsets that only grow */
};

/* Ends the process (status 1) when there is no memory. */
void ring_init(struct ring *r, size_t size);
void ring_free(struct ring *r);

static inline uint8_t *ring_at(const struct ring *r, uint64_t offset)
{
    return r->p + (offset & (r->size - 1));
}

static inline size_t ring_room(const struct ring *r)
{
    return r->size - (size_t)(r->tail - r->acked);
}

static inline size_t ring_unsent(const struct ring *r)
{
    return (size_t)(r->tail - r->sent);
}

/* Append n bytes; the caller has looked at ring_room. */
static inline void ring_add(struct ring *r, const void *data, size_t n)
{
    memcpy(ring_at(r, r->tail), data, n);
    r->tail += n;
}

/* n bytes from the front are confirmed. An empty ring starts at its first, cached pages again. */
static inline void ring_ack(struct ring *r, size_t n)
{
    r->acked += n;
    if (r->acked == r->tail)
        r->acked = r->sent = r->tail = 0;
}

#endif
