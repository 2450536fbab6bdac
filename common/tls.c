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

#define PROBE_MS    500
#define RECORD_MAX  ((size_t)16 << 10)
#define RECORD_ROOM (RECORD_MAX + 2048) /* for one more record, and answers of the protocol beside it */

static const char *tls_reason(const struct transport *t)
{
    const struct tls_conn *c = t->state;
    return c->why[0] != '\0' ? c->why : strerror(errno);
}

/* An operation gave rc, no success. Returns whether it has to wait for input; else the connection is over. */
static bool must_wait(struct transport *t, int rc)
{
    struct tls_conn *c = t->state;
    int fault = errno;
    int error = SSL_get_error(c->ssl, rc);
    if (error == SSL_ERROR_WANT_READ)
        return true;
    c->over = true;
    c->error = tls_explain(c, error, fault, &t->hopeless);
    return false;
}

static void flush(struct transport *t)
{
    t->read_wants_out = !tls_out_flush(t->state, t->fd);
}

/* The connection is of no more use. Returns -1 with errno. */
static ssize_t broken(struct transport *t)
{
    struct tls_conn *c = t->state;
    if (c->over) {
        errno = c->error != 0 ? c->error : EPIPE;
        return -1;
    }
    int fault = c->unsendable; /* what the server had to say may still be read */
    errno = tls_explain(c, SSL_ERROR_SYSCALL, fault, &t->hopeless);
    return -1;
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
        if (rc == 1)
            got += k;
        else
            waits = must_wait(t, rc);
    }
    flush(t); /* of an earlier write, or an answer to what was read */
    if (got > 0) {
        c->heard = c->shaken = true;
        return (ssize_t)got;
    }
    if (c->over && c->error == 0)
        return 0;
    if (c->over || c->unsendable != 0) /* the latter: there is nothing left to read, and nothing will come */
        return broken(t);
    errno = EAGAIN;
    return -1;
}

/* Make one record of what is there. Returns its length in plain text, 0 when that cannot be now. */
static size_t add_record(struct transport *t, const char *from, size_t n)
{
    struct tls_conn *c = t->state;
    size_t k = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write_ex(c->ssl, from, n < RECORD_MAX ? n : RECORD_MAX, &k);
    if (rc == 1) {
        c->shaken = true;
        return k;
    }
    t->write_wants_in = must_wait(t, rc);
    return 0;
}

static ssize_t tls_write(struct transport *t, const void *from, size_t n)
{
    struct tls_conn *c = t->state;
    size_t put = 0;
    bool blocked = false;
    t->write_wants_in = false;
    while (put < n && !c->over && c->unsendable == 0 && !blocked) {
        while (put < n && tls_out_room(c) >= RECORD_ROOM) {
            size_t k = add_record(t, (const char *)from + put, n - put);
            if (k == 0)
                break;
            put += k;
        }
        blocked = !tls_out_flush(c, t->fd) || t->write_wants_in;
    }
    flush(t);
    if (c->over || c->unsendable != 0)
        return broken(t);
    if (put == 0 && n > 0) {
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)put;
}

/* The goodbye of TLS; after a failure OpenSSL forbids it. What the socket does not take now is not sent:
 * nobody waits for it. */
static void say_goodbye(struct transport *t)
{
    struct tls_conn *c = t->state;
    if (!c->over && c->shaken)
        (void)SSL_shutdown(c->ssl);
    ERR_clear_error();
    flush(t);
}

static void tls_finish(struct transport *t)
{
    say_goodbye(t);
    (void)shutdown(t->fd, SHUT_WR);
}

static void free_conn(struct tls_conn *c)
{
    SSL_free(c->ssl);
    free(c->out);
    free(c);
}

static void tls_close(struct transport *t)
{
    struct tls_conn *c = t->state;
    if (c != NULL) {
        say_goodbye(t);
        free_conn(c);
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
static bool expect_name(SSL *ssl, char *name, bool insecure)
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
    BIO *in = BIO_new_socket(fd, BIO_NOCLOSE), *out = tls_out_bio(c);
    SSL_set_bio(ssl, in, out);
    if (in == NULL || out == NULL || !expect_name(ssl, c->name, c->tls->insecure)) {
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
        free_conn(c);
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
    while (!c->over && c->unsendable == 0) {
        if (!c->shaken) {
            ERR_clear_error();
            errno = 0;
            int rc = SSL_do_handshake(c->ssl);
            c->shaken = rc == 1;
            if (rc != 1 && !must_wait(t, rc))
                break;
        }
        flush(t);
        if (c->shaken && !t->read_wants_out)
            return 0;
        uint64_t now = mono_us();
        if (now >= deadline)
            return no_answer(c, timeout_ms);
        struct pollfd pf = {.fd = t->fd, .events = (short)(POLLIN | (t->read_wants_out ? POLLOUT : 0))};
        if (poll(&pf, 1, (int)((deadline - now) / 1000) + 1) < 0)
            return -1;
    }
    flush(t); /* an alert */
    return (int)broken(t);
}

/* Such a server waits for the rest of what it takes for a command. */
bool tls_not_spoken(const struct endpoint *e)
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
    if (!never && fault != EINTR && tls_not_spoken(e)) {
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

const char *tls_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}
