#include "key_out.h"

#include <string.h>

#include "io.h"
#include "meta.h"
#include "record.h"

static void open_record(struct key_out *k)
{
    k->begun = k->b.len;
    k->open = true;
    k->b.max = 2 * KEY_NAME_MAX; /* flushed long before, but for the longest names */
    (void)buf_room(&k->b, REC_HEADER);
    k->b.len += REC_HEADER;
}

static void close_record(struct key_out *k, enum rec_type type, uint64_t pos, bool more)
{
    struct rec r = {.len = (uint32_t)(k->b.len - k->begun - REC_HEADER),
                    .type = (uint8_t)type,
                    .flags = more ? RF_MORE : 0,
                    .flow = k->flow,
                    .slot = REC_NO_SLOT,
                    .epoch = k->epoch,
                    .db = k->db,
                    .pos = pos,
                    .time = k->time};
    rec_encode(k->b.p + k->begun, &r);
    k->records++;
    k->open = false;
}

static void add_number(struct key_out *k, const char *name, int64_t v)
{
    if (v >= 0)
        meta_addu(&k->b, name, (uint64_t)v);
}

void key_out_begin(struct key_out *k, unsigned flow, uint16_t epoch, uint64_t time, const struct key_head *h)
{
    k->flow = (uint16_t)flow;
    k->epoch = epoch;
    k->db = h->db;
    k->time = time;
    open_record(k);
    meta_addu(&k->b, "name", h->len);
    meta_addu(&k->b, "db", h->db);
    meta_adds(&k->b, "state", h->state);
    if (h->error != NULL)
        meta_adds(&k->b, "error", h->error);
    if (h->elements != NULL)
        meta_adds(&k->b, "elements", h->elements);
    add_number(k, "length", h->length);
    add_number(k, "expire", h->expire_ms);
    add_number(k, "ttl", h->ttl_ms);
    if (h->live)
        meta_addu(&k->b, "live", 1);
    (void)buf_addstr(&k->b, "\n");
    key_out_add(k, h->name, h->len);
}

void key_out_add(struct key_out *k, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0) {
        if (!k->open)
            open_record(k);
        size_t room = REC_HEADER + DATA_MAX - (k->b.len - k->begun);
        size_t step = n < room ? n : room;
        (void)buf_add(&k->b, p, step);
        p += step;
        n -= step;
        if (step == room)
            close_record(k, REC_KEY, 0, true);
    }
}

void key_out_cut(struct key_out *k)
{
    if (k->open)
        close_record(k, REC_KEY, 0, true);
}

void key_out_end(struct key_out *k)
{
    if (!k->open)
        open_record(k);
    close_record(k, REC_KEY, 0, false);
}

void key_out_place(struct key_out *k, unsigned flow, uint16_t epoch, uint64_t pos, const char *place,
                   bool done)
{
    k->flow = (uint16_t)flow;
    k->epoch = epoch;
    k->db = 0;
    k->time = now_us();
    open_record(k);
    meta_adds(&k->b, "op", done ? "done" : "at");
    meta_addu(&k->b, "pos", pos);
    meta_adds(&k->b, "place", place);
    close_record(k, REC_SCAN, pos, false);
}

int key_out_flush(struct key_out *k, struct output *out)
{
    size_t n = k->open ? k->begun : k->b.len;
    if (n == 0)
        return 0;
    int rc = output_records(out, k->b.p, n, k->records);
    buf_shift(&k->b, n);
    k->begun = 0;
    k->records = 0;
    return rc;
}

void key_out_free(struct key_out *k)
{
    buf_free(&k->b);
    *k = (struct key_out){.open = false};
}
