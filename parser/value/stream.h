/* What the files that know streams share: stream_node.c (the listpacks that hold the entries), stream_scan.c
 * (layout, passing over, making over for older targets), stream.c (decoding into commands).
 * rdb(5), Streams. */
#ifndef DFP_STREAM_H
#define DFP_STREAM_H

#include "value.h"

#define PEL_MAX ((size_t)64 << 20) /* bytes of a group's pending entries that are kept */

struct id_text {
    uint8_t p[44];
    size_t n;
};

struct slice stream_id(struct id_text *t, uint64_t ms, uint64_t seq);

/* One (id, listpack) pair; c moves only when both are there. The ids of its entries must follow those in
 * *order, which goes on. *damage: what was expected of its content and is not so, when nothing of it was
 * written; else NULL. to: the value that they are written of; NULL: they are only checked. */
enum got stream_node(struct cur *c, struct scratch *s, struct value *to, struct stream_order *order,
                     const char **damage);

/* What stands behind the nodes (tail_plens) fits them. NULL, or what was expected. */
const char *stream_tail_damage(const uint64_t *tail, const struct stream_order *order);

/* Ids and owners of the pending entries of a group: width bytes each, 16 of them the id, ascending. */
const uint8_t *stream_find_pending(const struct buf *pel, size_t width, const uint8_t *id);

/* ---- layout ---- */

/* What follows the nodes: length, last id, [first id, greatest deleted id, entries added,] groups. */
static inline unsigned tail_plens(unsigned type)
{
    return type == 15 ? 4 : 9;
}

static inline unsigned group_plens(unsigned type)
{
    return type == 15 ? 3 : 4;
}

static inline size_t consumer_raw(unsigned type)
{
    return type >= 21 ? 16 : 8;
}

/* Redis 8.6: identifiers of producers' messages behind the groups; 8.8: pending entries that nobody owns. */
static inline bool has_producers(unsigned type)
{
    return type >= T_REDIS + 26;
}

static inline bool has_nacks(unsigned type)
{
    return type >= T_REDIS + 27;
}

/* A pending entry: 16 bytes of id, delivery time, delivery count. */
enum got stream_pending(struct cur *c, const uint8_t **p, uint64_t *count);

/* Group: name, last delivered id, [entries read,] number of pending entries. Consumer: name, seen, [active,]
 * number of ids. */
enum got stream_head(struct cur *c, struct pstr *name, size_t raw, const uint8_t **at, uint64_t *v,
                     unsigned plens);

/* duration, most entries, producers; each: id, n, n x (string, ms, seq); two counters. Nothing of it is a
 * command. */
enum got stream_producers(struct cur *c);

#endif
