#include "conn.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "../target/nodes.h"
#include "../engine/errors.h"
#include "io.h"
#include "../options.h"
#include "../summary.h"

static const struct line_calls calls;

struct conn *conn_new(struct nodes *all, const struct conn_calls *owner, struct cnode *node, unsigned index,
                      size_t ring, uint32_t units)
{
    struct conn *c = xcalloc(1, sizeof *c);
    c->all = all;
    c->cl = all->cl;
    c->calls = owner;
    c->index = index;
    c->line.calls = &calls;
    c->line.conn = c;
    c->line.node = node;
    c->line.waits = all->opt->wait > 0;
    c->hello = (struct hello){.line = &c->line, .all = all, .calls = owner};
    line_init(&c->line, ring, units, &all->stats->bytes_out);
    return c;
}

void conn_free(struct conn *c)
{
    if (c->calls->free != NULL)
        c->calls->free(&c->line);
    line_free(&c->line);
    free(c);
}

/* ---- refusals ---- */

static void pause_all(struct conn *c, const struct named *what, const char *text, size_t len)
{
    uint64_t now = mono_us();
    bool replica = len >= 9 && memcmp(text, "READONLY ", 9) == 0;
    error_count(&c->all->stats->refusals, text, len);
    if (replica && c->all->opt->url.sentinel) { /* they may know the master by now */
        c->line.blameless = true;
        line_lose(&c->line, "the server has become a replica");
        return;
    }
    c->explain |= replica && patience_says(&c->line.patience, now);
    patience_refused(&c->line.patience, c->all->slots ? cnode_name(c->line.node) : NULL, named_text(what),
                     text, len, now);
}

/* ---- what the line says ---- */

static void on_lost(struct conn *c)
{
    c->all->stir = true;
}

static void on_broken(struct conn *c, const char *why)
{
    bool strange = !c->line.spoke && c->line.state == CONN_HELLO && strncmp(why, "malformed reply", 15) == 0;
    if (strange && c->all->tls == NULL) {
        c->line.loss = LOSS_FATAL;
        why = "the server does not answer in the Redis protocol: wrong port, or does it expect TLS "
              "(rediss://)?";
    }
    line_lose(&c->line, "%s", why);
}

static void on_held(struct conn *c)
{
    if (c->calls->held != NULL)
        c->calls->held(c);
}

static void on_step(struct conn *c, step_fn *fn, const redisReply *r)
{
    fn(&c->hello, r);
}

static void on_goes_on(struct conn *c)
{
    patience_over(&c->line.patience, c->all->slots ? cnode_name(c->line.node) : NULL);
}

static const struct line_calls calls = {.lost = on_lost,
                                        .broken = on_broken,
                                        .held = on_held,
                                        .step = on_step,
                                        .greeted = conn_ready,
                                        .goes_on = on_goes_on,
                                        .pause = pause_all};
