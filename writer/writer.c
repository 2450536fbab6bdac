/* The parts of the writer, and what each of them knows of the others. */
#include "writer.h"

#include <stdio.h>

#include "engine/bundle.h"
#include "io.h"
#include "ours.h"
#include "tls.h"

static void init_values(struct writer *w)
{
    snprintf(w->session.position_key, sizeof w->session.position_key, OUR_KEYS "%s}", w->opt.task);
    w->session.void_flush.max = LANES_REQUEST_MAX;
    random_hex(w->run);
    rival_self(&w->policy.self, w->opt.task);
    w->stats.started = mono_us();
    limit_set(&w->limit, w->opt.max_ops, w->opt.max_bytes);
    w->inputs.listen_fd = -1;
    live_init(&w->live);
}

/* Where records come from, and what is said of them. */
static void connect_inputs(struct writer *w)
{
    w->events.outcome = &w->outcome;
    w->failures.opt = &w->opt;
    w->failures.outcome = &w->outcome;
    w->failures.stats = &w->stats;
    w->inputs.opt = &w->opt;
    w->inputs.outcome = &w->outcome;
    w->inputs.events = &w->events;
    w->inputs.session = &w->session;
    w->inputs.exact = &w->exact;
    w->inputs.target = &w->node.info;
    w->splits.opt = &w->opt;
    w->splits.outcome = &w->outcome;
    w->splits.stats = &w->stats;
    w->splits.failures = &w->failures;
}

/* What dfreader is told, and says. */
static void connect_live(struct writer *w)
{
    struct live *l = &w->live;
    l->events = &w->events;
    l->outcome = &w->outcome;
    l->opt = &w->opt;
    l->cl = w->cluster;
    l->session = &w->session;
    l->lanes = &w->lanes;
    l->positions = &w->positions;
    l->probes = &w->probes;
    l->holds = &w->holds;
    l->limit = &w->limit;
    l->listing = &w->listing;
    w->probes.opt = &w->opt;
    w->probes.session = &w->session;
    w->probes.live = l;
    w->holds.live = l;
    w->holds.session = &w->session;
    w->watch.opt = &w->opt;
    w->watch.outcome = &w->outcome;
    w->watch.stats = &w->stats;
    w->watch.live = l;
    w->watch.session = &w->session;
    w->watch.nodes = &w->cluster->nodes;
}

/* What is done with the whole target. */
static void connect_target(struct writer *w)
{
    w->node.opt = &w->opt;
    w->policy.opt = &w->opt;
    w->policy.outcome = &w->outcome;
    w->policy.session = &w->session;
    struct flushes *f = &w->flushes;
    f->outcome = &w->outcome;
    f->stats = &w->stats;
    f->positions = &w->positions;
    f->lanes = &w->lanes;
    f->exact = &w->exact;
    f->marks = &w->marks;
    f->saved = &w->saved;
    f->cl = w->cluster;
    f->share = &w->session.share;
    struct sweep *s = &w->sweep;
    s->opt = &w->opt;
    s->outcome = &w->outcome;
    s->stats = &w->stats;
    s->session = &w->session;
    s->positions = &w->positions;
    s->cl = w->cluster;
    s->whole = &w->whole;
    struct listing *l = &w->listing;
    l->cl = w->cluster;
    l->outcome = &w->outcome;
    l->session = &w->session;
    l->sweep = &w->sweep;
    l->live = &w->live;
}

/* Where positions are kept. */
static void connect_positions(struct writer *w)
{
    w->exact.opt = &w->opt;
    w->exact.session = &w->session;
    w->exact.positions = &w->positions;
    struct whole *x = &w->whole;
    x->opt = &w->opt;
    x->outcome = &w->outcome;
    x->stats = &w->stats;
    x->session = &w->session;
    x->policy = &w->policy;
    x->probes = &w->probes;
    x->sweep = &w->sweep;
    x->exact = &w->exact;
    x->positions = &w->positions;
    x->holds = &w->holds;
    x->lanes = &w->lanes;
    x->watch = &w->watch;
    x->cl = w->cluster;
    x->run = w->run;
    struct marks *m = &w->marks;
    m->opt = &w->opt;
    m->outcome = &w->outcome;
    m->stats = &w->stats;
    m->session = &w->session;
    m->positions = &w->positions;
    m->exact = &w->exact;
    m->watch = &w->watch;
    m->cl = w->cluster;
    struct saved *d = &w->saved;
    d->opt = &w->opt;
    d->outcome = &w->outcome;
    d->session = &w->session;
    d->policy = &w->policy;
    d->positions = &w->positions;
    d->exact = &w->exact;
    d->probes = &w->probes;
    d->sweep = &w->sweep;
    d->cl = w->cluster;
    d->whole = x;
    d->marks = m;
    d->holds = &w->holds;
    d->live = &w->live;
}

static void connect_engine(struct writer *w)
{
    struct cluster *cl = w->cluster;
    cl->opt = &w->opt;
    cl->outcome = &w->outcome;
    cl->stats = &w->stats;
    cl->session = &w->session;
    cl->policy = &w->policy;
    cl->positions = &w->positions;
    cl->exact = &w->exact;
    cl->splits = &w->splits;
    cl->probes = &w->probes;
    cl->failures = &w->failures;
    cl->flushes = &w->flushes;
    cl->whole = &w->whole;
    cl->watch = &w->watch;
    cl->run = w->run;
    struct nodes *ns = &cl->nodes;
    ns->opt = &w->opt;
    ns->outcome = &w->outcome;
    ns->stats = &w->stats;
    ns->events = &w->events;
    ns->policy = &w->policy;
    ns->target = &w->node;
    ns->tls = w->opt.url.tls;
    struct bundle_uses use = {.opt = &w->opt,
                              .outcome = &w->outcome,
                              .stats = &w->stats,
                              .session = &w->session,
                              .inputs = &w->inputs,
                              .holds = &w->holds,
                              .positions = &w->positions,
                              .exact = &w->exact,
                              .splits = &w->splits,
                              .probes = &w->probes,
                              .failures = &w->failures,
                              .cl = cl};
    cl->bundles = bundles_new(&use, &bundle_calls);
}

void writer_init(struct writer *w)
{
    w->cluster = cluster_new();
    init_values(w);
    connect_inputs(w);
    connect_live(w);
    connect_target(w);
    connect_positions(w);
    connect_engine(w);
}

void writer_free(struct writer *w)
{
    inputs_free(&w->inputs);
    session_free(&w->session);
    if (w->lanes.n > 0)
        lanes_free(&w->lanes);
    positions_free(&w->positions);
    splits_free(&w->splits);
    sweep_free(&w->sweep);
    holds_free(&w->holds);
    listing_free(&w->listing);
    flushes_free(&w->flushes);
    probes_free(&w->probes);
    exact_free(&w->exact);
    marks_free(&w->marks);
    whole_free(&w->whole);
    buf_free(&w->saved.body);
    cluster_free(w->cluster);
    node_free(&w->node);
    tls_free(w->opt.url.tls);
}
