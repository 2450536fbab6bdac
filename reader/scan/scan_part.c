#include "scan_part.h"

void part_ask(struct scan_part *p, enum part_step step, int argc, const char *const *argv)
{
    struct slice name = scan_name(p->node);
    p->step = step;
    scan_request(p->node, ASK_PART, argc, argv, 1, &name);
}

void part_keep(struct scan_part *p, const struct resp_token *t)
{
    int rc = 0;
    if (t->type == '$') {
        uint8_t head[RESP_LEN_MAX];
        rc = t->n < 0 ? -1 : buf_add(&p->fields, head, (size_t)(resp_len(head, '$', (uint64_t)t->n) - head));
    } else if (t->type == 'b') {
        rc = buf_add(&p->fields, t->text, t->len);
        if (rc == 0 && t->whole) {
            rc = buf_add(&p->fields, "\r\n", 2);
            p->nfields++;
        }
    }
    if (rc < 0) /* whoever reads them counts on fields that are whole */
        scan_node_lost(p->node, "fields of a page come to more than can be kept, or one is missing");
}

void part_spool(struct scan_part *p)
{
    const struct options *o = p->node->source->stream->o;
    spool_init(&p->later, VALUE_MEM, NULL, 0, o->spill_dir, o->spill_max);
}

void part_put(void *ctx, const void *data, size_t len)
{
    struct scan_part *p = ctx;
    key_out_add(&p->node->out, data, len);
}
