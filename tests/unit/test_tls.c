/* The transport over TLS as an event loop uses it: on a socket that is still connecting, waiting only for
 * what the transport says, both directions at once, with keys renewed on the way. A child process is the
 * server. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#include "../../common/io.h"
#include "../../common/tls.h"

#define TOTAL ((size_t)6 << 20)
#define STEP  ((size_t)100000)

struct server {
    EVP_PKEY *key;
    X509 *cert;
    char ca[64]; /* file with the certificate */
    int fd;      /* listens */
    char port[8];
};

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(e != NULL && X509_add_ext(cert, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static void make_certificate(struct server *s)
{
    s->key = EVP_EC_gen("P-256");
    s->cert = X509_new();
    (void)X509_set_version(s->cert, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(s->cert), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(s->cert), -60);
    (void)X509_gmtime_adj(X509_getm_notAfter(s->cert), 3600);
    (void)X509_set_pubkey(s->cert, s->key);
    X509_NAME *name = X509_get_subject_name(s->cert);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"unit", -1, -1, 0);
    (void)X509_set_issuer_name(s->cert, name);
    add_extension(s->cert, NID_subject_alt_name, "IP:127.0.0.1");
    add_extension(s->cert, NID_basic_constraints, "critical,CA:TRUE");
    CHECK(X509_sign(s->cert, s->key, EVP_sha256()) > 0);
    strcpy(s->ca, "/tmp/test_tls.XXXXXX");
    int fd = mkstemp(s->ca);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    CHECK(f != NULL && PEM_write_X509(f, s->cert) == 1 && fclose(f) == 0);
}

static void listen_on(struct server *s)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(s->fd, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(s->fd, 5) == 0);
    CHECK(getsockname(s->fd, (struct sockaddr *)&sa, &len) == 0);
    snprintf(s->port, sizeof s->port, "%u", ntohs(sa.sin_port));
}

/* The child: what comes is sent back. The keys are renewed now and then, which the client has to answer. */
static void echo(SSL *ssl, int version)
{
    static char data[30000];
    size_t done = 0;
    int turns = 0;
    while (done < TOTAL) {
        int n = SSL_read(ssl, data, sizeof data);
        if (n <= 0 || SSL_write(ssl, data, n) != n)
            _exit(1);
        done += (size_t)n;
        if (version == TLS1_3_VERSION && ++turns % 50 == 0)
            (void)SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
    }
    (void)SSL_shutdown(ssl);
    while (read(SSL_get_fd(ssl), data, sizeof data) > 0) /* closing with something unread would be a reset */
        continue;
}

static pid_t serve(const struct server *s, int version)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    alarm(30);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    (void)SSL_CTX_set_min_proto_version(ctx, version);
    (void)SSL_CTX_set_max_proto_version(ctx, version);
    int fd = accept(s->fd, NULL, NULL);
    usleep(20000); /* the client meets a handshake that is not answered yet */
    SSL *ssl = SSL_CTX_use_certificate(ctx, s->cert) == 1 && SSL_CTX_use_PrivateKey(ctx, s->key) == 1
                   ? SSL_new(ctx)
                   : NULL;
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_accept(ssl) != 1)
        _exit(1);
    echo(ssl, version);
    _exit(0);
}

struct traffic {
    uint8_t *out, *in;
    size_t sent, got;
    bool ended; /* the server has said goodbye */
    bool broken;
    unsigned waits;
};

static void give(struct transport *t, struct traffic *x)
{
    while (x->sent < TOTAL) {
        size_t n = TOTAL - x->sent < STEP ? TOTAL - x->sent : STEP;
        ssize_t k = t->write(t, x->out + x->sent, n);
        if (k < 0) {
            x->broken = errno != EAGAIN;
            return;
        }
        x->sent += (size_t)k;
    }
}

/* As the writer does it: until there is less than was asked for. */
static void take(struct transport *t, struct traffic *x)
{
    static uint8_t beyond[STEP];
    for (;;) {
        size_t n = TOTAL - x->got < STEP ? TOTAL - x->got : STEP;
        ssize_t k = t->read(t, n > 0 ? x->in + x->got : beyond, n > 0 ? n : STEP);
        if (k <= 0) {
            x->ended = k == 0;
            x->broken = k < 0 && errno != EAGAIN;
            return;
        }
        x->got += (size_t)k;
        if ((size_t)k < n || n == 0)
            return;
    }
}

static void exchange(struct transport *t, struct traffic *x)
{
    while (!x->ended && !x->broken) {
        bool out = transport_wants_out(t, x->sent < TOTAL);
        struct pollfd pf = {.fd = t->fd, .events = (short)(POLLIN | (out ? POLLOUT : 0))};
        if (!CHECK(poll(&pf, 1, 10000) == 1)) /* whoever waits for the wrong thing waits for ever */
            return;
        x->waits++;
        if ((pf.revents & ~POLLOUT) != 0 || t->read_wants_out)
            take(t, x);
        if (!x->broken && ((pf.revents & POLLOUT) != 0 || t->write_wants_in))
            give(t, x);
    }
}

static void event_loop(struct server *s, int version)
{
    char why[400] = "";
    struct transport t;
    struct tls_options o = {.ca = s->ca};
    struct tls *tls = tls_client(&o, why, sizeof why);
    EQ_S(why, "");
    pid_t child = serve(s, version);
    int fd = sock_tcp_start("127.0.0.1", s->port, 0, why, sizeof why);
    CHECK(fd >= 0);
    CHECK(transport_open(&t, fd, tls, "127.0.0.1") == 0);
    struct traffic x = {.out = malloc(TOTAL), .in = calloc(1, TOTAL)};
    for (size_t i = 0; i < TOTAL; i++)
        x.out[i] = (uint8_t)(i * 2654435761u >> 13);
    exchange(&t, &x);
    CHECK(x.ended && !x.broken);
    if (x.broken)
        printf("  %s\n", transport_reason(&t));
    EQ(x.got, TOTAL);
    CHECK(memcmp(x.in, x.out, TOTAL) == 0);
    CHECK(x.waits < 20000); /* and does not spin */
    t.close(&t);
    t.close(&t); /* does nothing */
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    tls_free(tls);
    free(x.out);
    free(x.in);
}

/* The same connection, refused for its certificate within read or write. */
static void refused(struct server *s, const char *name, const char *want)
{
    char why[400] = "", one;
    struct transport t;
    struct tls_options o = {.ca = s->ca, .server_name = name};
    struct tls *tls = tls_client(&o, why, sizeof why);
    pid_t child = serve(s, TLS1_3_VERSION);
    int fd = sock_tcp_start("127.0.0.1", s->port, 0, why, sizeof why);
    CHECK(transport_open(&t, fd, tls, "127.0.0.1") == 0);
    ssize_t k;
    while ((k = t.read(&t, &one, 1)) < 0 && errno == EAGAIN)
        transport_wait(&t, true, 1000);
    EQ_I(k, -1);
    EQ_I(errno, EPROTO);
    EQ_S(transport_reason(&t), want);
    CHECK(t.hopeless);
    CHECK(t.write(&t, "x", 1) < 0 && errno == EPROTO);
    t.close(&t);
    tls_free(tls);
    kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
}

static void starting(const struct server *s)
{
    char why[400];
    int fd = sock_tcp_start("127.0.0.1", s->port, 0, why, sizeof why);
    struct pollfd pf = {.fd = fd, .events = POLLOUT};
    CHECK(poll(&pf, 1, 5000) == 1 && sock_tcp_done(fd) == 0);
    close(fd);
    fd = sock_tcp_start("127.0.0.1", "1", 0, why, sizeof why); /* nobody there */
    pf.fd = fd;
    CHECK(fd < 0 || (poll(&pf, 1, 5000) == 1 && sock_tcp_done(fd) < 0 && errno == ECONNREFUSED));
    if (fd >= 0)
        close(fd);
    EQ_I(sock_tcp_start("no.such.host.invalid", "1", 0, why, sizeof why), -1);
    CHECK(strncmp(why, "cannot resolve no.such.host.invalid", 35) == 0);
    EQ_I(sock_connect(&(struct endpoint){"127.0.0.1", "1"}, 1000, why, sizeof why), -1);
    EQ_S(why, "cannot connect to 127.0.0.1:1: Connection refused");
}

/* TLS on a connection that is refused: an error, not silence for ever. */
static void refused_connection(struct server *s)
{
    char why[400], one;
    struct transport t;
    struct tls_options o = {.ca = s->ca};
    struct tls *tls = tls_client(&o, why, sizeof why);
    int fd = sock_tcp_start("127.0.0.1", "1", 0, why, sizeof why);
    if (fd >= 0 && CHECK(transport_open(&t, fd, tls, "127.0.0.1") == 0)) {
        unsigned tries = 0;
        while (t.read(&t, &one, 1) < 0 && errno == EAGAIN && ++tries < 10)
            transport_wait(&t, true, 200);
        CHECK(tries < 10 && errno != EAGAIN);
        t.close(&t);
    }
    tls_free(tls);
}

int main(void)
{
    struct server s = {.fd = -1};
    (void)signal(SIGPIPE, SIG_IGN);
    make_certificate(&s);
    listen_on(&s);
    event_loop(&s, TLS1_3_VERSION);
    event_loop(&s, TLS1_2_VERSION);
    refused(&s, "elsewhere",
            "certificate verify failed: host name mismatch: certificate is for 127.0.0.1, not for elsewhere");
    refused_connection(&s);
    starting(&s);
    unlink(s.ca);
    close(s.fd);
    X509_free(s.cert);
    EVP_PKEY_free(s.key);
    return test_done();
}
