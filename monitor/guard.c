#include "guard.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "assets.h"
#include "log.h"

bool guard_only_reads(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* What tells nothing of tasks: the page asks for the token itself. */
static bool is_open(const char *path)
{
    return asset_find(path) != NULL || strcmp(path, "/healthz") == 0 || strcmp(path, "/readyz") == 0;
}

static bool refuse(struct answer *a, unsigned status, const char *words)
{
    answer_error(a, status, words);
    return false;
}

/* A browser says from which page a request comes: one of ours. */
static bool is_own_origin(const struct guard *g, const struct headers *h)
{
    const char *scheme = g->tls ? "https://" : "http://";
    size_t n = strlen(scheme);
    return h->origin == NULL ||
           (strncasecmp(h->origin, scheme, n) == 0 && strcasecmp(h->origin + n, h->host) == 0);
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    return type != NULL && strncasecmp(type, json, sizeof json - 1) == 0 &&
           strchr("; \t", type[sizeof json - 1]) != NULL; /* also its end */
}

static void log_failure(const struct sockaddr *from)
{
    char host[64] = "?";
    socklen_t n = from == NULL                 ? 0
                  : from->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                               : sizeof(struct sockaddr_in6);
    if (n > 0 && getnameinfo(from, n, host, sizeof host, NULL, 0, NI_NUMERICHOST) != 0)
        host[0] = '?';
    log_event(LOG_WARN, NO_FLOW, "event=login_failed from=%s", log_quote(host, strlen(host)));
}

static bool log_in(const struct guard *g, const struct headers *h, const struct sockaddr *from, uint64_t now,
                   struct answer *a)
{
    switch (login_check(g->login, from, h->authorization, now)) {
    case LOGIN_GOOD: return true;
    case LOGIN_MISSING: return refuse(a, 401, "this needs the header Authorization: Bearer TOKEN");
    case LOGIN_LIMITED: a->retry_after = 2; return refuse(a, 429, "too many wrong tokens: wait a little");
    case LOGIN_WRONG: break;
    }
    log_failure(from);
    return refuse(a, 401, "the token is wrong");
}

bool guard_allows(const struct guard *g, const struct headers *h, const char *method, const char *path,
                  const struct sockaddr *from, uint64_t now, struct answer *a)
{
    bool reads = guard_only_reads(method);
    if (!address_host(h->host, g->name, g->names))
        return refuse(a, 403, "the header Host names neither the loopback nor a --host");
    if (g->login == NULL || (reads && (g->open || is_open(path))))
        return true; /* whatever changes something is none of the paths, then */
    if (!reads && !is_own_origin(g, h))
        return refuse(a, 403, "the header Origin names another site");
    if (!log_in(g, h, from, now, a))
        return false;
    if (!reads && h->body && !is_json(h->type))
        return refuse(a, 415, "what is sent has the header Content-Type: application/json");
    return true;
}
