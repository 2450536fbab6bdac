#include "nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

/* The next word of a line of len bytes at p; *n of it. NULL: there is none. */
static const char *word(const char **p, const char *end, size_t *n)
{
    const char *from = *p;
    while (from < end && *from == ' ')
        from++;
    *n = strcspn(from, " \r\n");
    if (from + *n > end)
        *n = (size_t)(end - from);
    *p = from + *n;
    return *n > 0 ? from : NULL;
}

static bool take(char *to, size_t cap, const char *from, size_t n)
{
    if (from == NULL || n >= cap)
        return false;
    memcpy(to, from, n);
    to[n] = '\0';
    return true;
}

static bool has_flag(const char *flags, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = flags; p != NULL; p = strchr(p, ','), p += p != NULL)
        if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    return false;
}

/* "host:port@bus,hostname": IPv6 addresses have colons of their own, and no brackets. */
static bool take_address(struct node_line *l, const char *from, size_t n)
{
    char text[300];
    if (!take(text, sizeof text, from, n))
        return false;
    text[strcspn(text, "@,")] = '\0';
    char *colon = strrchr(text, ':');
    if (colon == NULL || strlen(colon + 1) >= sizeof l->port)
        return false;
    strlcpy(l->port, colon + 1, sizeof l->port);
    *colon = '\0';
    strlcpy(l->host, text, sizeof l->host);
    return true;
}

/* 7, 0-99; [7->-id] and the like are of slots on their way, and stand apart. */
static bool take_slots(struct node_line *l, const char *from, size_t n)
{
    char text[24];
    struct slotset s;
    if (from[0] == '[')
        return true;
    if (!take(text, sizeof text, from, n) || !slotset_parse(&s, text))
        return false;
    slotset_join(&l->slots, &s);
    return true;
}

static bool parse(const char *p, const char *end, struct node_line *l)
{
    char flags[200];
    size_t n;
    const char *w = word(&p, end, &n);
    if (!take(l->id, sizeof l->id, w, n))
        return false;
    w = word(&p, end, &n);
    if (w == NULL || !take_address(l, w, n))
        return false;
    w = word(&p, end, &n);
    if (!take(flags, sizeof flags, w, n))
        return false;
    l->myself = has_flag(flags, "myself");
    l->master = has_flag(flags, "master");
    l->away = has_flag(flags, "fail") || has_flag(flags, "handshake") || has_flag(flags, "noaddr");
    for (unsigned i = 3; i < 8; i++) /* master, ping, pong, epoch, link */
        if (word(&p, end, &n) == NULL)
            return false;
    while ((w = word(&p, end, &n)) != NULL)
        if (!take_slots(l, w, n))
            return false;
    return true;
}

bool nodes_next(const char **text, struct node_line *l)
{
    const char *p = *text;
    while (p != NULL && (*p == '\n' || *p == '\r'))
        p++;
    if (p == NULL || *p == '\0')
        return false;
    size_t n = strcspn(p, "\n");
    memset(l, 0, sizeof *l);
    bool good = parse(p, p + n, l);
    *text = good ? p + n : NULL;
    return good;
}
