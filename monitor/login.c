#include "login.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "io.h"

#define TOKEN_MIN 16
#define TOKEN_MAX 256
#define ADDRESSES 256u /* that are remembered */

/* Wrong tokens: so many at once, and one more each so many microseconds. */
#define ONE_BURST 10u
#define ONE_US    UINT64_C(2000000)
#define ALL_BURST 100u
#define ALL_US    UINT64_C(200000)

/* How many more wrong tokens are looked at: as a time up to which they are used up, which is at most a burst
 * ahead of now. */
struct allowance {
    uint64_t used_us;
};

struct address {
    uint8_t bytes[16];
    struct allowance left;
};

struct login {
    char token[TOKEN_MAX]; /* padded with NUL */
    struct allowance all;
    struct address from[ADDRESSES];
};

/* ---- the token ---- */

static bool is_token(const char *s, size_t n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
    return n >= TOKEN_MIN && n <= TOKEN_MAX && strspn(s, letters) >= n;
}

/* Only its owner may write it, and only the owner and the group may read it. */
static bool is_private(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0027) == 0 &&
           (st.st_uid == geteuid() || st.st_uid == 0);
}

struct login *login_open(const char *file, char *why, size_t cap)
{
    char text[TOKEN_MAX + 2];
    int fd = io_open_own(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0) {
        snprintf(why, cap, "cannot open the token file %s", file);
        return NULL;
    }
    bool hidden = is_private(fd);
    ssize_t got = hidden ? read(fd, text, sizeof text - 1) : 0;
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    size_t n = strcspn(text, "\r\n");
    text[n] = '\0';
    struct login *l = NULL;
    if (!hidden) {
        snprintf(why, cap, "the token file %s must be a file of ours that others cannot read (chmod 600)",
                 file);
    } else if (!is_token(text, n)) {
        snprintf(why, cap,
                 "the first line of %s is no token: it has %d to %d letters, digits and -._~+/=", file,
                 TOKEN_MIN, TOKEN_MAX);
    } else {
        l = xcalloc(1, sizeof *l);
        memcpy(l->token, text, n);
    }
    explicit_bzero(text, sizeof text);
    return l;
}

void login_free(struct login *l)
{
    if (l == NULL)
        return;
    explicit_bzero(l, sizeof *l);
    free(l);
}

/* In a time that does not depend on where they differ. */
static bool is_same(const char *a, const char *b, size_t n)
{
    volatile unsigned char different = 0;
    for (size_t i = 0; i < n; i++)
        different |= (unsigned char)(a[i] ^ b[i]);
    return different == 0;
}

/* The token of "Bearer TOKEN". NULL: there is none. */
static const char *token_of(const char *authorization)
{
    if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0)
        return NULL;
    authorization += 7;
    return authorization + strspn(authorization, " ");
}

static bool is_right(const struct login *l, const char *token)
{
    char padded[TOKEN_MAX] = "";
    size_t n = strnlen(token, TOKEN_MAX + 1);
    memcpy(padded, token, n < TOKEN_MAX ? n : TOKEN_MAX);
    bool same = is_same(padded, l->token, TOKEN_MAX);
    explicit_bzero(padded, sizeof padded);
    return same && n <= TOKEN_MAX;
}

/* ---- wrong ones ---- */

static bool has_left(const struct allowance *a, unsigned burst, uint64_t each, uint64_t now)
{
    return a->used_us < now || a->used_us - now <= (burst - 1) * each;
}

static void use(struct allowance *a, uint64_t each, uint64_t now)
{
    a->used_us = (a->used_us > now ? a->used_us : now) + each;
}

/* An address as it is counted: of IPv6 the network, which is one user's; anything else is one. */
static void key_of(const struct sockaddr *from, uint8_t key[16])
{
    memset(key, 0, 16);
    if (from != NULL && from->sa_family == AF_INET) {
        key[11] = 4;
        memcpy(key + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from != NULL && from->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
        memcpy(key, a, IN6_IS_ADDR_V4MAPPED(a) ? 16 : 8);
    }
}

/* The place of an address; of one that is new, that which has been quiet for longest. */
static struct address *place_of(struct login *l, const uint8_t key[16])
{
    struct address *oldest = &l->from[0];
    for (unsigned i = 0; i < ADDRESSES; i++) {
        if (memcmp(l->from[i].bytes, key, 16) == 0)
            return &l->from[i];
        if (l->from[i].left.used_us < oldest->left.used_us)
            oldest = &l->from[i];
    }
    memcpy(oldest->bytes, key, 16);
    oldest->left.used_us = 0;
    return oldest;
}

enum login_result login_check(struct login *l, const struct sockaddr *from, const char *authorization,
                              uint64_t now)
{
    uint8_t key[16];
    const char *token = token_of(authorization);
    if (token == NULL)
        return LOGIN_MISSING;
    key_of(from, key);
    struct address *one = place_of(l, key);
    if (!has_left(&one->left, ONE_BURST, ONE_US, now) || !has_left(&l->all, ALL_BURST, ALL_US, now))
        return LOGIN_LIMITED;
    if (is_right(l, token))
        return LOGIN_GOOD;
    use(&one->left, ONE_US, now);
    use(&l->all, ALL_US, now);
    return LOGIN_WRONG;
}
