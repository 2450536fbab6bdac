#include "fake.h"

#include <ctype.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <bsd/string.h>

bool slice_is(const struct slice *s, const char *word)
{
    return s->n == strlen(word) && strncasecmp((const char *)s->p, word, s->n) == 0;
}

void unescape(struct buf *b, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        char c = *p;
        if (c == '\\' && p[1] != '\0') {
            p++;
            c = *p == 'r' ? '\r' : *p == 'n' ? '\n' : *p == '0' ? '\0' : *p;
            if (*p == 'x' && isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2])) {
                char two[3] = {p[1], p[2], '\0'};
                c = (char)strtoul(two, NULL, 16);
                p += 2;
            }
        }
        (void)buf_add(b, &c, 1);
    }
}

static const struct {
    const char *name;
    enum action action;
    bool text; /* bytes follow; else a number, or nothing */
} actions[] = {
    {"raw", ACT_RAW, true},         {"after", ACT_AFTER, true}, {"before", ACT_BEFORE, true},
    {"close", ACT_CLOSE, false},    {"do", ACT_DO, false},      {"silent", ACT_SILENT, false},
    {"dribble", ACT_DRIBBLE, true}, {"huge", ACT_HUGE, false},  {"moved", ACT_MOVED, false},
    {"ask", ACT_ASK, false},        {"gone", ACT_GONE, false},  {"pass", ACT_PASS, false},
};

static void rule_action(struct rule *r, const char *text)
{
    size_t n = strcspn(text, ":");
    const char *rest = text[n] == ':' ? text + n + 1 : "";
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strlen(actions[i].name) != n || strncmp(actions[i].name, text, n) != 0)
            continue;
        r->action = actions[i].action;
        if (actions[i].text)
            unescape(&r->bytes, rest);
        else
            r->n = strtoull(rest, NULL, 10);
        return;
    }
    errx(2, "unknown action: %s", text);
}

void rule_add(struct options *o, const char *text)
{
    const char *eq = strchr(text, '=');
    char what[128];
    if (eq == NULL || (size_t)(eq - text) >= sizeof what || o->nrules == RULES_MAX)
        errx(2, "bad rule: %s", text);
    memcpy(what, text, (size_t)(eq - text));
    what[eq - text] = '\0';
    struct rule *r = &o->rule[o->nrules++];
    *r = (struct rule){.from = 1, .to = UINT32_MAX, .node = -1};
    char *count = strchr(what, '#');
    if (count != NULL) {
        *count++ = '\0';
        char *end;
        r->from = r->to = (unsigned)strtoul(count, &end, 10);
        if (*end == '-')
            r->to = end[1] != '\0' ? (unsigned)strtoul(end + 1, NULL, 10) : UINT32_MAX;
    }
    char *at = strchr(what, '@');
    if (at != NULL) {
        *at++ = '\0';
        r->node = atoi(at);
    }
    char *key = strchr(what, ' ');
    if (key != NULL) {
        *key++ = '\0';
        if (strlcpy(r->key, key, sizeof r->key) >= sizeof r->key)
            errx(2, "bad rule: %s", text);
    }
    if (strlcpy(r->command, what, sizeof r->command) >= sizeof r->command)
        errx(2, "bad rule: %s", text);
    rule_action(r, eq + 1);
}

/* The first rule whose turn it is. */
struct rule *rule_find(struct options *o, unsigned node, const struct slice *arg, unsigned n)
{
    struct rule *found = NULL;
    for (unsigned i = 0; i < o->nrules; i++) {
        struct rule *r = &o->rule[i];
        if (!slice_is(&arg[0], r->command) || (r->node >= 0 && (unsigned)r->node != node))
            continue;
        bool has = r->key[0] == '\0';
        for (unsigned k = 1; k < n && !has; k++)
            has = slice_is(&arg[k], r->key);
        if (!has)
            continue;
        r->seen++;
        if (found == NULL && r->seen >= r->from && r->seen <= r->to)
            found = r;
    }
    return found;
}
