#include "url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

static int hexdigit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decode n bytes into out. False when malformed or too long. */
static bool decode(char *out, size_t cap, const char *p, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '%') {
            if (i + 2 >= n || hexdigit(p[i + 1]) < 0 || hexdigit(p[i + 2]) < 0)
                return false;
            c = (char)(hexdigit(p[i + 1]) * 16 + hexdigit(p[i + 2]));
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

static const char *parse_hostport(struct url *u, const char *p, size_t n)
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
        if (!decode(u->host, sizeof u->host, p + 1, hostn - 2))
            return "bad host in URL";
    } else {
        const char *colon = memchr(p, ':', n);
        if (colon != NULL) {
            hostn = (size_t)(colon - p);
            port = colon + 1;
        }
        if (!decode(u->host, sizeof u->host, p, hostn))
            return "bad host in URL";
    }
    if (u->host[0] == '\0')
        return "no host in URL";
    if (port == NULL)
        return NULL;
    size_t portn = n - (size_t)(port - p);
    const char *fault;
    if (portn == 0 || portn >= sizeof u->port)
        return "bad port in URL";
    memcpy(u->port, port, portn);
    u->port[portn] = '\0';
    (void)strtonum(u->port, 1, 65535, &fault);
    return fault != NULL ? "bad port in URL" : NULL;
}

const char *url_parse(struct url *u, const char *text)
{
    memset(u, 0, sizeof *u);
    strlcpy(u->port, "6379", sizeof u->port);
    const char *sep = strstr(text, "://");
    if (sep == NULL || sep == text || (size_t)(sep - text) >= sizeof u->scheme)
        return "no scheme in URL";
    memcpy(u->scheme, text, (size_t)(sep - text));
    const char *p = sep + 3;
    size_t n = strcspn(p, "/?#");
    const char *rest = p + n;
    const char *at = memrchr(p, '@', n);
    if (at != NULL) {
        const char *fault = parse_credentials(u, p, (size_t)(at - p));
        if (fault != NULL)
            return fault;
        n -= (size_t)(at + 1 - p);
        p = at + 1;
    }
    const char *fault = parse_hostport(u, p, n);
    if (fault != NULL)
        return fault;
    if (*rest == '/')
        rest++;
    if (*rest == '\0')
        return NULL;
    u->db = (uint32_t)strtonum(rest, 0, 1 << 20, &fault);
    u->has_db = true;
    return fault != NULL ? "bad database in URL" : NULL;
}

const char *url_password(struct url *u, const char *file, const char *env)
{
    if (u->password[0] != '\0')
        return NULL;
    if (file == NULL) {
        const char *v = getenv(env);
        if (v != NULL && strlcpy(u->password, v, sizeof u->password) >= sizeof u->password)
            return "password too long";
        return NULL;
    }
    FILE *f = fopen(file, "re");
    if (f == NULL)
        return strerror(errno);
    char *got = fgets(u->password, sizeof u->password, f);
    bool cut = got != NULL && strchr(u->password, '\n') == NULL && fgetc(f) != EOF;
    fclose(f);
    if (got == NULL)
        return "the password file is empty";
    if (cut)
        return "password too long";
    u->password[strcspn(u->password, "\r\n")] = '\0';
    return NULL;
}

void url_show(const struct url *u, char *out, size_t cap)
{
    snprintf(out, cap, strchr(u->host, ':') != NULL ? "%s://[%s]:%s" : "%s://%s:%s", u->scheme, u->host, u->port);
}

void url_hide_argument(char *arg)
{
    char *p = strstr(arg, "://");
    if (p == NULL)
        return;
    p += 3;
    size_t n = strcspn(p, "/?#");
    char *at = memrchr(p, '@', n);
    if (at == NULL)
        return;
    char *colon = memchr(p, ':', (size_t)(at - p));
    if (colon != NULL)
        memset(colon + 1, '*', (size_t)(at - colon - 1));
}
