#include "session.h"

#include <string.h>

#include "command/args.h"
#include "exits.h"
#include "io.h"
#include "meta.h"
#include "render.h"

#define ARGS_MAX 16 /* of a RESTORE */

/* A RESTORE taken apart. */
struct restore {
    struct slice argv[ARGS_MAX];
    struct slice value;
    unsigned type;
    uint64_t ms; /* when it expires, 0: never */
};

static int session(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    if (parser_next_stream(p) < 0 || parser_flows(p, r, payload) < 0)
        return -1;
    p->epoch = r->epoch;
    memset(p->expand.seq, 0, sizeof p->expand.seq);
    render_session(&p->e, p->nflows);
    return 0;
}

/* The stream was made for this target: -t counts where it was given. */
static bool target(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    char kind[32];
    if (p->opt->have_target || meta_get(payload, r->len, "kind", kind, sizeof kind) <= 0)
        return true;
    bool known = target_read(&p->e.target, payload, r->len);
    p->e.slots = p->e.target.cluster || p->e.target.kind == SERVER_PORTABLE;
    return known;
}

/* The numbers above 21 are those of the server that was to load them. */
static unsigned type_of(const struct parser *p, unsigned byte)
{
    enum server_kind kind = p->e.target.kind;
    return value_type(kind == SERVER_DRAGONFLY ? FAMILY_DRAGONFLY
                      : kind == SERVER_VALKEY  ? FAMILY_VALKEY
                                               : FAMILY_REDIS,
                      byte);
}

/* RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ f]. False: it is something else, or cannot be
 * decoded. */
static bool take(const struct parser *p, const struct rec *r, const uint8_t *payload, struct restore *x)
{
    int whole = 0;
    long n = resp_split(payload, r->len, x->argv, ARGS_MAX, &whole);
    if (n < 4 || n > ARGS_MAX || !whole || !arg_is(&x->argv[0], "RESTORE") || x->argv[3].n < 11 ||
        !args_restore(x->argv, (size_t)n, r->time / 1000, &x->ms))
        return false;
    x->type = type_of(p, x->argv[3].p[0]);
    x->value = (struct slice){x->argv[3].p + 1, x->argv[3].n - 11};
    return value_class(x->type) != 0;
}

static void copy(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    struct rec out = *r;
    if (r->seq > 0 && r->flow < REC_FLOWS_MAX)
        out.seq = (p->expand.more ? 0 : 1) + p->expand.seq[r->flow];
    if (r->seq > 0 && r->flow < REC_FLOWS_MAX)
        p->expand.seq[r->flow] = out.seq;
    p->expand.more = (r->flags & RF_MORE) != 0;
    emit_record(&p->e, &out, payload);
}

static void write_value(struct parser *p, struct origin *o, const struct restore *x)
{
    struct expand *s = &p->expand;
    struct cur c = {x->value.p, x->value.p + x->value.n, 0, NULL};
    struct cur seen = c;
    struct key k;
    key_set(&p->e, &k, x->argv[1].p, x->argv[1].n);
    enum got g = value_scan(x->type, &seen, &s->scratch);
    if (g != GOT || seen.p != seen.end || s->scratch.damage != NULL) {
        value_refused(&p->e, o, &k, value_class(x->type),
                      s->scratch.damage != NULL ? s->scratch.damage : "a whole value");
        return;
    }
    value_begin(&s->value, &p->e, o, &s->scratch, x->type, &k, x->ms);
    s->value.odd = s->scratch.odd;
    (void)value_feed(&s->value, &c); /* was scanned */
}

/* One request: RESTORE as the commands that make its value, anything else as it is. */
static void request(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    struct restore x;
    bool alone = !p->expand.more && (r->flags & (RF_MORE | RF_FIRST | RF_LAST)) == 0;
    if (r->flow >= REC_FLOWS_MAX || !alone || !take(p, r, payload, &x)) {
        copy(p, r, payload);
        return;
    }
    struct origin o = {.flow = r->flow,
                       .epoch = r->epoch,
                       .live = (r->flags & RF_LIVE) != 0,
                       .db = r->db,
                       .seq = p->expand.seq[r->flow],
                       .time = r->time,
                       .at = AT_UNKNOWN, /* no position of the flow is in the record */
                       .last = NO_HEADER};
    p->e.now_ms = now_us() / 1000;
    write_value(p, &o, &x);
    if (r->pos != 0) { /* reached with the last of the commands */
        o.pos = r->pos;
        emit_position(&p->e, &o, 0);
    }
    p->expand.seq[r->flow] = o.seq;
}

int expand_record(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    switch (r->type) {
    case REC_SESSION:
        if (session(p, r, payload) < 0)
            return -1;
        break;
    case REC_TARGET:
        if (!target(p, r, payload)) {
            parser_fault(p, EXIT_DAMAGED, "error", "a TARGET record that names no known target");
            return -1;
        }
        break;
    case REC_REQUEST: request(p, r, payload); return 0;
    case REC_END: return parser_record(p, r, payload);
    default: break;
    }
    copy(p, r, payload);
    return 0;
}
