#include "end.h"

#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "log.h"

#define SENTINEL_ENV "DF2REDIS_SENTINEL_PASSWORD"

static void prepare_tls(struct end *e, const char *label)
{
    char why[400];
    struct url *u = &e->side.url;
    if (!u->secure) {
        if (tls_options_given(&e->tls))
            fatal(EXIT_USAGE, "--%s-tls-* belongs to a server over TLS: rediss://HOST", label);
        return;
    }
    u->tls = tls_client(&e->tls, why, sizeof why);
    if (u->tls == NULL)
        fatal(EXIT_CANNOT, "%s: %s", label, why);
    if (e->tls.insecure)
        log_event(LOG_WARN, NO_FLOW,
                  "event=tls_not_verified side=%s note=\"--%s-tls-insecure: whoever answers is "
                  "believed\"",
                  label, label);
}

static void take_sentinels(struct end *e, const char *label)
{
    struct side_options *s = &e->side;
    if (!s->url.sentinel) {
        if (s->sentinel_user != NULL || e->sentinel_file != NULL)
            fatal(EXIT_USAGE, "--%s-sentinel-* belongs to sentinel://HOST/NAME", label);
        return;
    }
    const char *fault =
        url_secret(s->sentinel_password, sizeof s->sentinel_password, e->sentinel_file, SENTINEL_ENV);
    if (fault != NULL)
        fatal(EXIT_CANNOT, "password of the sentinels of the %s: %s", label, fault);
}

void end_take(struct end *e, const char *label, char *text)
{
    const char *variable =
        strcmp(label, "source") == 0 ? "DF2REDIS_SOURCE_PASSWORD" : "DF2REDIS_TARGET_PASSWORD";
    struct url *u = &e->side.url;
    const char *fault = strstr(text, "://") == NULL ? "no URL of a server, redis://HOST" : url_parse(u, text);
    if (!url_without_password(text, e->side.bare, sizeof e->side.bare))
        fault = "the URL is too long";
    url_hide_argument(text);
    if (fault != NULL)
        fatal(EXIT_USAGE, "%s: %s", label, fault);
    if (u->has_db)
        fatal(EXIT_USAGE, "%s: all databases are meant: leave the /db out of the URL", label);
    fault = url_password(u, e->password_file, variable);
    if (fault != NULL)
        fatal(EXIT_CANNOT, "%s: %s", e->password_file != NULL ? e->password_file : variable, fault);
    take_sentinels(e, label);
    e->side.tls = &e->tls;
    prepare_tls(e, label);
}

static void take_file(struct end *e, const char *label, const char *path)
{
    if (access(path, F_OK) != 0)
        fatal_errno(EXIT_CANNOT, "%s: neither a file nor the URL of a server, redis://HOST: %s", label, path);
    if (e->side.sentinel_user != NULL || e->sentinel_file != NULL || e->password_file != NULL ||
        tls_options_given(&e->tls))
        fatal(EXIT_USAGE, "%s: it is a file: --%s-* belongs to a server", label, label);
    e->side.file = path;
}

void end_take_any(struct end *e, const char *label, char *text)
{
    if (strstr(text, "://") == NULL)
        take_file(e, label, strncmp(text, "file:", 5) == 0 ? text + 5 : text);
    else
        end_take(e, label, text);
}
