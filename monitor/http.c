#include "http.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "buf.h"
#include "heading.h"
#include "io.h"
#include "log.h"
#include "orders.h"
#include "posted.h"
#include "routes.h"

#define CONNECTIONS 64u
#define FROM_ONE    32u                  /* of these, from one address */
#define MEMORY      ((size_t)16384)      /* bytes of a connection: what a request line and headers may have */
#define IDLE        15u                  /* seconds without a byte */
#define REQUEST_US  ((uint64_t)30000000) /* for a request to come, however slowly its bytes drip */
#define CHECK_US    ((uint64_t)1000000)
#define PASSED_OVER ((size_t)1 << 20) /* bytes of a request that are read to be thrown away */
#define CIPHERS     "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* The page runs only what comes from here, and nobody frames it. */
#define POLICY                                                                                               \
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "          \
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

struct client {
    LIST_ENTRY(client) link;
    int fd;
    bool waits;     /* for a command: it is we who take long */
    uint64_t since; /* mono_us: it came, or its last request was complete */
};

/* From its headers to its answer. */
struct request {
    LIST_ENTRY(request) link; /* among those that wait for a command */
    struct MHD_Connection *c;
    struct client *client;
    struct answer answer; /* without a status: not known yet */
    struct buf body;      /* of what changes something */
    bool takes_body, too_large;
    struct order *order;
};

struct http {
    struct MHD_Daemon *daemon;
    struct guard guard;
    struct tasks *tasks;
    struct orders orders;
    int epoll;
    uint64_t checked;
    LIST_HEAD(, client) clients;
    LIST_HEAD(, request) waiting;
};

/* ---- answers ---- */

static void header(struct MHD_Response *r, const char *name, const char *text)
{
    (void)MHD_add_response_header(r, name, text);
}

static void number_header(struct MHD_Response *r, const char *name, unsigned n)
{
    char text[16];
    snprintf(text, sizeof text, "%u", n);
    header(r, name, text);
}

static void add_headers(struct MHD_Response *r, const struct answer *a)
{
    header(r, "Content-Type", a->type);
    header(r, "Cache-Control", a->fixed ? "max-age=60" : "no-store");
    header(r, "X-Content-Type-Options", "nosniff");
    header(r, "Referrer-Policy", "no-referrer");
    header(r, "Content-Security-Policy", POLICY);
    if (a->allow != NULL)
        header(r, "Allow", a->allow);
    if (a->status == 401)
        header(r, "WWW-Authenticate", "Bearer realm=\"df2redis\"");
    if (a->retry_after > 0)
        number_header(r, "Retry-After", a->retry_after);
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
    a->text = (struct buf){.max = 0}; /* the response's now */
    add_headers(r, a);
    enum MHD_Result rc = MHD_queue_response(c, a->status, r);
    MHD_destroy_response(r);
    return rc;
}

/* ---- requests ---- */

static struct client *client_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i != NULL ? i->socket_context : NULL;
}

/* Its headers are there; what else comes with it is still on its way, and taken only if we listen to it. */
static struct request *begin(struct http *h, struct MHD_Connection *c, const char *path, const char *method)
{
    struct request *r = xcalloc(1, sizeof *r);
    struct headers said;
    r->c = c;
    r->client = client_of(c);
    r->body.max = POSTED_MAX;
    answer_init(&r->answer);
    heading_read(c, &said);
    log_event(LOG_DEBUG, NO_FLOW, "event=request method=%s path=%s", log_quote(method, strlen(method)),
              log_quote(path, strlen(path)));
    bool listened = guard_allows(&h->guard, &said, method, path, heading_address(c), mono_us(), &r->answer);
    r->too_large = heading_longer(c, POSTED_MAX);
    r->takes_body = listened && h->guard.login != NULL && !guard_only_reads(method);
    return r;
}

static void take_body(struct request *r, const char *data, size_t n)
{
    if (r->takes_body && !r->too_large && buf_add(&r->body, data, n) != 0)
        r->too_large = true;
}

static void order(struct http *h, struct request *r, const char *path, const char *method)
{
    const char *allow;
    if (r->too_large)
        answer_error(&r->answer, 413, "the request is too large");
    else if (!orders_path(path, &allow))
        routes_answer(h->tasks, true, method, path, 0, 0, &r->answer);
    else
        r->order = orders_begin(&h->orders, method, path, r->body.p, r->body.len, mono_us(), &r->answer);
    if (r->body.p != NULL)
        explicit_bzero(r->body.p, r->body.cap);
    buf_free(&r->body);
}

/* Its body is not read at all. */
static enum MHD_Result refuse_large(struct request *r)
{
    if (r->answer.status == 0)
        answer_error(&r->answer, 413, "the request is too large");
    return send_answer(r->c, &r->answer);
}

/* Nothing more is taken from the other side until the command has ended. */
static void wait_for_command(struct http *h, struct request *r)
{
    LIST_INSERT_HEAD(&h->waiting, r, link);
    if (r->client != NULL)
        r->client->waits = true;
    MHD_suspend_connection(r->c);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **seen)
{
    struct http *h = cls;
    struct request *r = *seen;
    (void)version;
    if (r == NULL) {
        r = *seen = begin(h, c, path, method);
        return heading_longer(c, PASSED_OVER) ? refuse_large(r) : MHD_YES;
    }
    if (*upload_size > 0) {
        take_body(r, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (r->client != NULL)
        r->client->since = mono_us();
    if (r->answer.status == 0 && r->takes_body)
        order(h, r, path, method);
    else if (r->answer.status == 0)
        routes_answer(h->tasks, h->guard.login != NULL, method, path, heading_since(c),
                      (int64_t)(now_us() / 1000000), &r->answer);
    if (r->answer.status != 0)
        return send_answer(c, &r->answer);
    wait_for_command(h, r);
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **seen,
                         enum MHD_RequestTerminationCode code)
{
    struct request *r = *seen;
    (void)cls;
    (void)c;
    (void)code;
    if (r == NULL)
        return;
    buf_free(&r->answer.text);
    buf_free(&r->body);
    free(r);
    *seen = NULL;
}

/* The command has ended, or (a NULL) we do not wait for it. */
static void go_on(struct http *h, struct request *r, struct answer *a)
{
    orders_end(&h->orders, r->order, a);
    r->order = NULL;
    LIST_REMOVE(r, link);
    if (r->client != NULL) {
        r->client->waits = false;
        r->client->since = mono_us();
    }
    MHD_resume_connection(r->c);
}

/* What commands did is to be seen by whoever asks next. */
static void answer_commands(struct http *h)
{
    struct request *r, *next;
    bool any = false;
    for (r = LIST_FIRST(&h->waiting); r != NULL; r = next) {
        next = LIST_NEXT(r, link);
        if (!order_ended(r->order, mono_us()))
            continue;
        any = true;
        go_on(h, r, &r->answer);
    }
    if (any)
        tasks_look(h->tasks, (int64_t)(now_us() / 1000000));
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
        if (client->fd >= 0 && !client->waits && us_since(now, client->since) > REQUEST_US)
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

static struct MHD_Daemon *start(struct http *h, const struct http_setup *s)
{
    unsigned tls = s->cert != NULL ? MHD_USE_TLS : 0;
    struct MHD_OptionItem secure[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, NULL},
                                      {MHD_OPTION_HTTPS_MEM_KEY, 0, NULL},
                                      {MHD_OPTION_HTTPS_PRIORITIES, 0, NULL},
                                      {MHD_OPTION_END, 0, NULL}};
    union {
        const char *from;
        char *to;
    } cert = {s->cert}, key = {s->key}, ciphers = {CIPHERS};
    secure[0].ptr_value = cert.to;
    secure[1].ptr_value = key.to;
    secure[2].ptr_value = ciphers.to;
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME | tls, 0, NULL, NULL, on_request, h,
        MHD_OPTION_EXTERNAL_LOGGER, on_error, NULL, MHD_OPTION_LISTEN_SOCKET, s->fd,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT, FROM_ONE,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, IDLE,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls != 0 ? secure : &secure[3], MHD_OPTION_END);
}

struct http *http_open(const struct http_setup *s)
{
    struct http *h = xcalloc(1, sizeof *h);
    h->guard = s->guard;
    h->tasks = s->tasks;
    h->orders.tasks = s->tasks;
    h->orders.files = s->files;
    LIST_INIT(&h->clients);
    LIST_INIT(&h->waiting);
    h->daemon = start(h, s);
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
    struct request *r;
    while ((r = LIST_FIRST(&h->waiting)) != NULL) {
        answer_error(&r->answer, 503, "the monitor ends; the command goes on");
        go_on(h, r, NULL);
    }
    if (h->daemon != NULL)
        MHD_stop_daemon(h->daemon);
    free(h);
}

void http_turn(struct http *h, int timeout_ms)
{
    MHD_UNSIGNED_LONG_LONG most;
    struct pollfd p[1 + ORDERS_MAX] = {{.fd = h->epoll, .events = POLLIN}};
    unsigned n = 1 + orders_watch(&h->orders, p + 1);
    int ms = timeout_ms;
    if (MHD_get_timeout(h->daemon, &most) == MHD_YES && most < (MHD_UNSIGNED_LONG_LONG)ms)
        ms = (int)most;
    (void)poll(p, n, ms);
    answer_commands(h);
    (void)MHD_run(h->daemon);
    end_slow(h);
}
