#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <bsd/string.h>

#include "io.h"
#include "tls_impl.h"

#define PROBE_MS 500

static const char *tls_reason(const struct transport *t)
{
    const struct tls_conn *c = t->state;
    return c->why[0] != '\0' ? c->why : strerror(errno);
}

/* An operation gave rc, no success. Returns whether it only has to wait; crossed: for the other direction. */
static bool must_wait(struct transport *t, int rc, int against, bool *crossed)
{
    struct tls_conn *c = t->state;
    int fault = errno;
    int error = SSL_get_error(c->ssl, rc);
    *crossed = error == against;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return true;
    c->over = true;
    c->error = tls_explain(c, error, fault, &t->hopeless);
    return false;
}

/* As much as there is and fits: records hold 16 KiB at most, callers want more at a time. */
static ssize_t tls_read(struct transport *t, void *to, size_t n)
{
    struct tls_conn *c = t->state;
    size_t got = 0, k;
    bool waits = false;
    while (got < n && !c->over && !waits) {
        ERR_clear_error();
        errno = 0;
        int rc = SSL_read_ex(c->ssl, (char *)to + got, n - got, &k);
        if (rc == 1) {
            got += k;
            t->read_wants_out = false;
        } else {
            waits = must_wait(t, rc, SSL_ERROR_WANT_WRITE, &t->read_wants_out);
        }
    }
    if (got > 0) {
        c->heard = true;
        return (ssize_t)got;
    }
    if (!c->over)
        errno = EAGAIN;
    else if (c->error == 0)
        return 0;
    else
        errno = c->error;
    return -1;
}

static ssize_t tls_write(struct transport *t, const void *from, size_t n)
{
    struct tls_conn *c = t->state;
    size_t put = 0, k;
    bool waits = false;
    while (put < n && !c->over && !waits) {
        ERR_clear_error();
        errno = 0;
        int rc = SSL_write_ex(c->ssl, (const char *)from + put, n - put, &k);
        if (rc == 1) {
            put += k;
            t->write_wants_in = false;
        } else {
            waits = must_wait(t, rc, SSL_ERROR_WANT_READ, &t->write_wants_in);
        }
    }
    if (put > 0)
        return (ssize_t)put;
    errno = !c->over ? EAGAIN : c->error != 0 ? c->error : EPIPE;
    return -1;
}

/* The goodbye of TLS; after a failure OpenSSL forbids it. */
static void say_goodbye(struct tls_conn *c)
{
    if (!c->over && SSL_is_init_finished(c->ssl))
        (void)SSL_shutdown(c->ssl); /* what the socket does not take now is not sent: nobody waits for it */
    ERR_clear_error();
}

static void tls_finish(struct transport *t)
{
    say_goodbye(t->state);
    (void)shutdown(t->fd, SHUT_WR);
}

static void tls_close(struct transport *t)
{
    struct tls_conn *c = t->state;
    if (c != NULL) {
        say_goodbye(c);
        SSL_free(c->ssl);
        free(c);
    }
    t->state = NULL;
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

static int on_certificate(int good, X509_STORE_CTX *x)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (good == 0)
        tls_explain_certificate(SSL_get_app_data(ssl), x);
    return good;
}

/* What the certificate has to be for, and SNI, which is for names only. */
static bool expect_name(SSL *ssl, const char *name, bool insecure)
{
    unsigned char address[16];
    bool numeric = inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
    if (!numeric && SSL_set_tlsext_host_name(ssl, name) != 1)
        return false;
    if (insecure)
        return true;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int rc =
        numeric ? X509_VERIFY_PARAM_set1_ip_asc(param, name) : X509_VERIFY_PARAM_set1_host(param, name, 0);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, on_certificate);
    return rc == 1;
}

static SSL *make_ssl(struct tls_conn *c, int fd)
{
    SSL *ssl = SSL_new(c->tls->ctx);
    if (ssl == NULL)
        return NULL;
    (void)SSL_set_app_data(ssl, c);
    if (SSL_set_fd(ssl, fd) != 1 || !expect_name(ssl, c->name, c->tls->insecure)) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

int transport_open(struct transport *t, int fd, const struct tls *tls, const char *host)
{
    transport_plain(t, fd);
    if (tls == NULL)
        return 0;
    struct tls_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -1;
    c->tls = tls;
    strlcpy(c->name, tls->server_name != NULL ? tls->server_name : host, sizeof c->name);
    c->ssl = make_ssl(c, fd);
    ERR_clear_error();
    if (c->ssl == NULL) {
        free(c);
        errno = ENOMEM;
        return -1;
    }
    *t = (struct transport){.fd = fd,
                            .read = tls_read,
                            .write = tls_write,
                            .finish = tls_finish,
                            .close = tls_close,
                            .reason = tls_reason,
                            .state = c};
    return 0;
}

static int no_answer(struct tls_conn *c, int timeout_ms)
{
    c->over = true;
    c->error = ETIMEDOUT;
    (void)snprintf(c->why, sizeof c->why,
                   "no answer to the TLS handshake within %d s: does the server speak TLS?",
                   (timeout_ms + 999) / 1000);
    errno = ETIMEDOUT;
    return -1;
}

int transport_handshake(struct transport *t, int timeout_ms)
{
    struct tls_conn *c = t->state;
    if (c == NULL)
        return 0;
    uint64_t deadline = mono_us() + (uint64_t)timeout_ms * 1000;
    while (!c->over) {
        bool out;
        ERR_clear_error();
        errno = 0;
        int rc = SSL_do_handshake(c->ssl);
        if (rc == 1)
            return 0;
        if (!must_wait(t, rc, SSL_ERROR_WANT_WRITE, &out))
            break;
        uint64_t now = mono_us();
        if (now >= deadline)
            return no_answer(c, timeout_ms);
        struct pollfd pf = {.fd = t->fd, .events = out ? POLLOUT : POLLIN};
        if (poll(&pf, 1, (int)((deadline - now) / 1000) + 1) < 0)
            return -1;
    }
    errno = c->error != 0 ? c->error : ECONNRESET;
    return -1;
}

/* Does a Redis answer there without TLS? Such a server waits for the rest of what it takes for a command. */
static bool speaks_plainly(const struct endpoint *e)
{
    char why[300], first;
    int fd = sock_connect(e, PROBE_MS, why, sizeof why);
    if (fd < 0)
        return false;
    struct pollfd pf = {.fd = fd, .events = POLLIN};
    bool plain = send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && poll(&pf, 1, PROBE_MS) == 1 &&
                 recv(fd, &first, 1, 0) == 1 && (first == '+' || first == '-');
    close(fd);
    return plain;
}

int transport_connect(struct transport *t, const struct endpoint *e, const struct tls *tls, int timeout_ms,
                      char *why, size_t whylen, bool *hopeless)
{
    uint64_t end = mono_us() + (uint64_t)timeout_ms * 1000;
    if (hopeless != NULL)
        *hopeless = false;
    int fd = sock_connect(e, timeout_ms, why, whylen);
    if (fd < 0)
        return -1;
    if (transport_open(t, fd, tls, e->host) != 0) {
        snprintf(why, whylen, "out of memory");
        close(fd);
        return -1;
    }
    uint64_t now = mono_us();
    if (transport_handshake(t, now < end ? (int)((end - now) / 1000) + 1 : 1) == 0)
        return 0;
    int fault = errno;
    bool never = t->hopeless;
    const char *reason = transport_reason(t);
    if (!never && fault != EINTR && speaks_plainly(e)) {
        never = true;
        reason = "server does not speak TLS";
    }
    if (e->port[0] != '\0')
        snprintf(why, whylen, "%s:%s: %s", e->host, e->port, reason);
    else
        snprintf(why, whylen, "%s: %s", e->host, reason);
    if (hopeless != NULL)
        *hopeless = never;
    t->close(t);
    errno = fault;
    return -1;
}

bool tls_spoken(const struct endpoint *e)
{
    struct tls_options any = {.insecure = true};
    struct transport t;
    char why[300];
    struct tls *tls = tls_client(&any, why, sizeof why);
    int fd = tls != NULL ? sock_connect(e, PROBE_MS, why, sizeof why) : -1;
    bool spoken = false;
    if (fd >= 0 && transport_open(&t, fd, tls, e->host) == 0) {
        const struct tls_conn *c = t.state;
        spoken =
            transport_handshake(&t, PROBE_MS) == 0 || c->asked; /* asked for a certificate: that is TLS */
        t.close(&t);
    } else if (fd >= 0) {
        close(fd);
    }
    tls_free(tls);
    return spoken;
}
