/* Listpacks, ziplists, zipmaps and intsets. Pure, no I/O. rdb(5), PACKED CONTAINERS. */
#ifndef DFP_LISTPACK_H
#define DFP_LISTPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One element: a string, or an integer whose decimal text lies in num. */
struct elem {
    const uint8_t *p;
    size_t n;
    bool is_int;
    int64_t v;
    uint8_t num[21];
};

/* Iterate: *it starts at NULL. Returns 1 with an element, 0 at the end, -1 when corrupt. The whole blob is n
 * bytes. Every element is checked to lie inside the blob; _check also compares the count. Do not copy a
 * struct elem. */
int listpack_next(const uint8_t *lp, size_t n, const uint8_t **it, struct elem *e);
int ziplist_next(const uint8_t *zl, size_t n, const uint8_t **it, struct elem *e);

/* The same for a listpack, without the text of integers, which elem_text makes. */
int listpack_look(const uint8_t *lp, size_t n, const uint8_t **it, struct elem *e);
void elem_text(struct elem *e);

/* Keys and values in turn: value says whose turn it is. */
int zipmap_next(const uint8_t *zm, size_t n, const uint8_t **it, bool value, struct elem *e);
long zipmap_check(const uint8_t *zm, size_t n);

/* Walk the whole blob. Returns the number of elements, or -1 when anything is wrong with it. */
long listpack_check(const uint8_t *lp, size_t n);
long ziplist_check(const uint8_t *zl, size_t n);

/* Does a length take five bytes that would fit one? Servers refuse that. */
bool zipmap_wasteful(const uint8_t *zm, size_t n);

/* Number of integers, or -1 when corrupt; whether each is greater than the one before; and the i-th. */
long intset_check(const uint8_t *is, size_t n);
bool intset_ascends(const uint8_t *is);
int64_t intset_at(const uint8_t *is, size_t i);

#endif
