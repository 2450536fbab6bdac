#include "run.h"

void run_set_dbs(struct check *c, uint32_t source, uint32_t target)
{
    c->db[0] = source;
    c->db[1] = target;
    c->has_db[0] = source != SUSPECT_NO_DB && side_may_have_db(&c->side[0], source);
    c->has_db[1] = side_may_have_db(&c->side[1], target);
}

void run_begin_batch(const struct check *c, struct batch *b)
{
    batch_begin(b, c->db[0], c->db[1]);
    b->has_db[0] = c->has_db[0];
    b->has_db[1] = c->has_db[1];
}
