/* A TLS context from options: whom to trust, who we are. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bsd/string.h>

#include "buf.h"
#include "tls.h"
#include "tls_impl.h"

#define READ_AHEAD ((size_t)128 << 10) /* several records with one system call */

#define AT(field)  OPTION_AT(struct tls_options, field)

const struct option_row tls_rows[] = {
    OPTION_ARG(TEXT, "tls-ca", "FILE|DIR", "CA certificates to trust (those of the system)", AT(ca)),
    OPTION_ARG(TEXT, "tls-cert", "FILE", "our own certificate, where the other side wants one", AT(cert)),
    OPTION_ARG(TEXT, "tls-key", "FILE", "its key (in the same file)", AT(key)),
    OPTION_ARG(TEXT, "tls-key-password-file", "FILE", "password of the key", AT(key_password)),
    OPTION_ARG(TEXT, "tls-server-name", "NAME", "name in the other side's certificate (the host)",
               AT(server_name)),
    OPTION_FLAG(ON, "tls-insecure", AT(insecure), "do not verify the other side's certificate"),
    {.kind = OPTION_END},
};

bool tls_options_given(const struct tls_options *o)
{
    return o->ca != NULL || o->cert != NULL || o->key != NULL || o->key_password != NULL ||
           o->server_name != NULL || o->insecure;
}

const char *tls_queued(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(e);
    if (text == NULL && ERR_SYSTEM_ERROR(e) != 0)
        text = strerror(ERR_GET_REASON(e));
    ERR_clear_error();
    return text != NULL ? text : "unknown error";
}

/* A name that OpenSSL looks up by itself: eight hex digits, a dot, a number. */
static bool hashed_name(const char *s)
{
    size_t n = strspn(s, "0123456789abcdefABCDEF");
    return n == 8 && s[8] == '.' && isdigit((unsigned char)s[9]) != 0;
}

/* A folder as "openssl rehash" leaves it, or simply one with certificates in it. */
static int trust_folder(SSL_CTX *ctx, const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return -1;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    bool hashed = false;
    int loaded = 0;
    for (const struct dirent *e; (e = readdir(d)) != NULL && !hashed;) {
        char path[4096];
        struct stat st;
        hashed = hashed_name(e->d_name);
        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (hashed || n < 0 || (size_t)n >= sizeof path || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        loaded += X509_STORE_load_file(store, path) == 1; /* other files may lie there too */
    }
    closedir(d);
    ERR_clear_error();
    if (hashed)
        return X509_STORE_load_path(store, dir) == 1 ? 1 : 0;
    return loaded;
}

static bool trust(SSL_CTX *ctx, const char *ca, char *why, size_t whylen)
{
    struct stat st;
    if (ca == NULL) {
        if (SSL_CTX_set_default_verify_paths(ctx) == 1)
            return true;
        snprintf(why, whylen, "the system's certificates: %s", tls_queued());
        return false;
    }
    if (stat(ca, &st) != 0) {
        snprintf(why, whylen, "%s: %s", ca, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode)) {
        int n = trust_folder(ctx, ca);
        if (n <= 0)
            snprintf(why, whylen, "%s: %s", ca, n < 0 ? strerror(errno) : "no certificates in this folder");
        return n > 0;
    }
    if (access(ca, R_OK) != 0)
        snprintf(why, whylen, "%s: %s", ca, strerror(errno));
    else if (SSL_CTX_load_verify_file(ctx, ca) != 1)
        snprintf(why, whylen, "%s: no certificate in it (%s)", ca, tls_queued());
    else
        return true;
    return false;
}

struct passphrase {
    const char *file;
    bool asked;
    int error; /* errno of reading the file */
};

static int give_passphrase(char *to, int cap, int writing, void *user)
{
    struct passphrase *p = user;
    (void)writing;
    p->asked = true;
    if (p->file == NULL)
        return -1;
    FILE *f = fopen(p->file, "re");
    if (f == NULL) {
        p->error = errno;
        return -1;
    }
    char *got = fgets(to, cap, f);
    fclose(f);
    if (got == NULL)
        return -1;
    to[strcspn(to, "\r\n")] = '\0';
    return (int)strlen(to);
}

static bool load_key(SSL_CTX *ctx, const char *key, struct passphrase *p, char *why, size_t whylen)
{
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1)
        return true;
    const char *reason = tls_queued();
    if (p->error != 0)
        snprintf(why, whylen, "%s: %s", p->file, strerror(p->error));
    else if (p->asked && p->file == NULL)
        snprintf(why, whylen, "%s: the key is encrypted: give its password with --tls-key-password-file",
                 key);
    else if (p->asked)
        snprintf(why, whylen, "%s: the password in %s does not open the key", key, p->file);
    else
        snprintf(why, whylen, "%s: no private key that goes with the certificate (%s)", key, reason);
    return false;
}

static bool identify(SSL_CTX *ctx, const struct tls_options *o, char *why, size_t whylen)
{
    if (o->cert == NULL && (o->key != NULL || o->key_password != NULL)) {
        snprintf(why, whylen, "--tls-key needs --tls-cert");
        return false;
    }
    if (o->cert == NULL)
        return true;
    const char *key = o->key != NULL ? o->key : o->cert;
    if (access(o->cert, R_OK) != 0 || access(key, R_OK) != 0) {
        int fault = errno;
        snprintf(why, whylen, "%s: %s", access(o->cert, R_OK) != 0 ? o->cert : key, strerror(fault));
        return false;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, o->cert) != 1) {
        snprintf(why, whylen, "%s: no certificate in it (%s)", o->cert, tls_queued());
        return false;
    }
    struct passphrase p = {.file = o->key_password};
    SSL_CTX_set_default_passwd_cb(ctx, give_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &p);
    bool ok = load_key(ctx, key, &p, why, whylen);
    SSL_CTX_set_default_passwd_cb(ctx, NULL);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    return ok;
}

/* Only called when no certificate was loaded. */
static int on_request(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    struct tls_conn *c = SSL_get_app_data(ssl);
    (void)cert;
    (void)key;
    if (c != NULL)
        c->asked = true;
    return 0;
}

static void configure(SSL_CTX *ctx)
{
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER); /* in the handshake */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
}

struct tls *tls_client(const struct tls_options *o, char *why, size_t whylen)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL) {
        snprintf(why, whylen, "OpenSSL: %s", tls_queued());
        return NULL;
    }
    configure(ctx);
    if ((!o->insecure && !trust(ctx, o->ca, why, whylen)) || !identify(ctx, o, why, whylen)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_verify(ctx, o->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (o->cert == NULL)
        SSL_CTX_set_client_cert_cb(ctx, on_request);
    struct tls *tls = xcalloc(1, sizeof *tls);
    tls->ctx = ctx;
    tls->insecure = o->insecure;
    tls->has_cert = o->cert != NULL;
    tls->server_name = o->server_name != NULL ? xstrdup(o->server_name) : NULL;
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->ctx);
    free(tls->server_name);
    free(tls);
}
