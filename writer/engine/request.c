#include "request.h"

#include <string.h>
#include <strings.h>

/* Read "<type><digits>\r\n". Returns what follows, or NULL. Most have one digit or two. */
static inline const uint8_t *take(const uint8_t *p, const uint8_t *end, uint8_t type, uint64_t *out)
{
    if (end - p < 4 || *p != type)
        return NULL;
    unsigned one = (unsigned)p[1] - '0', two = (unsigned)p[2] - '0';
    if (one <= 9 && p[2] == '\r' && p[3] == '\n') {
        *out = one;
        return p + 4;
    }
    if (one <= 9 && two <= 9 && end - p > 4 && p[3] == '\r' && p[4] == '\n') {
        *out = one * 10 + two;
        return p + 5;
    }
    p++;
    unsigned d = (unsigned)*p++ - '0';
    if (d > 9)
        return NULL;
    uint64_t v = d;
    const uint8_t *stop = end - p > 12 ? p + 12 : end;
    while (p < stop && (d = (unsigned)*p - '0') <= 9) {
        v = v * 10 + d;
        p++;
    }
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    *out = v;
    return p + 2;
}

/* One bulk string. Returns what follows, or NULL. */
static inline const uint8_t *take_bulk(const uint8_t *p, const uint8_t *end)
{
    uint64_t n;
    p = take(p, end, '$', &n);
    if (p == NULL || (uint64_t)(end - p) < 2 || n > (uint64_t)(end - p) - 2)
        return NULL;
    p += n;
    return p[0] == '\r' && p[1] == '\n' ? p + 2 : NULL;
}

bool request_ok(const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    uint64_t argc;
    p = take(p, end, '*', &argc);
    if (p == NULL || argc == 0)
        return false;
    for (; argc > 0; argc--) {
        p = take_bulk(p, end);
        if (p == NULL)
            return false;
    }
    return p == end;
}

bool request_pair_ok(const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    p = take_bulk(p, end);
    if (p != NULL)
        p = take_bulk(p, end);
    return p == end;
}

size_t request_pair_len(const uint8_t *p)
{
    const uint8_t *start = p;
    for (int i = 0; i < 2; i++) {
        uint64_t n = 0;
        for (p++; *p != '\r'; p++)
            n = n * 10 + (uint64_t)(*p - '0');
        p += 2 + n + 2;
    }
    return (size_t)(p - start);
}

bool request_arg(const uint8_t *p, size_t n, unsigned arg, struct slice *out)
{
    const uint8_t *end = p + n;
    uint64_t argc, len;
    p = take(p, end, '*', &argc);
    if (p == NULL || arg >= argc)
        return false;
    for (unsigned i = 0;; i++) {
        p = take(p, end, '$', &len);
        if (p == NULL)
            return false;
        size_t have = (size_t)(end - p) < len ? (size_t)(end - p) : (size_t)len;
        if (i == arg) {
            *out = (struct slice){p, have};
            return true;
        }
        if ((size_t)(end - p) < len + 2)
            return false;
        p += len + 2;
    }
}

bool request_alters_connection(const uint8_t *p, size_t n)
{
    static const char by_length[][6][11] = {
        [4] = {"AUTH", "EXEC", "QUIT", "SYNC"},     [5] = {"HELLO", "MULTI", "PSYNC", "RESET", "WATCH"},
        [6] = {"CLIENT", "SELECT", "ASKING"},       [7] = {"DISCARD", "MONITOR", "UNWATCH"},
        [8] = {"REPLCONF", "READONLY", "SHUTDOWN"}, [9] = {"SUBSCRIBE"},
        [10] = {"PSUBSCRIBE", "SSUBSCRIBE"},
    };
    struct slice name;
    if (!request_arg(p, n, 0, &name) || name.n >= sizeof by_length / sizeof *by_length)
        return false;
    for (const char(*s)[11] = by_length[name.n]; (*s)[0] != '\0'; s++)
        if (((*s)[0] | 0x20) == (name.p[0] | 0x20) && strncasecmp((const char *)name.p, *s, name.n) == 0)
            return true;
    return false;
}

bool request_swaps_first(const uint8_t *p, size_t n, struct slice *other)
{
    struct slice name, a, b;
    if (!request_arg(p, n, 0, &name) || name.n != 6 || strncasecmp((const char *)name.p, "SWAPDB", 6) != 0 ||
        !request_arg(p, n, 1, &a) || !request_arg(p, n, 2, &b))
        return false;
    bool first = a.n == 1 && a.p[0] == '0', second = b.n == 1 && b.p[0] == '0';
    *other = first ? b : a;
    return first != second;
}

bool request_shows_repeat(const uint8_t *p, size_t n)
{
    struct slice name, sub;
    if (!request_arg(p, n, 0, &name))
        return false;
    if (name.n == 4 && strncasecmp((const char *)name.p, "XADD", 4) == 0)
        return true;
    return name.n == 6 && strncasecmp((const char *)name.p, "XGROUP", 6) == 0 && request_arg(p, n, 1, &sub) &&
           sub.n == 6 && strncasecmp((const char *)sub.p, "CREATE", 6) == 0;
}

enum { AT_START, IN_COUNT, COUNT_LF, AT_BULK, IN_LEN, LEN_LF, IN_BYTES, AT_END };

void reqcheck_init(struct reqcheck *c)
{
    *c = (struct reqcheck){.state = AT_START};
}

/* A byte of "<digits>\r". Returns false when it cannot be. */
static bool number_byte(struct reqcheck *c, uint8_t b, uint8_t next)
{
    if (b == '\r' && c->digits > 0) {
        c->state = next;
        return true;
    }
    if (b < '0' || b > '9' || c->digits >= 13)
        return false;
    c->number = c->number * 10 + (uint64_t)(b - '0');
    c->digits++;
    return true;
}

static bool number_begin(struct reqcheck *c, uint8_t b, uint8_t type, uint8_t next)
{
    c->number = 0;
    c->digits = 0;
    c->state = next;
    return b == type;
}

static bool check_byte(struct reqcheck *c, uint8_t b)
{
    switch (c->state) {
    case AT_START: return number_begin(c, b, '*', IN_COUNT);
    case IN_COUNT: return number_byte(c, b, COUNT_LF);
    case COUNT_LF:
        c->args = c->number;
        c->state = AT_BULK;
        return b == '\n' && c->args > 0;
    case AT_BULK: return number_begin(c, b, '$', IN_LEN);
    case IN_LEN: return number_byte(c, b, LEN_LF);
    case LEN_LF:
        c->left = c->number + 2;
        if (c->number > c->longest)
            c->longest = c->number;
        c->state = IN_BYTES;
        return b == '\n';
    default: return false;
    }
}

/* Bytes of an argument and the CR LF behind it. Returns how many were used, 0 when they are wrong. */
static size_t check_bytes(struct reqcheck *c, const uint8_t *p, size_t n)
{
    size_t used = n < c->left ? n : (size_t)c->left;
    for (uint64_t k = c->left <= 2 ? 0 : c->left - 2; k < used; k++) {
        uint8_t want = c->left - k == 2 ? '\r' : '\n';
        if (p[k] != want)
            return 0;
    }
    c->left -= used;
    if (c->left == 0)
        c->state = --c->args == 0 ? AT_END : AT_BULK;
    return used;
}

bool reqcheck_feed(struct reqcheck *c, const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n) {
        if (c->state == IN_BYTES) {
            size_t used = check_bytes(c, p + i, n - i);
            if (used == 0)
                return false;
            i += used;
        } else if (!check_byte(c, p[i++]))
            return false;
    }
    return true;
}

bool reqcheck_whole(const struct reqcheck *c)
{
    return c->state == AT_END;
}

bool request_repeatable(const uint8_t *p, size_t n)
{
    static const char *const names[] = {"LPUSH", "RPUSH", "LPOP", "RPOP", "EVAL", "EVALSHA"};
    struct slice name;
    if (!request_arg(p, n, 0, &name))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == name.n && memcmp(names[i], name.p, name.n) == 0)
            return false;
    return true;
}
