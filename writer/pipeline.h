/* What the files of path A share: inflight.c, parts.c, pipeline.c. */
#ifndef RW_PIPELINE_H
#define RW_PIPELINE_H

#include "node.h"

/* Nothing of path A may be sent now. */
bool pipeline_held(const struct node *n);

static inline void pipeline_push_key(struct pipeline *a, const struct inkey *k)
{
    a->key[(a->khead + a->kn++) & (KEYS_MAX - 1)] = *k;
}

/* An entry of the queue of keys is done with; counted: its request was carried out. The second form takes the
 * first so many out of the queue. */
void pipeline_release(struct node *n, const struct inkey *k, bool counted);
void pipeline_release_keys(struct node *n, unsigned keys, bool counted);

/* Keep the first unit in flight, which was refused, to be sent again; its keys stay in the set. */
void pipeline_keep(struct node *n, const struct unit *u);

/* The same for the first so many entries of the queue of keys. */
void pipeline_keep_keys(struct pipeline *a, unsigned keys);

/* Before something is added to what was refused. */
void pipeline_compact(struct node *n);

/* A request cannot be carried out. */
void pipeline_data_error(struct node *n, const struct inkey *k, const uint8_t *request, size_t size,
                         const char *text, size_t len);

#endif
