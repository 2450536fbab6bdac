#include "log_form.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "json.h"
#include "meta.h"

const char *const log_form_words[] = {"auto", "human", "logfmt", "json", NULL};

#define PAIRS_MAX 48
#define DIGITS    15 /* of a number that JSON readers keep exactly */

/* name=value; name "": a word alone. The value is still escaped where it was quoted. */
struct pair {
    const char *name, *value;
    size_t nname, nvalue;
    bool quoted;
};

struct line {
    struct pair pair[PAIRS_MAX];
    unsigned n;
};

/* ---- taking apart ---- */

static size_t quoted_length(const char *p, size_t n)
{
    size_t i = 1;
    while (i < n && p[i] != '"')
        i += p[i] == '\\' && i + 1 < n ? 2 : 1;
    return i;
}

static size_t word_length(const char *p, size_t n, char end)
{
    size_t i = 0;
    while (i < n && p[i] != ' ' && p[i] != end)
        i++;
    return i;
}

/* One pair or word from p, which has n bytes and begins with no blank. Returns its length. */
static size_t take_pair(const char *p, size_t n, struct pair *to)
{
    size_t name = word_length(p, n, '=');
    *to = (struct pair){.name = "", .value = p, .nvalue = name};
    if (name == n || p[name] != '=')
        return name;
    const char *v = p + name + 1;
    size_t left = n - name - 1;
    to->name = p;
    to->nname = name;
    to->value = v;
    if (left == 0 || v[0] != '"') {
        to->nvalue = word_length(v, left, ' ');
        return name + 1 + to->nvalue;
    }
    size_t end = quoted_length(v, left);
    to->quoted = true;
    to->value = v + 1;
    to->nvalue = end - 1;
    return name + 1 + (end < left ? end + 1 : end);
}

static void take_apart(const char *p, size_t n, struct line *l)
{
    l->n = 0;
    for (size_t at = 0; at < n && l->n < PAIRS_MAX;) {
        if (p[at] == ' ')
            at++;
        else
            at += take_pair(p + at, n - at, &l->pair[l->n++]);
    }
}

static bool is_named(const struct pair *p, const char *name)
{
    return p->nname == strlen(name) && memcmp(p->name, name, p->nname) == 0;
}

static const struct pair *find(const struct line *l, const char *name)
{
    for (unsigned i = 0; i < l->n; i++)
        if (is_named(&l->pair[i], name))
            return &l->pair[i];
    return NULL;
}

/* The bytes of a value that was quoted: \xNN, and a backslash before any other character. */
static void unquote(const struct pair *p, struct buf *b)
{
    b->len = 0;
    for (size_t i = 0; i < p->nvalue; i++) {
        const char *c = p->value + i;
        char byte = *c;
        if (p->quoted && *c == '\\' && i + 3 < p->nvalue && c[1] == 'x' && meta_hex(c + 2) >= 0) {
            byte = (char)meta_hex(c + 2);
            i += 3;
        } else if (p->quoted && *c == '\\' && i + 1 < p->nvalue) {
            byte = c[1];
            i++;
        }
        (void)buf_add(b, &byte, 1);
    }
}

/* ---- JSON ---- */

static bool is_number(const struct pair *p)
{
    if (p->quoted || p->nvalue == 0 || p->nvalue > DIGITS || (p->value[0] == '0' && p->nvalue > 1))
        return false;
    for (size_t i = 0; i < p->nvalue; i++)
        if (p->value[i] < '0' || p->value[i] > '9')
            return false;
    return true;
}

static void json_pair(const struct pair *p, struct buf *value, struct buf *b)
{
    json_add(b, p->nname > 0 ? p->name : "text", p->nname > 0 ? p->nname : 4);
    (void)buf_addstr(b, ":");
    unquote(p, value);
    if (is_number(p))
        (void)buf_add(b, value->p, value->len);
    else
        json_add(b, value->p, value->len);
}

static void json_line(const struct line *l, struct buf *b)
{
    struct buf value = {.max = 8192};
    for (unsigned i = 0; i < l->n; i++) {
        (void)buf_addstr(b, i > 0 ? "," : "{");
        json_pair(&l->pair[i], &value, b);
    }
    (void)buf_addstr(b, "}");
    buf_free(&value);
}

/* ---- words ---- */

static void add_printable(struct buf *b, const struct buf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        char c = text->p[i] >= 0x20 && text->p[i] < 0x7f ? (char)text->p[i] : '?';
        (void)buf_add(b, &c, 1);
    }
}

/* An event or a name as words: flow_silent is "flow silent". */
static void add_words(struct buf *b, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)buf_add(b, p[i] == '_' ? " " : p + i, 1);
}

static const char *level_word(const struct pair *level)
{
    static const char *const words[][2] = {{"error", "error: "}, {"warn", "warning: "}, {"debug", "debug: "}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (level->nvalue == strlen(words[i][0]) && memcmp(level->value, words[i][0], level->nvalue) == 0)
            return words[i][1];
    return "";
}

static bool in_sentence(const struct pair *p)
{
    static const char *const names[] = {"time", "level", "stage", "flow", "event", "error", "note"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_named(p, names[i]))
            return true;
    return false;
}

static void add_text(struct buf *b, const char *before, const struct pair *p, struct buf *value)
{
    if (p == NULL)
        return;
    (void)buf_addstr(b, before);
    unquote(p, value);
    add_printable(b, value);
}

static void add_others(struct buf *b, const struct line *l, struct buf *value)
{
    const char *sep = " (";
    for (unsigned i = 0; i < l->n; i++) {
        const struct pair *p = &l->pair[i];
        if (in_sentence(p))
            continue;
        (void)buf_addstr(b, sep);
        add_words(b, p->name, p->nname);
        add_text(b, p->nname > 0 ? " " : "", p, value);
        sep = ", ";
    }
    if (sep[0] == ',')
        (void)buf_addstr(b, ")");
}

static void human_line(const struct line *l, struct buf *b)
{
    struct buf value = {.max = 8192};
    const struct pair *event = find(l, "event");
    add_text(b, "", find(l, "time"), &value);
    (void)buf_addstr(b, find(l, "time") != NULL ? " " : "");
    (void)buf_addstr(b, level_word(find(l, "level")));
    add_text(b, "", find(l, "stage"), &value);
    add_text(b, ", flow ", find(l, "flow"), &value);
    (void)buf_addstr(b, ": ");
    add_words(b, event->value, event->nvalue);
    add_text(b, ": ", find(l, "error"), &value);
    add_others(b, l, &value);
    add_text(b, "; ", find(l, "note"), &value);
    buf_free(&value);
}

/* ---- all ---- */

void log_form_line(enum log_form form, const char *line, size_t n, struct buf *b)
{
    struct line l;
    take_apart(line, n, &l);
    bool message = find(&l, "level") != NULL && find(&l, "stage") != NULL && find(&l, "event") != NULL;
    bool logfmt = n >= 6 && (memcmp(line, "stage=", 6) == 0 || memcmp(line, "time=", 5) == 0 || message);
    if (form == LOG_FORM_JSON && logfmt) {
        json_line(&l, b);
    } else if (form == LOG_FORM_JSON) {
        (void)buf_addstr(b, "{\"message\":");
        json_add(b, line, n);
        (void)buf_addstr(b, "}");
    } else if (form == LOG_FORM_HUMAN && message) {
        human_line(&l, b);
    } else {
        (void)buf_add(b, line, n);
    }
}
