#include "http.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <bsd/stdlib.h>

#include "address.h"
#include "buf.h"
#include "io.h"
#include "log.h"
#include "routes.h"

#define CONNECTIONS 64u
#define FROM_ONE    32u                  /* of these, from one address */
#define MEMORY      ((size_t)16384)      /* bytes of a connection: what a request line and headers may have */
#define IDLE        15u                  /* seconds without a byte */
#define REQUEST_US  ((uint64_t)30000000) /* for a request to come, however slowly its bytes drip */
#define CHECK_US    ((uint64_t)1000000)

/* The page runs only what comes from here, and nobody frames it. */
#define POLICY                                                                                               \
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "          \
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

struct client {
    LIST_ENTRY(client) link;
    int fd;
    uint64_t since; /* mono_us: it came, or its last request was complete */
};

struct http {
    struct MHD_Daemon *daemon;
    const struct options *o;
    const struct tasks *t;
    int epoll;
    uint64_t checked;
    LIST_HEAD(, client) clients;
};

/* ---- answers ---- */

static void header(struct MHD_Response *r, const char *name, const char *text)
{
    (void)MHD_add_response_header(r, name, text);
}

static enum MHD_Result send_answer(struct MHD_Connection *c, struct answer *a)
{
    bool fixed = a->data != NULL;
    union {
        const void *from;
        void *to;
    } data = {fixed ? a->data : a->text.p};
    struct MHD_Response *r = MHD_create_response_from_buffer(
        fixed ? a->n : a->text.len, data.to, fixed ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        buf_free(&a->text);
        return MHD_NO;
    }
    header(r, "Content-Type", a->type);
    header(r, "Cache-Control", a->fixed ? "max-age=60" : "no-store");
    header(r, "X-Content-Type-Options", "nosniff");
    header(r, "Referrer-Policy", "no-referrer");
    header(r, "Content-Security-Policy", POLICY);
    if (a->allow != NULL)
        header(r, "Allow", a->allow);
    enum MHD_Result rc = MHD_queue_response(c, a->status, r);
    MHD_destroy_response(r);
    return rc;
}

static void refuse(struct answer *a, unsigned status, const char *words)
{
    *a = (struct answer){.status = status, .type = "application/json"};
    (void)buf_addf(&a->text, "{\"error\":\"%s\"}\n", words);
}

static int64_t since_of(struct MHD_Connection *c)
{
    const char *fault, *text = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "since");
    int64_t since = text != NULL ? strtonum(text, 0, INT64_MAX / 2, &fault) : 0;
    return since;
}

/* Of the header Host there is one. */
static enum MHD_Result count_host(void *count, enum MHD_ValueKind kind, const char *name, const char *text)
{
    (void)kind;
    (void)text;
    *(unsigned *)count += strcasecmp(name, "Host") == 0;
    return MHD_YES;
}

/* The request's header Host; NULL: it has none, or several. */
static const char *host_of(struct MHD_Connection *c)
{
    unsigned count = 0;
    (void)MHD_get_connection_values(c, MHD_HEADER_KIND, count_host, &count);
    return count == 1 ? MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host") : NULL;
}

static struct client *client_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i != NULL ? i->socket_context : NULL;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **seen)
{
    static char begun;
    struct http *h = cls;
    struct client *client = client_of(c);
    struct answer a;
    (void)version;
    (void)upload;
    if (*seen == NULL) { /* headers only: what else comes with the request is still on its way */
        *seen = &begun;
        return MHD_YES;
    }
    if (*upload_size > 0) { /* nothing here takes a body */
        *upload_size = 0;
        return MHD_YES;
    }
    if (client != NULL)
        client->since = mono_us();
    const char *host = host_of(c);
    log_event(LOG_DEBUG, NO_FLOW, "event=request method=%s path=%s", log_quote(method, strlen(method)),
              log_quote(path, strlen(path)));
    if (!address_host(host, h->o->host, h->o->nhosts))
        refuse(&a, 403, "the header Host names neither the loopback nor a --host");
    else
        routes_answer(h->t, method, path, since_of(c), (int64_t)(now_us() / 1000000), &a);
    return send_answer(c, &a);
}

/* ---- connections ---- */

static void on_connection(void *cls, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *h = cls;
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct client *client = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        client = xcalloc(1, sizeof *client);
        client->fd = i != NULL ? i->connect_fd : -1;
        client->since = mono_us();
        LIST_INSERT_HEAD(&h->clients, client, link);
        *context = client;
    } else if (client != NULL) {
        LIST_REMOVE(client, link);
        free(client);
        *context = NULL;
    }
}

/* Whoever sends a byte now and then is never idle: it gets no more than a time for all. */
static void end_slow(struct http *h)
{
    uint64_t now = mono_us();
    struct client *client;
    if (us_since(now, h->checked) < CHECK_US)
        return;
    h->checked = now;
    LIST_FOREACH(client, &h->clients, link)
    {
        if (client->fd >= 0 && us_since(now, client->since) > REQUEST_US)
            (void)shutdown(client->fd, SHUT_RDWR);
    }
}

static void on_error(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_error(void *cls, const char *fmt, va_list ap)
{
    char text[400];
    (void)cls;
    (void)vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    log_event(LOG_INFO, NO_FLOW, "event=http error=%s", log_quote(text, strlen(text)));
}

/* ---- all ---- */

struct http *http_open(int fd, const struct options *o, const struct tasks *t)
{
    struct http *h = xcalloc(1, sizeof *h);
    h->o = o;
    h->t = t;
    LIST_INIT(&h->clients);
    h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
                                 MHD_OPTION_EXTERNAL_LOGGER, on_error, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
                                 MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                                 FROM_ONE, MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY,
                                 MHD_OPTION_CONNECTION_TIMEOUT, IDLE, MHD_OPTION_NOTIFY_CONNECTION,
                                 on_connection, h, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    const union MHD_DaemonInfo *i =
        h->daemon != NULL ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (i != NULL) {
        h->epoll = i->epoll_fd;
        return h;
    }
    log_event(LOG_ERROR, NO_FLOW, "event=http error=\"libmicrohttpd does not start\"");
    http_close(h);
    return NULL;
}

void http_close(struct http *h)
{
    if (h->daemon != NULL)
        MHD_stop_daemon(h->daemon);
    free(h);
}

void http_turn(struct http *h, int timeout_ms)
{
    MHD_UNSIGNED_LONG_LONG most;
    struct pollfd p = {.fd = h->epoll, .events = POLLIN};
    int ms = timeout_ms;
    if (MHD_get_timeout(h->daemon, &most) == MHD_YES && most < (MHD_UNSIGNED_LONG_LONG)ms)
        ms = (int)most;
    (void)poll(&p, 1, ms);
    (void)MHD_run(h->daemon);
    end_slow(h);
}
