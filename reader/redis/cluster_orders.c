/* Orders of handover.c on their way: SLOTS records of the flow, questions to the source. */
#include <stdio.h>

#include "cluster_source.h"
#include "log.h"
#include "meta.h"

void cluster_slots(struct cluster_source *c, unsigned flow, const char *op, const struct ho_order *order)
{
    struct buf b = {.max = SLOTSET_TEXT + 512};
    char text[SLOTSET_TEXT];
    slotset_print(&order->slots, text);
    meta_adds(&b, "op", op);
    meta_adds(&b, "slots", text);
    if (order->number > 0)
        meta_addu(&b, "n", order->number);
    if (order->what == HO_RELEASE)
        meta_addu(&b, "at", order->at);
    if (order->what == HO_TAKE)
        meta_addu(&b, "sweep", order->sweep);
    flows_record(c->session, flow, REC_SLOTS, &b);
    buf_free(&b);
}

void cluster_give(struct cluster_source *c, const struct ho_order *order)
{
    struct member *m = &c->member[order->flow];
    bool take = order->what == HO_TAKE;
    log_event(LOG_INFO, (int)order->flow, "event=slots_%s n=%u count=%u first=%u%s",
              take ? "taken" : "released", order->number, slotset_count(&order->slots),
              slotset_next(&order->slots, 0), take && order->sweep ? " target=1" : "");
    cluster_slots(c, order->flow, take ? "take" : "release", order);
    if (!take)
        return;
    m->taking = order->number;
    if (order->flow < c->stream->n) /* else its process has seen that */
        slot_keys_start(&m->keys, &order->slots, m->master->version);
}
