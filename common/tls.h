/* TLS for connections that we open: a context from options, and transports (sock.h) over it. OpenSSL; TLS 1.2
 * at least. The chain and the host name or address are verified unless the options say otherwise. */
#ifndef DF_TLS_H
#define DF_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "option.h"
#include "sock.h"

struct tls_options {
    const char *ca;           /* file or folder of certificates to trust; NULL: those of the system */
    const char *cert;         /* our own certificate (chain), NULL none */
    const char *key;          /* its key; NULL: in the same file */
    const char *key_password; /* file whose first line opens the key */
    const char
        *server_name; /* expected in the certificate and sent as SNI; NULL: the host that is connected to */
    bool insecure;    /* verify nothing */
};

/* The options for a struct tls_options, for an OPTION_TABLE. */
extern const struct option_row tls_rows[];

/* Something was set. */
bool tls_options_given(const struct tls_options *o);

/* A context for any number of connections. NULL: why says what is wrong. */
struct tls;
struct tls *tls_client(const struct tls_options *o, char *why, size_t whylen);
void tls_free(struct tls *tls);

/* A transport over fd, which is connected or still connecting; plain when tls is NULL. host: what was
 * connected to (name or address). The handshake happens in read and write. Returns 0, or -1 out of memory (fd
 * is the caller's then). */
int transport_open(struct transport *t, int fd, const struct tls *tls, const char *host);

/* Connect and do the handshake, all within timeout_ms. Returns 0, or -1 with errno (EINTR: a signal ended it)
 * and a reason in why; *hopeless, if not NULL, then says whether trying again will not help. */
int transport_connect(struct transport *t, const struct endpoint *e, const struct tls *tls, int timeout_ms,
                      char *why, size_t whylen, bool *hopeless);

/* Does a server that did not understand us speak TLS? Looks for at most a second or so. */
bool tls_spoken(const struct endpoint *e);

/* Does a Redis answer there without TLS? */
bool tls_not_spoken(const struct endpoint *e);

/* Do the handshake now. Returns 0 (at once for a plain transport), or -1 with errno: ETIMEDOUT after
 * timeout_ms, EINTR by a signal; transport_reason says more. */
int transport_handshake(struct transport *t, int timeout_ms);

/* Of the OpenSSL that is loaded. */
const char *tls_library_version(void);

#endif
