#include "posted.h"

#include <ini.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "posted_names.h"
#include "size.h"

#define CONFIG_MAX ((size_t)65536)
#define LINE_MOST  190 /* bytes of a line of a configuration: what conf.c takes, and a little less */
#define END_MOST   192
#define STOP_MOST  100 /* seconds of a stop */
#define BYTES_MOST UINT64_C(1000000000000)

/* A configuration under way. */
struct making {
    const char *files;
    struct posted *p;
    char *why; /* empty: nothing is wrong */
    size_t cap;
    uint8_t seen[POSTED_NAMES_MAX]; /* sides that were given */
    char kind[24], source[END_MOST], target[END_MOST];
};

static bool fault(char *why, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool fault(char *why, size_t cap, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, cap, fmt, ap);
    va_end(ap);
    for (char *s = why; *s != '\0'; s++)
        if (*s < 0x20 || *s > 0x7e)
            *s = '?';
    return false;
}

/* ---- values ---- */

/* It stands in a line of an INI file as it is: nothing of it ends the line, or begins a comment. */
static bool fits_line(const char *name, const char *value)
{
    size_t n = strlen(value);
    for (size_t i = 0; i < n; i++) {
        if ((uint8_t)value[i] < 0x20 || value[i] == 0x7f ||
            (value[i] == ';' && (i == 0 || value[i - 1] == ' ')))
            return false;
    }
    return strlen(name) + n <= LINE_MOST && (n == 0 || (value[0] != ' ' && value[n - 1] != ' '));
}

/* A server that is not named by a path. */
static bool is_server(const char *url)
{
    static const char *const schemes[] = {"redis",         "rediss",         "valkey",   "valkeys",
                                          "redis-cluster", "rediss-cluster", "sentinel", "sentinels",
                                          "dragonfly",     "dragonflys"};
    size_t n = strcspn(url, ":");
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strlen(schemes[i]) == n && strncmp(url, schemes[i], n) == 0)
            return strncmp(url + n, "://", 3) == 0 && url[n + 3] != '/';
    return false;
}

static bool put_line(struct making *m, const char *name, const char *before, const char *value)
{
    char line[LINE_MOST + 1];
    int n = snprintf(line, sizeof line, "%s = %s%s", name, before, value);
    if (n < 0 || (size_t)n >= sizeof line || buf_addf(&m->p->config, "%s\n", line) != 0)
        return fault(m->why, m->cap, "%s is too long", name);
    return true;
}

/* A file in the directory that we were given for that. */
static bool put_file(struct making *m, const char *name, const char *value)
{
    char before[LINE_MOST + 1];
    if (!is_task_name(value))
        return fault(m->why, m->cap, "%s: a plain name of a file is taken here, no path", name);
    if (m->files == NULL)
        return fault(m->why, m->cap, "%s: no files can be named here (df2redis-monitor --files)", name);
    if ((size_t)snprintf(before, sizeof before, "%s/", m->files) >= sizeof before)
        return fault(m->why, m->cap, "%s is too long", name);
    return put_line(m, name, before, value);
}

static bool put(struct making *m, const char *name, const char *value)
{
    unsigned side;
    const struct posted_name *row = posted_name_find(name, &side);
    if (row == NULL)
        return fault(m->why, m->cap, "%.60s: no such name here", name);
    uint8_t *seen = &m->seen[posted_name_place(row)];
    if (row->form != POSTED_LISTED && (*seen & side) != 0)
        return fault(m->why, m->cap, "%s is given twice", name);
    *seen |= (uint8_t)side;
    if (!fits_line(name, value))
        return fault(m->why, m->cap, "%s: its value is too long, or has characters that are not taken", name);
    switch (row->form) {
    case POSTED_FILE: return put_file(m, name, value);
    case POSTED_KIND:
        if (strlcpy(m->kind, value, sizeof m->kind) < sizeof m->kind)
            return put_line(m, name, "", value);
        return fault(m->why, m->cap, "%s: there is no such kind", name);
    case POSTED_END:
        if (strlcpy(strcmp(name, "source") == 0 ? m->source : m->target, value, END_MOST) < END_MOST)
            return true;
        return fault(m->why, m->cap, "%s is too long", name);
    default: return put_line(m, name, "", value);
    }
}

static bool put_end(struct making *m, const char *name, const char *value, bool is_file)
{
    if (is_file)
        return put_file(m, name, value);
    if (!is_server(value))
        return fault(m->why, m->cap, "%s is not the URL of a server over TCP", name);
    return put_line(m, name, "", value);
}

/* ---- a configuration, as text or as an object ---- */

struct text {
    struct making *m;
    const char *at, *end;
};

/* As fgets does it. A line that does not fit would be taken for two. */
static char *next_line(char *to, int cap, void *stream)
{
    struct text *t = stream;
    if (t->at == t->end || t->m->why[0] != '\0')
        return NULL;
    const char *nl = memchr(t->at, '\n', (size_t)(t->end - t->at));
    size_t n = (size_t)((nl != NULL ? nl + 1 : t->end) - t->at);
    if (n >= (size_t)cap) {
        (void)fault(t->m->why, t->m->cap, "a line of config is longer than %d bytes", cap - 1);
        return NULL;
    }
    memcpy(to, t->at, n);
    to[n] = '\0';
    t->at += n;
    return to;
}

static int on_entry(void *user, const char *section, const char *name, const char *value)
{
    struct text *t = user;
    if (t->m->why[0] != '\0')
        return 0;
    if (strcmp(section, "df2redis") != 0)
        return fault(t->m->why, t->m->cap, "config has only the section [df2redis] here");
    return put(t->m, name, value);
}

static bool take_text(struct making *m, const char *text)
{
    struct text t = {.m = m, .at = text, .end = text + strlen(text)};
    int rc = ini_parse_stream(next_line, &t, on_entry, &t);
    if (rc != 0 && m->why[0] == '\0')
        return fault(m->why, m->cap, "config: error in line %d", rc);
    return m->why[0] == '\0';
}

static bool take_value(struct making *m, const char *name, const json_t *value)
{
    char number[24];
    if (json_is_string(value))
        return put(m, name, json_string_value(value));
    if (json_is_boolean(value))
        return put(m, name, json_is_true(value) ? "yes" : "no");
    if (!json_is_integer(value))
        return fault(m->why, m->cap, "%.60s: its value is no text, number, true or false", name);
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    return put(m, name, number);
}

static bool take_object(struct making *m, json_t *object)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        size_t n = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t i = 0; i < n; i++)
            if (!take_value(m, name, json_is_array(value) ? json_array_get(value, i) : value))
                return false;
    }
    return true;
}

static bool take_config(struct making *m, json_t *config)
{
    if (buf_addstr(&m->p->config, "[df2redis]\n") != 0)
        return fault(m->why, m->cap, "config is too large");
    if (json_is_string(config)) {
        if (!take_text(m, json_string_value(config)))
            return false;
    } else if (!json_is_object(config)) {
        return fault(m->why, m->cap, "config is an object or a text");
    } else if (!take_object(m, config)) {
        return false;
    }
    return put_end(m, "source", m->source, strcmp(m->kind, "import") == 0) &&
           put_end(m, "target", m->target, strcmp(m->kind, "export") == 0);
}

/* ---- requests ---- */

/* An object with these members at most. NULL: it is none, and why says so. The caller's reference. */
static json_t *load(const void *body, size_t n, const char *const *members, char *why, size_t cap)
{
    json_error_t error = {.text = ""};
    const char *name;
    json_t *value, *all = n <= POSTED_MAX ? json_loadb(body, n, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (!json_is_object(all)) {
        (void)fault(why, cap, "the request is no JSON object%s%.80s", all == NULL && n > 0 ? ": " : "",
                    all == NULL && n > 0 ? error.text : "");
        json_decref(all);
        return NULL;
    }
    json_object_foreach(all, name, value)
    {
        size_t i = 0;
        while (members[i] != NULL && strcmp(members[i], name) != 0)
            i++;
        if (members[i] == NULL) {
            (void)fault(why, cap, "the request has an unknown member %.60s", name);
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

bool posted_task(const void *body, size_t n, const char *files, struct posted *p, char *why, size_t cap)
{
    static const char *const members[] = {"name", "config", NULL};
    struct making m = {.files = files, .p = p, .why = why, .cap = cap};
    *p = (struct posted){.config.max = CONFIG_MAX};
    why[0] = '\0';
    json_t *all = load(body, n, members, why, cap);
    if (all == NULL)
        return false;
    const char *name = json_string_value(json_object_get(all, "name"));
    bool ok;
    if (name == NULL || !is_task_name(name))
        ok = fault(why, cap,
                   "name has letters, digits, dots, dashes (neither at its begin) and underscores only");
    else
        ok = strlcpy(p->name, name, sizeof p->name) > 0 && take_config(&m, json_object_get(all, "config"));
    json_decref(all);
    return ok;
}

bool posted_stop(const void *body, size_t n, struct posted *p, char *why, size_t cap)
{
    static const char *const members[] = {"final", "timeout", NULL};
    *p = (struct posted){.final = false};
    if (n == 0)
        return true;
    json_t *all = load(body, n, members, why, cap);
    if (all == NULL)
        return false;
    const json_t *final = json_object_get(all, "final"), *timeout = json_object_get(all, "timeout");
    json_int_t seconds = json_integer_value(timeout);
    bool ok = true;
    if (final != NULL && !json_is_boolean(final))
        ok = fault(why, cap, "final is true or false");
    else if (timeout != NULL && (!json_is_integer(timeout) || seconds < 1 || seconds > STOP_MOST))
        ok = fault(why, cap, "timeout is a number of 1 to %d seconds", STOP_MOST);
    p->final = json_is_true(final);
    if (ok && timeout != NULL)
        snprintf(p->timeout, sizeof p->timeout, "%lld", (long long)seconds);
    json_decref(all);
    return ok;
}

/* A number, or a text that is one. False: neither, or above most. */
static bool number_of(const json_t *value, uint64_t most, char out[24])
{
    uint64_t number = 0;
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        number = (uint64_t)json_integer_value(value);
    else if (!json_is_string(value) || !size_parse(json_string_value(value), &number))
        return false;
    snprintf(out, 24, "%llu", (unsigned long long)number);
    return number <= most;
}

bool posted_limit(const void *body, size_t n, struct posted *p, char *why, size_t cap)
{
    static const char *const members[] = {"max-ops", "max-bytes", NULL};
    *p = (struct posted){.final = false};
    json_t *all = load(body, n, members, why, cap);
    if (all == NULL)
        return false;
    const json_t *ops = json_object_get(all, "max-ops"), *bytes = json_object_get(all, "max-bytes");
    bool ok = true;
    if (ops == NULL && bytes == NULL)
        ok = fault(why, cap, "limit takes max-ops, max-bytes or both");
    else if (ops != NULL && (!json_is_integer(ops) || !number_of(ops, INT32_MAX, p->max_ops)))
        ok = fault(why, cap, "max-ops is a number up to %d", INT32_MAX);
    else if (bytes != NULL && !number_of(bytes, BYTES_MOST, p->max_bytes))
        ok = fault(why, cap, "max-bytes is a size up to 1000000000000");
    json_decref(all);
    return ok;
}

bool posted_nothing(const void *body, size_t n, char *why, size_t cap)
{
    static const char *const members[] = {NULL};
    json_t *all = n > 0 ? load(body, n, members, why, cap) : NULL;
    json_decref(all);
    return n == 0 || all != NULL;
}
