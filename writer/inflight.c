/* Path A: keys in flight, and requests that were refused. */
#include "exits.h"
#include "pipeline.h"
#include "writer.h"

bool pipeline_held(const struct node *n)
{
    return n->lost || n->selecting || n->patience.until != 0 || n->a.again_unit.len > 0 || n->yield ||
           n->b.building->exclusive || (n->b.flying != NULL && n->b.flying->exclusive);
}

void pipeline_release(struct node *n, const struct inkey *k, bool counted)
{
    if (k->holds)
        hashset_remove(&n->a.set, k->key);
    positions_snapshot_done(&n->w->positions, k->flow);
    if (counted) {
        n->w->stats.requests++;
        if (k->vclass != 0)
            n->w->stats.keys[k->vclass]++;
    }
}

void pipeline_release_keys(struct node *n, unsigned keys, bool counted)
{
    struct pipeline *a = &n->a;
    for (unsigned i = 0; i < keys; i++) {
        pipeline_release(n, &a->key[a->khead], counted);
        a->khead = (a->khead + 1) & (KEYS_MAX - 1);
    }
    a->kn -= keys;
}

/* Keep room in the lists of refused requests by dropping what was already sent again. */
void pipeline_compact(struct node *n)
{
    struct pipeline *a = &n->a;
    if (a->again_unit.len == 0)
        a->again_db = n->db; /* replies come in order: a SELECT behind these has not been answered yet */
    buf_shift(&a->again, a->again_at);
    buf_shift(&a->again_unit, a->again_unit_at);
    buf_shift(&a->again_key, a->again_key_at);
    a->again_at = a->again_unit_at = a->again_key_at = 0;
}

void pipeline_keep_keys(struct pipeline *a, unsigned keys)
{
    for (unsigned i = 0; i < keys; i++) {
        (void)buf_add(&a->again_key, &a->key[a->khead], sizeof *a->key);
        a->khead = (a->khead + 1) & (KEYS_MAX - 1);
    }
    a->kn -= keys;
}

/* Keep a refused request for later; its keys stay in the set. */
void pipeline_keep(struct node *n, const struct unit *u)
{
    struct pipeline *a = &n->a;
    pipeline_compact(n);
    if (buf_add(&a->again, ring_at(&n->wire.ring, n->wire.ring.acked), u->len) < 0 ||
        buf_add(&a->again_unit, u, sizeof *u) < 0)
        writer_fail(n->w, EXIT_CANNOT, "event=too_much_refused");
    pipeline_keep_keys(a, u->keys);
    n->w->stats.retries++;
}

void pipeline_data_error(struct node *n, const struct inkey *k, const uint8_t *request, size_t size,
                         const char *text, size_t len)
{
    struct failure f = {.text = text,
                        .len = len,
                        .r = {.flow = k->flow,
                              .db = n->db,
                              .slot = REC_NO_SLOT,
                              .hash = hashset_hash(k->key, n->db),
                              .keyarg = k->keyarg,
                              .vclass = k->vclass,
                              .flags = k->once ? 0 : RF_IDEMPOTENT},
                        .request = request,
                        .n = size};
    writer_data_error(n->w, &f);
}
