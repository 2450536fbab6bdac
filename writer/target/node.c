#include "node.h"

#include <stdlib.h>

#include "buf.h"
#include "log.h"
#include "../options.h"

void node_free(struct node *n)
{
    free(n->dbs.known);
    free(n->dbs.bad);
}

int node_db_state(const struct node *n, uint32_t db)
{
    for (unsigned i = 0; i < n->dbs.n; i++)
        if (n->dbs.known[i] == db)
            return n->dbs.bad[i] ? -1 : 1;
    return db == 0;
}

void node_db_learn(struct node *n, uint32_t db, bool has)
{
    struct dbs *d = &n->dbs;
    if (node_db_state(n, db) != 0)
        return;
    unsigned at = d->next++ % DBS_MAX; /* the oldest is forgotten: it is asked for again when it is needed */
    if (at == d->n) {
        d->n++;
        d->known = xrealloc(d->known, d->n * sizeof *d->known);
        d->bad = xrealloc(d->bad, d->n * sizeof *d->bad);
    }
    d->known[at] = db;
    d->bad[at] = !has;
}

void node_db_refused(struct node *n, uint32_t db, const char *text, size_t len)
{
    if (!n->opt->forget) /* that looks wherever keys of ours could be */
        log_event(LOG_WARN, NO_FLOW, "event=no_such_db db=%u reply=%s", db, log_quote(text, len));
    node_db_learn(n, db, false);
}
