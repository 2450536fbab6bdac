/* The options of the connections to one end, and its URL, for every program of this room. */
#ifndef CHECK_END_H
#define CHECK_END_H

#include "option.h"
#include "side.h"
#include "tls.h"

struct end {
    struct side_options side;
    struct tls_options tls;
    const char *password_file, *sentinel_file;
};

#define END_DEFAULTS                                                                                         \
    {                                                                                                        \
        .side = {.connect_timeout = 10 }                                                                     \
    }

/* NOLINTBEGIN(bugprone-macro-parentheses): a member's name does not stand in parentheses */

/* Rows of a table of options: of the member `end` of the struct `type`, each name with prefix before it. */
#define END_ROWS(type, end, prefix)                                                                          \
    OPTION_ARG(TEXT, prefix "-password-file", "FILE",                                                        \
               "password of the " prefix " (or its DF2REDIS_..._PASSWORD)",                                  \
               OPTION_AT(type, end.password_file)),                                                          \
        OPTION_ARG(TEXT, prefix "-sentinel-user", "NAME", "user and password of its sentinels",              \
                   OPTION_AT(type, end.side.sentinel_user)),                                                 \
        OPTION_ARG(TEXT, prefix "-sentinel-password-file", "FILE", "(or DF2REDIS_SENTINEL_PASSWORD)",        \
                   OPTION_AT(type, end.sentinel_file)),                                                      \
        OPTION_ARG(TEXT, prefix "-tls-ca", "FILE|DIR", "CA certificates to trust (those of the system)",     \
                   OPTION_AT(type, end.tls.ca)),                                                             \
        OPTION_ARG(TEXT, prefix "-tls-cert", "FILE", "our own certificate", OPTION_AT(type, end.tls.cert)),  \
        OPTION_ARG(TEXT, prefix "-tls-key", "FILE", "its key (in the same file)",                            \
                   OPTION_AT(type, end.tls.key)),                                                            \
        OPTION_ARG(TEXT, prefix "-tls-key-password-file", "FILE", "password of the key",                     \
                   OPTION_AT(type, end.tls.key_password)),                                                   \
        OPTION_ARG(TEXT, prefix "-tls-server-name", "NAME", "name in its certificate (the host)",            \
                   OPTION_AT(type, end.tls.server_name)),                                                    \
        OPTION_FLAG(ON, prefix "-tls-insecure", OPTION_AT(type, end.tls.insecure),                           \
                    "do not verify its certificate"),                                                        \
        OPTION_ARG(NUMBER, prefix "-connect-timeout", "SEC",                                                 \
                   "for connecting and each reply of the handshake (10)",                                    \
                   OPTION_AT(type, end.side.connect_timeout), .least = 1, .most = 3600)

/* NOLINTEND(bugprone-macro-parentheses) */

/* Take the URL in text (its password is overwritten there), passwords and certificates. label: "source" or
 * "target". Ends the process when something is wrong with them. */
void end_take(struct end *e, const char *label, char *text);

/* The same, or a file: side.file then names it. */
void end_take_any(struct end *e, const char *label, char *text);

#endif
