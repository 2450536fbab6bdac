#include "url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "buf.h"
#include "meta.h"

/* Percent-decode n bytes into out. False when malformed or too long. */
static bool decode(char *out, size_t cap, const char *p, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '%') {
            if (i + 2 >= n || meta_hex(p + i + 1) < 0)
                return false;
            c = (char)meta_hex(p + i + 1);
            i += 2;
        }
        if (k + 1 >= cap || c == '\0')
            return false;
        out[k++] = c;
    }
    out[k] = '\0';
    return true;
}

static const char *parse_credentials(struct url *u, const char *p, size_t n)
{
    const char *colon = memchr(p, ':', n);
    size_t usern = colon != NULL ? (size_t)(colon - p) : n;
    if (!decode(u->user, sizeof u->user, p, usern))
        return "bad user in URL";
    if (colon != NULL && !decode(u->password, sizeof u->password, colon + 1, n - usern - 1))
        return "bad password in URL";
    return NULL;
}

/* Schemes with something special about them; others are like redis://. */
static const struct scheme {
    const char *name;
    bool secure, sentinel, cluster, local;
} schemes[] = {
    {.name = "rediss", .secure = true},
    {.name = "valkeys", .secure = true},
    {.name = "dragonflys", .secure = true},
    {.name = "redis-cluster", .cluster = true},
    {.name = "rediss-cluster", .cluster = true, .secure = true},
    {.name = "sentinel", .sentinel = true},
    {.name = "sentinels", .sentinel = true, .secure = true},
    {.name = "unix", .local = true},
    {.name = "redis+unix", .local = true},
    {.name = "dragonfly+unix", .local = true},
};

static const struct scheme *scheme_of(const char *name)
{
    static const struct scheme usual;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strcmp(name, schemes[i].name) == 0)
            return &schemes[i];
    return &usual;
}

static const char *parse_port(struct endpoint *e, const char *p, size_t n)
{
    const char *fault;
    if (n == 0 || n >= sizeof e->port)
        return "bad port in URL";
    memcpy(e->port, p, n);
    e->port[n] = '\0';
    (void)strtonum(e->port, 1, 65535, &fault);
    return fault != NULL ? "bad port in URL" : NULL;
}

static const char *parse_hostport(struct endpoint *e, const char *p, size_t n)
{
    const char *port = NULL;
    size_t hostn = n;
    if (n > 0 && p[0] == '[') {
        const char *close = memchr(p, ']', n);
        if (close == NULL)
            return "missing ] in URL";
        hostn = (size_t)(close - p) + 1;
        if (hostn < n && p[hostn] == ':')
            port = p + hostn + 1;
        else if (hostn < n)
            return "bad port in URL";
        if (!decode(e->host, sizeof e->host, p + 1, hostn - 2))
            return "bad host in URL";
    } else {
        const char *colon = memchr(p, ':', n);
        if (colon != NULL) {
            hostn = (size_t)(colon - p);
            port = colon + 1;
        }
        if (!decode(e->host, sizeof e->host, p, hostn))
            return "bad host in URL";
    }
    if (e->host[0] == '\0')
        return "no host in URL";
    return port != NULL ? parse_port(e, port, n - (size_t)(port - p)) : NULL;
}

static const char *parse_hosts(struct url *u, const char *p, size_t n)
{
    bool list = u->sentinel || u->cluster;
    for (;;) {
        const char *comma = list ? memchr(p, ',', n) : NULL;
        size_t one = comma != NULL ? (size_t)(comma - p) : n;
        if (u->seeds == URL_SEEDS)
            return "too many hosts in URL";
        struct endpoint *e = &u->seed[u->seeds++];
        strlcpy(e->port, u->sentinel ? "26379" : "6379", sizeof e->port);
        const char *fault = parse_hostport(e, p, one);
        if (fault != NULL)
            return fault;
        if (comma == NULL)
            break;
        p = comma + 1;
        n -= one + 1;
    }
    strlcpy(u->host, u->seed[0].host, sizeof u->host);
    strlcpy(u->port, u->seed[0].port, sizeof u->port);
    return NULL;
}

static const char *parse_db(struct url *u, const char *text)
{
    const char *fault;
    u->db = (uint32_t)strtonum(text, 0, 1 << 20, &fault);
    u->has_db = true;
    return fault != NULL ? "bad database in URL" : NULL;
}

/* rest: from the slash on. */
static const char *parse_socket(struct url *u, size_t n, const char *rest)
{
    if (n > 0)
        return "the path of a Unix socket begins with a third slash: unix:///path (user:password@ before it)";
    size_t path = strcspn(rest, "?#");
    u->seeds = 1;
    if (rest[0] != '/' || !decode(u->seed[0].host, sizeof u->seed[0].host, rest, path))
        return "bad path in URL";
    rest += path;
    if (*rest == '\0')
        return NULL;
    return strncmp(rest, "?db=", 4) == 0 ? parse_db(u, rest + 4) : "only ?db=N may follow the path in URL";
}

/* "/name[/db]" */
static const char *parse_name(struct url *u, const char *rest)
{
    size_t n = rest[0] == '/' ? strcspn(rest + 1, "/?#") : 0;
    if (n == 0 || !decode(u->name, sizeof u->name, rest + 1, n))
        return "sentinels need the name of a master in URL: sentinel://host:port/name";
    rest += 1 + n;
    return rest[0] == '/' && rest[1] != '\0' ? parse_db(u, rest + 1)
           : *rest == '\0' || *rest == '/'   ? NULL
                                             : "bad name in URL";
}

/* Where the credentials end, or NULL: at the last @, so that a password may hold any character as it is. The
 * path of a Unix socket may hold one, too: there it is the last @ before a slash, and none where the path
 * begins at once. */
static const char *credentials_end(const char *p, bool local)
{
    const char *at = local ? NULL : strrchr(p, '@');
    if (local && *p != '/')
        for (const char *next = p; (next = strstr(next, "@/")) != NULL; next++)
            at = next;
    return at;
}

static const char *parse(struct url *u, const char *text)
{
    const char *sep = strstr(text, "://");
    if (sep == NULL || sep == text || (size_t)(sep - text) >= sizeof u->scheme)
        return "no scheme in URL";
    memcpy(u->scheme, text, (size_t)(sep - text));
    const struct scheme *scheme = scheme_of(u->scheme);
    u->secure = scheme->secure;
    u->sentinel = scheme->sentinel;
    u->cluster = scheme->cluster;
    const char *p = sep + 3, *fault;
    const char *at = credentials_end(p, scheme->local);
    if (at != NULL) {
        fault = parse_credentials(u, p, (size_t)(at - p));
        if (fault != NULL)
            return fault;
        p = at + 1;
    }
    size_t n = strcspn(p, "/?#");
    const char *rest = p + n;
    if (scheme->local)
        return parse_socket(u, n, rest);
    fault = parse_hosts(u, p, n);
    if (fault != NULL)
        return fault;
    if (scheme->sentinel)
        return parse_name(u, rest);
    if (*rest == '/')
        rest++;
    return *rest == '\0' ? NULL : parse_db(u, rest);
}

const char *url_parse(struct url *u, const char *text)
{
    static const char mode[] = "?mode=scan";
    size_t n = strlen(text), m = sizeof mode - 1;
    memset(u, 0, sizeof *u);
    u->scan = n > m && strcmp(text + n - m, mode) == 0;
    if (!u->scan)
        return parse(u, text);
    char *plain = xstrdup(text);
    plain[n - m] = '\0';
    const char *fault = parse(u, plain);
    explicit_bzero(plain, n);
    free(plain);
    return fault;
}

const char *url_secret(char *to, size_t cap, const char *file, const char *env)
{
    if (file == NULL) {
        const char *v = getenv(env);
        if (v != NULL && strlcpy(to, v, cap) >= cap)
            return "password too long";
        return NULL;
    }
    FILE *f = fopen(file, "re");
    if (f == NULL)
        return strerror(errno);
    char *got = fgets(to, (int)cap, f);
    bool cut = got != NULL && strchr(to, '\n') == NULL && fgetc(f) != EOF;
    fclose(f);
    if (got == NULL)
        return "the password file is empty";
    if (cut)
        return "password too long";
    to[strcspn(to, "\r\n")] = '\0';
    return NULL;
}

const char *url_password(struct url *u, const char *file, const char *env)
{
    return u->password[0] != '\0' ? NULL : url_secret(u->password, sizeof u->password, file, env);
}

void url_show(const struct url *u, char *out, size_t cap)
{
    snprintf(out, cap, "%s://", u->scheme);
    for (unsigned i = 0; i < u->seeds; i++) {
        const struct endpoint *e = &u->seed[i];
        bool v6 = e->port[0] != '\0' && strchr(e->host, ':') != NULL;
        size_t at = strlen(out);
        snprintf(out + at, cap - at, "%s%s%s%s%s%s", i > 0 ? "," : "", v6 ? "[" : "", e->host, v6 ? "]" : "",
                 e->port[0] != '\0' ? ":" : "", e->port);
    }
    if (u->sentinel) {
        strlcat(out, "/", cap);
        strlcat(out, u->name, cap);
    }
}

/* The password in text, its length in *n; NULL: there is none. */
static const char *password_of(const char *text, size_t *n)
{
    char scheme[sizeof((struct url *)NULL)->scheme];
    const char *p = strstr(text, "://");
    if (p == NULL)
        return NULL;
    snprintf(scheme, sizeof scheme, "%.*s", (int)strnlen(text, (size_t)(p - text)), text);
    p += 3;
    const char *at = credentials_end(p, scheme_of(scheme)->local);
    const char *colon = at != NULL ? memchr(p, ':', (size_t)(at - p)) : NULL;
    if (colon == NULL)
        return NULL;
    *n = (size_t)(at - colon - 1);
    return colon + 1;
}

bool url_without_password(const char *text, char *out, size_t cap)
{
    size_t n = 0;
    const char *password = password_of(text, &n);
    if (password == NULL)
        return strlcpy(out, text, cap) < cap;
    size_t before = (size_t)(password - 1 - text);
    const char *rest = password + n;
    if (before >= 3 && memcmp(text + before - 3, "://", 3) == 0)
        rest++; /* without a user there is nothing left before the @ */
    return (size_t)snprintf(out, cap, "%.*s%s", (int)before, text, rest) < cap;
}

void url_hide_argument(char *arg)
{
    size_t n = 0;
    const char *password = password_of(arg, &n);
    if (password != NULL)
        memset(arg + (password - arg), '*', n);
}
