#include "conn_in.h"

#define STEP ((size_t)64 << 10)

void conn_in_reset(struct conn_in *in)
{
    *in = (struct conn_in){.b = {.p = in->b.p, .cap = in->b.cap, .max = STEP + RESP_LINE_MAX}};
}

void conn_in_free(struct conn_in *in)
{
    buf_free(&in->b);
    *in = (struct conn_in){.at = 0};
}

enum resp_got conn_in_next(struct conn_in *in, struct resp_token *t)
{
    size_t taken;
    enum resp_got got = resp_next(&in->resp, in->b.p + in->at, in->b.len - in->at, &taken, t);
    in->at += taken;
    return got;
}

int conn_in_fill(struct conn_in *in, struct conn *c)
{
    if (in->at > 0) {
        buf_shift(&in->b, in->at);
        in->at = 0;
    }
    uint8_t *to = buf_room(&in->b, STEP);
    if (to == NULL || !c->readable)
        return 0;
    long n = conn_read(c, to, STEP);
    if (n <= 0)
        return n < 0 ? -1 : 0;
    in->b.len += (size_t)n;
    return 1;
}
