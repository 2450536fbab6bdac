#include "aof_manifest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"

#define WORDS_MAX (AOF_LINE_MAX / 2)

static const char invalid[] = "expected pairs of a word and its value: file NAME seq N type b, i or h";

/* The words of one line, one after the other in text, each with a NUL. */
struct words {
    char text[AOF_LINE_MAX];
    const char *v[WORDS_MAX];
    size_t n;
};

static int digit(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

/* What stands behind a backslash at *pp: one character, or xHH. */
static char unescape(const char **pp, const char *end)
{
    static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
    const char *p = *pp;
    if (end - p >= 3 && p[0] == 'x' && digit(p[1]) >= 0 && digit(p[2]) >= 0) {
        *pp = p + 3;
        return (char)(digit(p[1]) * 16 + digit(p[2]));
    }
    *pp = p + 1;
    const char *known = *p != '\0' ? strchr(from, *p) : NULL;
    return known != NULL ? to[known - from] : *p;
}

/* The inside of a pair of quotes that begins at *pp. False: it has no end, or something stands directly
 * behind that. */
static bool quoted(const char **pp, const char *end, char quote, char **out)
{
    const char *p = *pp;
    for (; p < end && *p != quote;) {
        bool escape = *p == '\\' && p + 1 < end && (quote == '"' || p[1] == quote);
        if (escape)
            p++;
        *(*out)++ = escape && quote == '"' ? unescape(&p, end) : *p++;
    }
    if (p >= end || (p + 1 < end && !isspace((unsigned char)p[1])))
        return false;
    *pp = p + 1;
    return true;
}

/* Words between blanks; quotes as in a line of redis-cli. False: a quote is not closed. */
static bool split(struct words *w, const char *p, const char *end)
{
    char *out = w->text;
    w->n = 0;
    for (;;) {
        while (p < end && isspace((unsigned char)*p))
            p++;
        if (p >= end)
            return true;
        w->v[w->n++] = out;
        while (p < end && !isspace((unsigned char)*p)) {
            char c = *p++;
            if (c != '"' && c != '\'')
                *out++ = c;
            else if (quoted(&p, end, c, &out))
                break;
            else
                return false;
        }
        *out++ = '\0';
    }
}

static void add(struct aof_manifest *m, const char *name, char type)
{
    if ((m->n & (m->n + 1)) == 0) /* 0, 1, 3, 7 … entries: room for twice as many */
        m->v = xrealloc(m->v, 2 * (m->n + 1) * sizeof *m->v);
    m->v[m->n++] = (struct aof_entry){.name = xstrdup(name), .line = m->line, .type = type};
}

/* What is known of the lines before. */
struct before {
    bool base;
    long long seq; /* of the last increment */
};

static const char *entry(struct aof_manifest *m, const struct words *w, struct before *b)
{
    const char *name = NULL;
    long long seq = 0;
    char type = '\0';
    if (w->n < 6 || w->n % 2 != 0)
        return invalid;
    for (size_t i = 0; i < w->n; i += 2) {
        if (strcasecmp(w->v[i], "file") == 0)
            name = w->v[i + 1];
        else if (strcasecmp(w->v[i], "seq") == 0)
            seq = strtoll(w->v[i + 1], NULL, 10);
        else if (strcasecmp(w->v[i], "type") == 0)
            type = w->v[i + 1][0];
    }
    if (name == NULL || seq == 0 || type == '\0')
        return invalid;
    if (name[0] == '\0' || strchr(name, '/') != NULL || strchr(name, '\\') != NULL)
        return "a file has to be named without its folder";
    if (type == 'b' && b->base)
        return "a second base file (type b)";
    if (type == 'i' && seq <= b->seq)
        return "the sequence number of an increment is not greater than that of the one before";
    if (type != 'b' && type != 'i' && type != 'h')
        return "a type that is none of b, i and h";
    b->base |= type == 'b';
    b->seq = type == 'i' ? seq : b->seq;
    add(m, name, type);
    return NULL;
}

const char *aof_manifest_parse(struct aof_manifest *m, const uint8_t *p, size_t n)
{
    struct before before = {.base = false};
    struct words words;
    const char *text = (const char *)p, *fault = NULL;
    *m = (struct aof_manifest){.line = 0};
    if (n == 0)
        return "the manifest is empty";
    for (size_t at = 0; at < n && fault == NULL;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end != NULL ? (size_t)(end - text) - at : n - at;
        m->line++;
        m->at = at;
        if (len >= AOF_LINE_MAX)
            return "a line of more than 1024 bytes";
        if (text[at] == '#') {
            at += len + 1;
            continue;
        }
        if (end == NULL)
            return "the last line has no end: the manifest is cut short";
        if (memchr(text + at, '\0', len) != NULL)
            return "a NUL byte";
        fault = split(&words, text + at, end) ? entry(m, &words, &before) : "a quote that is not closed";
        at += len + 1;
    }
    return fault;
}

void aof_manifest_free(struct aof_manifest *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->v[i].name);
    free(m->v);
    m->v = NULL;
    m->n = 0;
}
