#include "holds.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "meta.h"
#include "../engine/live.h"
#include "../session.h"

static void flow_free(struct flow_holds *f)
{
    for (unsigned i = 0; i < f->notes; i++)
        free(f->note[i].text);
    free(f->note);
    free(f->saved);
}

void holds_free(struct holds *h)
{
    for (unsigned i = 0; i < h->flows; i++)
        flow_free(&h->flow[i]);
    free(h->flow);
    *h = (struct holds){.live = h->live, .session = h->session};
}

void holds_epoch(struct holds *h, unsigned flows)
{
    holds_free(h);
    h->flow = xcalloc(flows, sizeof *h->flow);
    h->flows = flows;
}

void holds_restore(struct holds *h, unsigned flow, const char *text)
{
    struct flow_holds *f = &h->flow[flow];
    free(f->saved);
    f->saved = text != NULL ? xstrdup(text) : NULL;
}

/* Positions that are made from here on have room for what is not saved yet. */
static void make_room(struct holds *h)
{
    size_t n = 0;
    for (unsigned i = 0; i < h->flows; i++)
        for (unsigned k = 0; k < h->flow[i].notes; k++)
            if (n < strlen(h->flow[i].note[k].text) + 64)
                n = strlen(h->flow[i].note[k].text) + 64;
    unsigned flows = 0;
    for (unsigned i = 0; i < h->flows; i++)
        flows += h->flow[i].notes > 0;
    h->room = flows * n;
}

/* The place of a scan may be an older one than that of the position: then more is read twice. */
static bool join_place(struct flow_holds *f, uint64_t seq, const char *text)
{
    struct hold_note *last = f->notes >= HOLDS_NOTES / 4 ? &f->note[f->notes - 1] : NULL;
    if (text[0] != POSITION_SCAN[0] || last == NULL || last->text[0] != POSITION_SCAN[0])
        return false;
    free(last->text);
    last->seq = seq;
    last->text = xstrdup(text);
    return true;
}

bool holds_take(struct holds *h, unsigned flow, uint64_t seq, const uint8_t *payload, size_t n)
{
    struct flow_holds *f = &h->flow[flow];
    char text[SLOTSET_TEXT];
    uint64_t number;
    if (f->notes == HOLDS_NOTES || meta_get(payload, n, "held", text, sizeof text) <= 0 ||
        !position_held_ok(text) || !meta_getu(payload, n, "n", &number) || number > UINT32_MAX)
        return false;
    if (join_place(f, seq, text))
        return true;
    f->note = xrealloc(f->note, (f->notes + 1) * sizeof *f->note);
    f->note[f->notes++] = (struct hold_note){.seq = seq, .number = (uint32_t)number, .text = xstrdup(text)};
    make_room(h);
    return true;
}

bool holds_news(const struct holds *h, unsigned flow, uint64_t seq)
{
    const struct flow_holds *f = &h->flow[flow];
    return f->notes > 0 && f->note[0].seq <= seq;
}

const char *holds_at(const struct holds *h, unsigned flow, uint64_t seq)
{
    const struct flow_holds *f = &h->flow[flow];
    const char *text = f->saved;
    for (unsigned i = 0; i < f->notes && f->note[i].seq <= seq; i++)
        text = f->note[i].text;
    return text;
}

void holds_saved(struct holds *h, unsigned flow, uint64_t seq)
{
    struct flow_holds *f = &h->flow[flow];
    unsigned n = 0;
    for (; n < f->notes && f->note[n].seq <= seq; n++) {
        if (f->note[n].number != 0)
            live_say(h->live, "slots flow=%u epoch=%u n=%u", flow, h->session->epoch, f->note[n].number);
        free(f->saved);
        f->saved = f->note[n].text;
    }
    f->notes -= n;
    if (n > 0 && f->notes > 0)
        memmove(f->note, f->note + n, f->notes * sizeof *f->note);
    if (n > 0)
        make_room(h);
}

size_t holds_bytes(const struct holds *h, unsigned flow, uint64_t seq)
{
    const char *text = holds_at(h, flow, seq);
    return text != NULL ? strlen(text) + 64 : 0;
}
