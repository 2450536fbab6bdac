#include "source_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "args.h"
#include "command.h"
#include "io.h"
#include "meta.h"

#define COMMANDS_MAX 4096u
#define SPECS_MAX    4u
#define NAME_SIZE    64u
#define WORD_SIZE    24u

/* A group of keys: they begin at an argument, or behind a word that is looked for. */
struct spec {
    char word[WORD_SIZE]; /* "": index says where */
    long long index;      /* ... or where to begin to look; below 0: from the end, backwards */
    bool counted;         /* a number of keys stands among the arguments */
    long long a, b, c;    /* last (below 0: from the end), step, limit; or counted: number, first, step */
};

struct source_command {
    char name[NAME_SIZE];
    struct spec spec[SPECS_MAX];
    unsigned n;
    bool whole;
};

/* ---- text ---- */

/* No argument is as far away. */
static bool fits(long long n)
{
    return n > -(1 << 20) && n < 1 << 20;
}

static bool take_spec(struct spec *s, const char *text)
{
    int end = -1;
    memset(s, 0, sizeof *s);
    const char *rest = strchr(text, '@');
    if (rest != NULL && (size_t)(rest - text) >= sizeof s->word)
        return false;
    if (rest != NULL)
        memcpy(s->word, text, (size_t)(rest - text));
    rest = rest != NULL ? rest + 1 : text;
    if (sscanf(rest, "%lld:%lld:%lld:%lld%n", &s->index, &s->a, &s->b, &s->c, &end) == 4 && end >= 0)
        return rest[end] == '\0' && fits(s->index) && fits(s->a) && fits(s->b) && fits(s->c) && s->b > 0;
    s->counted = true;
    return sscanf(rest, "%lld#%lld:%lld:%lld%n", &s->index, &s->a, &s->b, &s->c, &end) == 4 && end >= 0 &&
           rest[end] == '\0' && fits(s->index) && fits(s->a) && fits(s->b) && fits(s->c) && s->c > 0 &&
           s->a >= 0 && s->b >= 0;
}

/* False: it is malformed. */
static bool take_command(struct source_commands *s, char *text)
{
    struct source_command c = {.whole = true};
    char *next = text, *part = strsep(&next, ",");
    if (part[0] == '\0' || strlcpy(c.name, part, sizeof c.name) >= sizeof c.name)
        return false;
    while ((part = strsep(&next, ",")) != NULL) {
        if (strcmp(part, "?") == 0 || c.n == SPECS_MAX)
            c.whole = false;
        else if (!take_spec(&c.spec[c.n++], part))
            return false;
    }
    if (s->n == COMMANDS_MAX || command_find((const uint8_t *)c.name, strlen(c.name)) != NULL)
        return true;
    s->list = xrealloc(s->list, (s->n + 1) * sizeof *s->list);
    s->list[s->n++] = c;
    return true;
}

void source_commands_free(struct source_commands *s)
{
    free(s->list);
    *s = (struct source_commands){0};
}

bool source_commands_take(struct source_commands *s, const void *text, size_t n)
{
    static const char name[] = "command=";
    const char *p = text, *end = p + n;
    source_commands_free(s);
    while (p < end) {
        char value[1024];
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((nl != NULL ? nl : end) - p);
        if (len > sizeof name && memcmp(p, name, sizeof name - 1) == 0 &&
            (meta_get(p, len + (nl != NULL), "command", value, sizeof value) <= 0 || !take_command(s, value)))
            return false;
        p += len + 1;
    }
    return true;
}

/* ---- keys ---- */

static const struct source_command *find(const struct source_commands *s, const struct slice *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strlen(s->list[i].name) == name->n && memcmp(s->list[i].name, name->p, name->n) == 0)
            return &s->list[i];
    return NULL;
}

/* Where the group begins; 0: nowhere. */
static size_t begin_of(const struct spec *s, const struct slice *argv, size_t argc)
{
    long long n = (long long)argc, at = s->index < 0 ? n + s->index : s->index;
    if (s->word[0] == '\0')
        return at > 0 && at < n ? (size_t)at : 0;
    for (long long step = s->index < 0 ? -1 : 1; at > 0 && at + 1 < n; at += step)
        if (arg_is(&argv[at], s->word))
            return (size_t)at + 1;
    return 0;
}

struct found {
    size_t *at, n, max;
    bool whole;
};

static void add(struct found *f, size_t i)
{
    for (size_t k = 0; k < f->n; k++)
        if (f->at[k] == i)
            return;
    if (f->n < f->max)
        f->at[f->n++] = i;
    else
        f->whole = false;
}

static void add_counted(struct found *f, const struct spec *s, size_t begin, const struct slice *argv,
                        size_t argc)
{
    int64_t n = 0;
    size_t number = begin + (size_t)s->a, step = (size_t)s->c, i = begin + (size_t)s->b;
    if (number >= argc || !arg_number(&argv[number], &n) || n < 0) {
        f->whole = false;
        return;
    }
    for (; n > 0 && i < argc; n--, i += step)
        add(f, i);
    f->whole = f->whole && n == 0;
}

static void add_range(struct found *f, const struct spec *s, size_t begin, size_t argc)
{
    long long last = s->a >= 0 ? (long long)begin + s->a : (long long)argc + s->a;
    if (s->a < 0 && s->c > 1) /* a part of what is left */
        last = (long long)begin + ((long long)argc - (long long)begin) / s->c + s->a;
    for (long long i = (long long)begin; i <= last && i < (long long)argc; i += s->b)
        add(f, (size_t)i);
}

size_t source_commands_keys(const struct source_commands *s, const struct slice *argv, size_t argc,
                            size_t *at, size_t max, bool *whole)
{
    const struct source_command *c = find(s, &argv[0]);
    struct found f = {.at = at, .max = max, .whole = c != NULL && c->whole};
    for (unsigned i = 0; c != NULL && i < c->n; i++) {
        size_t begin = begin_of(&c->spec[i], argv, argc);
        if (begin > 0 && c->spec[i].counted)
            add_counted(&f, &c->spec[i], begin, argv, argc);
        else if (begin > 0)
            add_range(&f, &c->spec[i], begin, argc);
    }
    *whole = f.whole;
    return f.n;
}
