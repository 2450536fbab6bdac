#include "errors.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "buf.h"
#include "meta.h"

/* The table of rediswriter(1), ERRORS OF THE TARGET: keep the two alike. Each row has a test in errors.bats.
 * Whatever is not here is a data error: it concerns the request, and no other. */
static const struct {
    const char *prefix;
    enum err_class class;
} table[] = {
    /* the slot is elsewhere: of a cluster, followed */
    {"MOVED ", ERR_REDIRECT},
    {"ASK ", ERR_REDIRECT},
    /* it passes: the server is not ready */
    {"LOADING ", ERR_RETRY},
    {"BUSY ", ERR_RETRY}, /* not BUSYKEY: the blank belongs to it */
    {"MASTERDOWN ", ERR_RETRY},
    {"CLUSTERDOWN ", ERR_RETRY},
    {"TRYAGAIN ", ERR_RETRY},
    {"ERR max number of clients reached", ERR_RETRY},
    /* it passes when somebody sees to it */
    {"OOM ", ERR_RETRY},
    {"READONLY ", ERR_RETRY},
    {"NOREPLICAS ", ERR_RETRY},
    {"MISCONF ", ERR_RETRY},
    /* the key exists */
    {"BUSYKEY ", ERR_CONFLICT},
    /* nothing can be done here, or with these rights */
    {"NOAUTH ", ERR_FATAL},
    {"WRONGPASS ", ERR_FATAL},
    {"NOPERM ", ERR_FATAL},
    {"DENIED ", ERR_FATAL},                                  /* protected mode */
    {"ERR ACL failure in script", ERR_FATAL},                /* NOPERM, within a script */
    {"ERR The user executing the script can't ", ERR_FATAL}, /* the same in 7.0 */
    {"The user executing the script can't ", ERR_FATAL},     /* and before, see cause() */
    {"ERR EXEC without MULTI", ERR_FATAL},
    {"ERR Protocol error", ERR_FATAL},
};

static bool begins(const char *text, size_t n, const char *prefix)
{
    size_t len = strlen(prefix);
    return n >= len && memcmp(text, prefix, len) == 0;
}

int error_is_execabort(const char *text, size_t n)
{
    return begins(text, n, "EXECABORT");
}

/* Go on to what an error was caused by: text stands behind what is found. */
static bool skip_past(const char **text, size_t *n, const char *what)
{
    size_t len = strlen(what);
    const char *at = memmem(*text, *n, what, len);
    if (at == NULL)
        return false;
    *n -= (size_t)(at + len - *text);
    *text = at + len;
    return true;
}

/* EXECABORT names its cause, or not. Before 7.0 scripts do so like this, without the first words if they
 * caught it, and with a minus before what the server says: "ERR Error running script (call to f_c7e…):
 * @user_script:1: @user_script: 1: -OOM command not allowed …". */
static void cause(const char **text, size_t *n)
{
    if (error_is_execabort(*text, *n))
        (void)skip_past(text, n, "because of: ");
    if ((begins(*text, *n, "ERR Error running script ") || begins(*text, *n, "@user_script: ")) &&
        skip_past(text, n, "@user_script: ") && skip_past(text, n, ": ") && *n > 0 && **text == '-') {
        ++*text;
        --*n;
    }
}

enum err_class error_class(const char *text, size_t n)
{
    cause(&text, &n);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (begins(text, n, table[i].prefix))
            return table[i].class;
    return ERR_DATA;
}

bool error_of_repeat(const char *text, size_t n)
{
    return begins(text, n, "BUSYGROUP ") ||
           begins(text, n,
                  "ERR The ID specified in XADD is equal or smaller than the target stream top item");
}

size_t error_kind_len(const char *text, size_t n)
{
    const char *blank = memchr(text, ' ', n);
    size_t code = blank != NULL ? (size_t)(blank - text) : n;
    size_t len = code == 3 && memcmp(text, "ERR", 3) == 0 ? n : code;
    /* What differs from one error to the next stands in quotes or behind a comma. */
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\'' || text[i] == '`' || text[i] == ',' || text[i] == '\r')
            len = i;
    while (len > 0 && text[len - 1] == ' ')
        len--;
    return len < KIND_NAME - 1 ? len : KIND_NAME - 1;
}

static void keep_key(struct kind *k, const void *key, size_t n)
{
    struct buf b = {.max = 4 * KIND_KEY_SHOW + 8};
    meta_escape(&b, key, n, KIND_KEY_SHOW);
    size_t len = b.len < sizeof k->key[0] - 1 ? b.len : sizeof k->key[0] - 1;
    if (len > 0)
        memcpy(k->key[k->nkeys], b.p, len);
    k->key[k->nkeys][len] = '\0';
    k->nkeys++;
    buf_free(&b);
}

/* What comes from a stream or a server must not break a line of the summary. */
static void plain(char *to, const char *name, size_t n)
{
    size_t i = 0;
    for (; i < n && i < KIND_NAME - 1 && name[i] != '\0'; i++)
        to[i] = name[i] < ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\' ? '?' : name[i];
    to[i] = '\0';
}

static struct kind *kind_for(struct kinds *k, const char *name, size_t namelen)
{
    char shown[KIND_NAME];
    plain(shown, name, namelen);
    unsigned i = 0;
    while (i < k->n && strcmp(k->kind[i].name, shown) != 0)
        i++;
    if (i == KINDS_MAX)
        i = KINDS_MAX - 1;
    struct kind *kind = &k->kind[i];
    if (i == k->n) {
        k->n++;
        strlcpy(kind->name, i == KINDS_MAX - 1 ? "others" : shown, sizeof kind->name);
    }
    return kind;
}

const struct kind *kinds_count(struct kinds *k, const char *name, size_t namelen, const void *key,
                               size_t keylen)
{
    struct kind *kind = kind_for(k, name, namelen);
    kind->count++;
    k->total++;
    if (key != NULL && kind->nkeys < KIND_KEYS)
        keep_key(kind, key, keylen);
    return kind;
}

void error_count(struct kinds *k, const char *text, size_t n)
{
    cause(&text, &n);
    (void)kinds_count(k, text, error_kind_len(text, n), NULL, 0);
}
