/* Between the decoders of snapshots and an outlet: what it does not take is passed over. */
#include <bsd/string.h>

#include "change.h"
#include "exits.h"

/* It is reported, unless that was done. */
static void pass_over(const struct site *at, const struct change *ch, struct value *v,
                      const struct outlet_word *word)
{
    struct key k = ch->key;
    k.excluded |= word->reported;
    value_begin(v, at->e, at->o, at->s, ch->type, &k, 0);
    at->e->stats.filtered -= word->reported;
    v->template.known = ch->templates;
}

static enum got wants(const struct site *at, const struct change *ch, const struct cur *value,
                      struct outlet_word *word)
{
    *word = (struct outlet_word){.want = 1};
    return ch->key.excluded ? BAD : at->outlet->kind->wants(at->outlet, at, ch, value, word);
}

enum got outlet_key(const struct site *at, const struct change *ch, struct cur *c, struct cur *value,
                    struct value *v, bool *in_value)
{
    struct outlet_word word;
    struct taken *rest = NULL;
    enum got g = wants(at, ch, value, &word);
    if (g == NEED) {
        c->want = word.want;
        return NEED;
    }
    if (g == BAD) {
        c->p = value->p;
        pass_over(at, ch, v, &word);
        g = value_feed(v, c);
        *in_value = g != GOT;
        return g;
    }
    g = at->outlet->kind->key(at->outlet, at, ch, value, &rest);
    c->want = value->want;
    c->why = value->why;
    if (g != NEED || rest != NULL)
        c->p = value->p;
    v->taken = rest;
    *in_value = rest != NULL;
    return g;
}

void outlet_command(const struct site *at, const struct change *ch, bool early)
{
    struct outlet *out = at->outlet;
    if (out->live) {
        out->kind->command(out, at, ch, early);
        return;
    }
    if (out->status == 0) {
        out->status = EXIT_CANNOT;
        strlcpy(
            out->why,
            "an append-only file consists of commands, which would have to be executed: let a redis-server "
            "load it, and read that server",
            sizeof out->why);
    }
    at->e->refused = true;
}

void outlet_begin(const struct site *at, const struct change *ch, struct value *v)
{
    struct outlet_word word;
    if (wants(at, ch, NULL, &word) == GOT)
        v->taken = at->outlet->kind->begin(at->outlet, at, ch);
    else
        pass_over(at, ch, v, &word);
}

enum got outlet_feed(const struct site *at, struct value *v, struct cur *c)
{
    at->o->live = false;
    if (__builtin_expect(v->taken == NULL, 1))
        return value_feed(v, c);
    enum got g = at->outlet->kind->more(at->outlet, at, v->taken, c);
    if (g != NEED)
        v->taken = NULL;
    return g;
}

void outlet_end(const struct site *at, struct value *v)
{
    if (v->taken != NULL)
        at->outlet->kind->drop(at->outlet, v->taken);
    v->taken = NULL;
    value_free(v);
}
