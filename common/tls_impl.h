/* What the parts of TLS share: tls.c (transport), tls_context.c (options), tls_explain.c (words for
 * failures). */
#ifndef DF_TLS_IMPL_H
#define DF_TLS_IMPL_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls {
    SSL_CTX *ctx;
    char *server_name; /* NULL: the host that is connected to */
    bool insecure;
    bool has_cert; /* of our own */
};

#define TLS_WHY 360
#define TLS_OUT ((size_t)160 << 10)

struct tls_conn {
    SSL *ssl;
    const struct tls *tls;
    char name[256]; /* that the certificate has to be for */
    bool asked;     /* the server asked for a certificate and we have none */
    bool shaken;    /* the handshake is done */
    bool heard;     /* application data came */
    bool over;      /* nothing more will come or go */
    int error;      /* errno of that, 0: closed in order */
    int unsendable; /* errno: the socket takes nothing any more; something may still be read */
    uint8_t *out;   /* records that the socket has not taken yet; TLS_OUT bytes, NULL none so far */
    size_t out_at, out_end;
    char why[TLS_WHY];
};

/* Note in c->why why the certificate that x looks at is not accepted. */
void tls_explain_certificate(struct tls_conn *c, X509_STORE_CTX *x);

/* An operation failed with error (SSL_get_error) and errno fault: note in c->why what that means. Returns the
 * errno to be reported; *hopeless is set when trying again will not help. */
int tls_explain(struct tls_conn *c, int error, int fault, bool *hopeless);

/* What OpenSSL writes goes to c->out: then no record is ever half written, and several leave at once. NULL:
 * out of memory. */
BIO *tls_out_bio(struct tls_conn *c);

/* Bytes that may still be added to c->out. */
size_t tls_out_room(const struct tls_conn *c);

/* Send what is in c->out. Returns whether it is empty now; c->unsendable is set when the connection is
 * broken. */
bool tls_out_flush(struct tls_conn *c, int fd);

/* The innermost reason in OpenSSL's queue of errors, which is emptied. */
const char *tls_queued(void);

#endif
