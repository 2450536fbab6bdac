/* Requests that go another way: refused, redirected, lost with their connection, or parked until now. */
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "io.h"

struct moved *moved_new(const struct cunit *u, const uint8_t *bytes)
{
    struct moved *m = xmalloc(sizeof *m + u->len);
    *m = (struct moved){.u = *u};
    memcpy(m->bytes, bytes, u->len);
    return m;
}

void moved_enqueue(struct cluster *cl, struct moved *m)
{
    TAILQ_INSERT_TAIL(&cl->moved, m, link);
    cl->nmoved++;
    if (m->due < cl->next_moved || cl->nmoved == 1)
        cl->next_moved = m->due;
}

void cluster_displace(struct cluster *cl, const struct cunit *u, const uint8_t *bytes, uint64_t due,
                      struct cnode *ask)
{
    struct moved *m = moved_new(u, bytes);
    m->due = due;
    m->ask = ask;
    if (m->u.tries < UINT8_MAX)
        m->u.tries++;
    moved_enqueue(cl, m);
}

/* Returns whether it could go. */
static bool send_moved(struct cluster *cl, struct moved *m)
{
    const struct unit_calls *calls = m->u.calls;
    size_t len = calls->size != NULL ? calls->size(&m->u) : m->u.len;
    struct conn *c = cluster_way(&cl->nodes, m->ask, m->u.slot, len, plight_alone(&m->u.plight));
    if (c == NULL) {
        if (m->ask != NULL && cnode_missing(m->ask, m->u.slot))
            m->ask = NULL; /* it is not there: the owner will say where to go */
        return false;
    }
    bool selects = m->u.kind == CU_EXEC && cl->nodes.within; /* within itself */
    enum put got = cl->nodes.slots || selects ? PUT_DONE : cluster_want_db(c, m->u.db, true);
    if (got == PUT_FAIL) {
        static const char text[] = "ERR the target has no such database";
        calls->fail(cl, &m->u, m->bytes, text, sizeof text - 1);
    }
    if (got != PUT_DONE)
        return got == PUT_FAIL;
    if (m->ask != NULL)
        line_asking(&c->line);
    if (calls->transmit != NULL)
        calls->transmit(c, &m->u);
    else
        line_add(&c->line, &m->u, m->bytes, m->u.len);
    return true;
}

void moved_work(struct cluster *cl, uint64_t now)
{
    if (cl->nmoved == 0 || (!cl->nodes.stir && now < cl->next_moved))
        return;
    cl->next_moved = UINT64_MAX;
    struct moved *m, *next;
    for (m = TAILQ_FIRST(&cl->moved); m != NULL; m = next) {
        next = TAILQ_NEXT(m, link);
        if (m->due > now) {
            if (m->due < cl->next_moved)
                cl->next_moved = m->due;
            continue;
        }
        if (!send_moved(cl, m)) {
            cl->next_moved = now + ROUND;
            continue;
        }
        TAILQ_REMOVE(&cl->moved, m, link);
        cl->nmoved--;
        free(m);
    }
}

void moved_forget(struct cluster *cl)
{
    for (struct moved *m; (m = TAILQ_FIRST(&cl->moved)) != NULL;) {
        TAILQ_REMOVE(&cl->moved, m, link);
        cl->nmoved--;
        m->u.calls->drop(cl, &m->u);
        free(m);
    }
}
