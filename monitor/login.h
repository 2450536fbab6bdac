/* The token that requests have to bear, and how many wrong ones are looked at. */
#ifndef MONITOR_LOGIN_H
#define MONITOR_LOGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct login;

enum login_result {
    LOGIN_GOOD,
    LOGIN_MISSING, /* there is no token in the header */
    LOGIN_WRONG,
    LOGIN_LIMITED, /* too many wrong ones came: this one was not looked at */
};

/* The token in the first line of a file. NULL: why says what is wrong. */
struct login *login_open(const char *file, char *why, size_t cap);
void login_free(struct login *l);

/* authorization: the header, NULL: there is none. from: the other side's address. now: mono_us. */
enum login_result login_check(struct login *l, const struct sockaddr *from, const char *authorization,
                              uint64_t now);

#endif
