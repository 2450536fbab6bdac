/* What the decoders of values work with: strings at hand, and room for what they make. */
#include "value.h"

void scratch_free(struct scratch *s)
{
    buf_free(&s->body);
    buf_free(&s->ttls);
    buf_free(&s->copy);
    unpack_free(&s->lzf[0]);
    unpack_free(&s->lzf[1]);
    buf_free(&s->pel);
    for (size_t i = 0; i < sizeof s->seen / sizeof s->seen[0]; i++)
        keyset_free(&s->seen[i]);
}

int scratch_fault(const struct scratch *s)
{
    return s->lzf[0].fault != 0 ? s->lzf[0].fault : s->lzf[1].fault;
}

bool value_text(struct scratch *s, unsigned which, const struct pstr *ps, struct slice *out)
{
    *out = (struct slice){ps->p, ps->n};
    if (ps->clen == 0)
        return true;
    return unpack(&s->lzf[which], ps, out);
}

enum got value_string(struct cur *c, struct scratch *s, unsigned which, struct pstr *ps, struct slice *out)
{
    enum got g = cur_pstr(c, ps);
    if (g == GOT && !value_text(s, which, ps, out))
        return cur_bad(c, UNPACKS);
    return g;
}
