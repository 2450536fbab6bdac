/* Words for what goes wrong in TLS: the cause, and where it helps what to do. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "tls_impl.h"

/* Text from a certificate, fit for a message. */
static void add_text(char *to, size_t cap, const char *text, size_t n)
{
    size_t at = strlen(to);
    if (at > 0 && at + 2 < cap) {
        strlcat(to, ", ", cap);
        at += 2;
    }
    for (size_t i = 0; i < n && at + 1 < cap; i++)
        to[at++] = text[i] >= ' ' && text[i] <= '~' && text[i] != '"' && text[i] != '\\' ? text[i] : '?';
    to[at < cap ? at : cap - 1] = '\0';
}

static void add_asn1(char *to, size_t cap, const ASN1_STRING *s)
{
    int n = ASN1_STRING_length(s);
    add_text(to, cap, (const char *)ASN1_STRING_get0_data(s), n > 0 ? (size_t)n : 0);
}

static void add_address(char *to, size_t cap, const ASN1_STRING *s)
{
    char text[INET6_ADDRSTRLEN] = "?";
    int n = ASN1_STRING_length(s);
    if (n == 4 || n == 16)
        (void)inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, sizeof text);
    add_text(to, cap, text, strlen(text));
}

static void common_name(char *to, size_t cap, const X509_NAME *name)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    const X509_NAME_ENTRY *e = at >= 0 ? X509_NAME_get_entry(name, at) : NULL;
    if (e != NULL)
        add_asn1(to, cap, X509_NAME_ENTRY_get_data(e));
}

/* What a certificate is for: its alternative names, or its common name. */
static void names_of(const X509 *cert, char *to, size_t cap)
{
    to[0] = '\0';
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type == GEN_DNS)
            add_asn1(to, cap, n->d.dNSName);
        else if (n->type == GEN_IPADD)
            add_address(to, cap, n->d.iPAddress);
    }
    GENERAL_NAMES_free(names);
    if (to[0] == '\0')
        common_name(to, cap, X509_get_subject_name(cert));
    if (to[0] == '\0')
        strlcpy(to, "nobody", cap);
}

static void time_text(const ASN1_TIME *at, char *to, size_t cap)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(at, &tm) != 1 || strftime(to, cap, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        strlcpy(to, "?", cap);
}

void tls_explain_certificate(struct tls_conn *c, X509_STORE_CTX *x)
{
    const X509 *cert = X509_STORE_CTX_get_current_cert(x);
    int error = X509_STORE_CTX_get_error(x);
    char text[160] = "";
    if (c == NULL || c->why[0] != '\0')
        return;
    int n = snprintf(c->why, sizeof c->why, "certificate verify failed: ");
    char *to = c->why + n;
    size_t cap = sizeof c->why - (size_t)n;
    if (cert != NULL && (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)) {
        names_of(cert, text, sizeof text);
        snprintf(to, cap, "host name mismatch: certificate is for %s, not for %.80s", text, c->name);
        return;
    }
    snprintf(to, cap, "%s", X509_verify_cert_error_string(error));
    n = (int)strlen(to);
    if (cert != NULL && (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID)) {
        bool past = error == X509_V_ERR_CERT_HAS_EXPIRED;
        time_text(past ? X509_get0_notAfter(cert) : X509_get0_notBefore(cert), text, sizeof text);
        snprintf(to + n, cap - (size_t)n, " (valid %s %s)", past ? "until" : "from", text);
    } else if (cert != NULL) {
        common_name(text, sizeof text, X509_get_issuer_name(cert));
        snprintf(to + n, cap - (size_t)n, " (issuer '%.60s', see --tls-ca)", text);
    }
}

static const struct {
    int reason;
    const char *words;
} known[] = {
    {SSL_R_WRONG_VERSION_NUMBER, "server does not speak TLS"},
    {SSL_R_HTTP_REQUEST, "server does not speak TLS"},
    {SSL_R_PACKET_LENGTH_TOO_LONG, "server does not speak TLS"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "server requires a client certificate (--tls-cert, --tls-key)"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "server speaks no TLS 1.2 or later"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "server speaks no version of TLS that we do (1.2 and later)"},
    {SSL_R_TLSV1_UNRECOGNIZED_NAME, "server does not know the name it was called by (--tls-server-name)"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "server refuses the handshake: no cipher in common"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "server does not accept our certificate: it does not know the CA"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "server does not accept our certificate: it has expired"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "server does not accept our certificate: it was revoked"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "server does not accept our certificate"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "server does not accept our certificate: wrong kind"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "server does not accept our certificate"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, "server denies access to our certificate"},
};

static const char *words_for(int reason)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].reason == reason)
            return known[i].words;
    return NULL;
}

/* A server that wanted a certificate and got none often says so only by hanging up: TLS 1.3 lets it, and what
 * it said may be lost with the connection. */
static bool wanted_certificate(const struct tls_conn *c)
{
    return c->asked && !c->tls->has_cert && !c->heard;
}

static int hung_up(struct tls_conn *c, int fault, bool *hopeless)
{
    if (wanted_certificate(c)) {
        strlcpy(c->why,
                "server requires a client certificate (--tls-cert, --tls-key): it asked for one and hung up",
                sizeof c->why);
        *hopeless = true;
    } else if (!c->shaken && (fault == 0 || fault == ECONNRESET || fault == EPIPE)) {
        strlcpy(c->why, "server hung up in the TLS handshake: does it speak TLS on this port?",
                sizeof c->why);
    } else if (!c->shaken) {
        snprintf(c->why, sizeof c->why, "TLS handshake: %s", strerror(fault));
    }
    return fault != 0 ? fault : ECONNRESET;
}

int tls_explain(struct tls_conn *c, int error, int fault, bool *hopeless)
{
    unsigned long e = ERR_peek_last_error();
    int reason = ERR_GET_REASON(e);
    if (error == SSL_ERROR_ZERO_RETURN) {
        if (!wanted_certificate(c))
            return 0;
        return hung_up(c, 0, hopeless);
    }
    bool cut = error == SSL_ERROR_SSL && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    if (error == SSL_ERROR_SYSCALL || cut) {
        ERR_clear_error();
        return hung_up(c, cut ? 0 : fault, hopeless);
    }
    *hopeless = true;
    if (c->why[0] == '\0') { /* else the certificate was refused, and why is there */
        const char *words = words_for(reason);
        if (reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE && wanted_certificate(c))
            words = words_for(SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
        if (words != NULL)
            strlcpy(c->why, words, sizeof c->why);
        else
            snprintf(c->why, sizeof c->why, "TLS: %s", tls_queued());
    }
    ERR_clear_error();
    return EPROTO;
}
