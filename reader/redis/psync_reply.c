#include "psync_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "meta.h"
#include "psync.h"
#include "server.h"

/* ---- lines ---- */

/* Decimal digits, all n bytes of them. */
static bool number(const char *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9' || v > (UINT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (uint64_t)(p[i] - '0');
    }
    *out = v;
    return n > 0;
}

static bool replid(const char *p, size_t n, char to[static REPLID_LEN + 1])
{
    if (n != REPLID_LEN)
        return false;
    memcpy(to, p, n);
    to[n] = '\0';
    return strspn(to, "0123456789abcdefABCDEF") == REPLID_LEN;
}

/* "+FULLRESYNC <replid> <offset>" */
static bool full(const char *p, size_t n, struct psync_line_value *v)
{
    return n > REPLID_LEN + 1 && replid(p, REPLID_LEN, v->replid) && p[REPLID_LEN] == ' ' &&
           number(p + REPLID_LEN + 1, n - REPLID_LEN - 1, &v->offset);
}

/* "+CONTINUE", with or without the id by which the stream is known from here on. */
static bool go_on(const char *p, size_t n, struct psync_line_value *v)
{
    v->replid[0] = '\0';
    return n == 0 || (p[0] == ' ' && replid(p + 1, n - 1, v->replid));
}

static bool mark(const char *p, size_t n, struct psync_line_value *v)
{
    if (n != TOKEN_LEN)
        return false;
    memcpy(v->mark, p, n);
    v->mark[n] = '\0';
    return strlen(v->mark) == n && meta_is_word(v->mark);
}

static bool begins(const char *p, size_t n, const char *word)
{
    return n >= strlen(word) && memcmp(p, word, strlen(word)) == 0;
}

static void keep_text(struct psync_line_value *v, const char *p, size_t n)
{
    snprintf(v->text, sizeof v->text, "%.*s", (int)(n < sizeof v->text ? n : sizeof v->text - 1), p);
}

static enum psync_line decode(const char *p, size_t n, struct psync_line_value *v)
{
    static const char fullresync[] = "+FULLRESYNC ", cont[] = "+CONTINUE", eof[] = "$EOF:";
    size_t f = sizeof fullresync - 1, c = sizeof cont - 1, e = sizeof eof - 1;
    if (n == 0)
        return PSYNC_NEWLINE;
    keep_text(v, p, n);
    if (p[0] == '-') {
        keep_text(v, p + 1, n - 1);
        return PSYNC_ERROR;
    }
    if (begins(p, n, fullresync) && full(p + f, n - f, v))
        return PSYNC_FULL;
    if (begins(p, n, cont) && go_on(p + c, n - c, v))
        return PSYNC_CONTINUE;
    if (begins(p, n, eof) && mark(p + e, n - e, v))
        return PSYNC_MARK;
    return p[0] == '$' && number(p + 1, n - 1, &v->size) ? PSYNC_SIZE : PSYNC_STRANGE;
}

enum psync_line psync_line(const uint8_t *p, size_t n, size_t *used, struct psync_line_value *v)
{
    const uint8_t *nl = memchr(p, '\n', n < PSYNC_LINE_MAX ? n : PSYNC_LINE_MAX);
    *used = 0;
    if (nl == NULL && n < PSYNC_LINE_MAX)
        return PSYNC_MORE;
    if (nl == NULL) {
        keep_text(v, (const char *)p, PSYNC_LINE_MAX);
        return PSYNC_STRANGE;
    }
    size_t len = (size_t)(nl - p);
    *used = len + 1;
    if (len > 0 && p[len - 1] == '\r')
        len--;
    return decode((const char *)p, len, v);
}

/* ---- INFO ---- */

bool info_field(const char *text, const char *name, char *to, size_t cap)
{
    size_t n = strlen(name);
    for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
        p += *p == '\n' ? 1 : 0;
        if (strncmp(p, name, n) != 0 || p[n] != ':')
            continue;
        size_t len = strcspn(p + n + 1, "\r\n");
        if (len >= cap)
            return false;
        memcpy(to, p + n + 1, len);
        to[len] = '\0';
        return true;
    }
    return false;
}

bool info_number(const char *text, const char *name, uint64_t *n)
{
    char digits[24];
    return info_field(text, name, digits, sizeof digits) && number(digits, strlen(digits), n);
}

unsigned info_databases(const char *text, uint32_t *db, unsigned max)
{
    unsigned n = 0;
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0') {
        uint64_t v;
        size_t digits = strncmp(line, "db", 2) == 0 ? strspn(line + 2, "0123456789") : 0;
        if (digits == 0 || strncmp(line + 2 + digits, ":keys=", 6) != 0 || !number(line + 2, digits, &v) ||
            v > UINT32_MAX)
            continue;
        if (n < max)
            db[n] = (uint32_t)v;
        n++;
    }
    return n;
}

void info_version(const char *text, char *to, size_t cap)
{
    static const struct {
        const char *kind, *field;
    } kinds[] = {
        {"dragonfly", "dragonfly_version"}, {"valkey", "valkey_version"}, {"redis", "redis_version"}};
    char version[32];
    to[0] = '\0';
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!info_field(text, kinds[i].field, version, sizeof version))
            continue;
        const char *digits = strpbrk(version, "0123456789"); /* "df-v1.34.2" */
        if (digits == NULL || !meta_is_word(digits))
            return;
        snprintf(to, cap, "%s:%s", kinds[i].kind, digits);
        return;
    }
}

bool psync_wants_version(const char *text)
{
    enum server_kind kind;
    unsigned version;
    return !server_parse(text, &kind, &version) || (kind == SERVER_VALKEY && version >= VERSION(9, 0));
}

bool cluster_has_databases(const char *text)
{
    enum server_kind kind;
    unsigned version;
    return server_parse(text, &kind, &version) && kind == SERVER_VALKEY && version >= VERSION(9, 0);
}

/* ---- errors ---- */

/* The first that fits counts. */
static const struct {
    const char *needle; /* part of the error's text */
    int status;
    const char *advice;
} reactions[] = {
    {"NOAUTH", EXIT_CANNOT,
     "the source wants a password: give it in the URL, with --password-file or in DF2REDIS_SOURCE_PASSWORD"},
    {"WRONGPASS", EXIT_CANNOT, "wrong user or password"},
    {"invalid password", EXIT_CANNOT, "wrong user or password"},
    {"without any password configured", EXIT_CANNOT, "the source has no password"},
    {"NOPERM", EXIT_CANNOT,
     "the user may not replicate: it needs +psync +replconf +ping +info; without them --scan reads the keys"},
    {"NOMASTERLINK", EXIT_RETRY, "the source is a replica without a link to its master: try again later"},
    {"MASTERDOWN", EXIT_RETRY, "the source is a replica that has lost its master: try again later"},
    {"LOADING", EXIT_RETRY, "the source is loading its data: try again later"},
    {"BUSY", EXIT_RETRY, "the source is busy: try again later"},
    {"BGSAVE failed", EXIT_RETRY, "the source could not make a snapshot: see its log"},
    {"Unable to perform background save", EXIT_RETRY, "the source could not make a snapshot: see its log"},
    {"max number of clients", EXIT_RETRY, "the source has no connections left"},
    {"protected mode", EXIT_CANNOT,
     "the source is in protected mode: it wants a password for clients of other machines"},
    {"Bad TLS header", EXIT_CANNOT, "the source expects TLS: name it as rediss://"},
    {"unknown command", EXIT_CANNOT,
     "the source does not let anybody replicate, as managed services do: read its keys with --scan, or save "
     "an "
     "RDB file and give its path"},

};

void psync_refused(struct fault *f, const char *command, const char *text)
{
    for (size_t i = 0; i < sizeof reactions / sizeof *reactions; i++) {
        if (strcasestr(text, reactions[i].needle) == NULL)
            continue;
        fault_set(f, reactions[i].status, "%s: %s (%s)", command, reactions[i].advice, text);
        return;
    }
    fault_set(f, EXIT_CANNOT, "%s: the source refuses: %s", command, text);
}
