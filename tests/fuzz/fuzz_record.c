/* The reader of record streams, requests taken apart, lanes. First byte: kind. */
#include "fuzz.h"

#include <unistd.h>

#include "../../common/lanes.h"
#include "../../common/record.h"
#include "../../common/resp.h"

/* A barrier of one flow is left standing, or not, as its time says. */
static void arrive(struct lanes *l, const struct rec *r, const uint8_t *payload)
{
    int scope;
    size_t n;
    enum lanes_result got = lanes_arrive(l, r, payload);
    HOLDS(lanes_blocked(l, r->flow) == (got == LANES_WAIT || got == LANES_COMPLETE || got == LANES_ALONE));
    if (got == LANES_COMPLETE)
        lanes_release(l, LANES_ALL);
    HOLDS(got != LANES_ALONE || (lanes_ready(l, r->flow, &scope) && scope == r->flow));
    if (got != LANES_ALONE || (r->time & 1) != 0)
        return;
    HOLDS(lanes_request(l, scope, &n) != NULL && n == r->len - 8 && lanes_db(l, scope) == r->db);
    lanes_release(l, scope);
    HOLDS(!lanes_blocked(l, r->flow));
}

static void look(struct lanes *l, const struct rec *r, const uint8_t *payload)
{
    struct slice out[8];
    int whole;
    if (r->type == REC_REQUEST) {
        memset(out, 0, sizeof out);
        long argc = resp_split(payload, r->len, out, 8, &whole);
        HOLDS(argc != 0 && (argc > 0 || whole == 0));
        for (long i = 0; i < argc && i < 8 && out[i].p != NULL; i++)
            HOLDS(out[i].p >= payload && out[i].p + out[i].n <= payload + r->len);
    }
    if (r->flow >= l->n)
        return;
    if (lanes_blocked(l, r->flow))
        HOLDS(lanes_queue(l, r, payload) == 0);
    else if (r->type == REC_BARRIER)
        arrive(l, r, payload);
}

static void drain(struct lanes *l)
{
    struct rec r;
    const uint8_t *p;
    for (int scope; lanes_ready(l, 0, &scope);)
        lanes_release(l, scope);
    lanes_release(l, LANES_ALL); /* whoever still waits for another one */
    HOLDS(!lanes_stand(l));
    for (int f; (f = lanes_pick(l, 0)) >= 0;) {
        HOLDS(lanes_peek(l, (unsigned)f, &r, &p) == 1);
        HOLDS(r.flow == f && r.len <= REC_PAYLOAD_MAX);
        lanes_drop(l, (unsigned)f, &r);
    }
    for (unsigned i = 0; i < l->n; i++)
        HOLDS(spool_len(&l->lane[i].q) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recin in;
    struct rec r;
    struct lanes l;
    const uint8_t *payload;
    if (size < 1)
        return 0;
    int fd = fuzz_file(data + 1, size - 1);
    lanes_init(&l, 2, 256, 1 << 20, NULL);
    recin_init(&in, fd, (data[0] & 1) != 0 ? KIND_RAW : KIND_COMMAND);
    for (bool more = true; more;) {
        bool ready = recin_ready(&in);
        enum recin_result got = recin_next(&in, &r, &payload);
        HOLDS(!ready || got != RECIN_MORE);
        switch (got) {
        case RECIN_RECORD:
            HOLDS(rec_type_name(r.type) != NULL && r.epoch > 0 && r.flow < REC_FLOWS_MAX);
            HOLDS(r.len <= REC_PAYLOAD_MAX && payload + r.len <= in.b.p + in.b.len);
            look(&l, &r, payload);
            break;
        case RECIN_MORE: HOLDS(recin_fill(&in) >= 0); break;
        case RECIN_STREAM: break;
        case RECIN_END:
            HOLDS(in.offset == size - 1);
            more = false;
            break;
        case RECIN_CUT:
        case RECIN_DAMAGED:
            HOLDS(in.error[0] != '\0');
            more = false;
            break;
        }
    }
    drain(&l);
    lanes_free(&l);
    recin_free(&in);
    close(fd);
    return 0;
}
