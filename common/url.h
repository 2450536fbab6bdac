/* URLs of sources and targets: scheme://[user[:password]@]host[:port][/db], percent-encoded; IPv6 in brackets. */
#ifndef DF_URL_H
#define DF_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct url {
    char scheme[24];
    char user[256];
    char password[512];
    char host[256];
    char port[8];
    uint32_t db;
    bool has_db;
};

/* Parse text. Returns NULL, or what is wrong with it (a constant that never holds the password). */
const char *url_parse(struct url *u, const char *text);

/* Fill in a password that the URL lacks: from file (its first line) if not NULL, else from the environment
 * variable env. Returns NULL or what is wrong. */
const char *url_password(struct url *u, const char *file, const char *env);

/* "scheme://host:port" without secrets, for messages. */
void url_show(const struct url *u, char *out, size_t cap);

/* Overwrite the password part of an argument, so that no process list shows it. */
void url_hide_argument(char *arg);

#endif
