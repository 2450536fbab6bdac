#include "side_ask.h"

#include <string.h>

int side_timeout(const struct side *s)
{
    return s->o->connect_timeout * 1000;
}

struct reply *side_must(struct side *s, struct link *l, unsigned n, const char *const *word)
{
    link_begin(l, n);
    for (unsigned i = 0; i < n; i++)
        link_str(l, word[i]);
    struct reply *r = link_wait(l, KEEP_ALL, side_timeout(s));
    if (r->e[0].type == REPLY_ERROR)
        link_refused(l, word[0], r, &r->e[0]);
    return r;
}

bool info_field(const struct reply *r, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    const char *p = (const char *)elem_text(r, &r->e[0]), *end = p + r->e[0].kept;
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        const char *stop = eol != NULL ? eol : end;
        if ((size_t)(stop - p) > n && memcmp(p, name, n) == 0 && p[n] == ':') {
            size_t len = (size_t)(stop - p) - n - 1;
            while (len > 0 && p[n + len] == '\r')
                len--;
            len = len < cap ? len : cap - 1;
            memcpy(out, p + n + 1, len);
            out[len] = '\0';
            return true;
        }
        if (eol == NULL)
            break;
        p = eol + 1;
    }
    return false;
}
