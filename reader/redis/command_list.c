#include "command_list.h"

#include <ctype.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "exits.h"
#include "../inquire.h"
#include "meta.h"
#include "psync_reply.h"

#define LIST_REPLY ((size_t)8 << 20)
#define NAME_MAX_  64u
#define WORD_MAX_  24u
#define TEXT_MAX_  ((size_t)1000) /* of a command, of which dfparse reads 1023 bytes */

/* ---- replies ---- */

static const char *text_of(const redisReply *r)
{
    return r != NULL && r->str != NULL ? r->str : "";
}

static const redisReply *at(const redisReply *r, size_t i)
{
    return r != NULL && r->type == REDIS_REPLY_ARRAY && i < r->elements ? r->element[i] : NULL;
}

static long long number_at(const redisReply *r, size_t i)
{
    const redisReply *n = at(r, i);
    return n != NULL && n->type == REDIS_REPLY_INTEGER ? n->integer : 0;
}

/* The value of a name in a list of both. */
static const redisReply *value_of(const redisReply *r, const char *name)
{
    for (size_t i = 0; r != NULL && r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2)
        if (strcasecmp(text_of(r->element[i]), name) == 0)
            return r->element[i + 1];
    return NULL;
}

static long long number_of(const redisReply *r, const char *name)
{
    const redisReply *n = value_of(r, name);
    return n != NULL && n->type == REDIS_REPLY_INTEGER ? n->integer : 0;
}

static bool has(const redisReply *flags, const char *name)
{
    for (size_t i = 0; flags != NULL && flags->type == REDIS_REPLY_ARRAY && i < flags->elements; i++)
        if (strcasecmp(text_of(flags->element[i]), name) == 0)
            return true;
    return false;
}

static bool is_word(const char *text, size_t cap)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("._-", text[i]) == NULL)
            return false;
    return n > 0 && n < cap;
}

/* ---- one command ---- */

/* No argument is as far away, and no keys lie at a step of none. */
static bool fits(long long a, long long b, long long c, long long step)
{
    const long long most = 1 << 20;
    return step > 0 && step < most && a > -most && a < most && b > -most && b < most && c > -most && c < most;
}

/* Where keys begin, and which they are. False: that is not said. */
static bool add_spec(struct buf *b, const redisReply *spec)
{
    const redisReply *begin = value_of(spec, "begin_search"), *find = value_of(spec, "find_keys");
    const redisReply *from = value_of(begin, "spec"), *which = value_of(find, "spec");
    const char *word = text_of(value_of(from, "keyword"));
    const char *begins = text_of(value_of(begin, "type")), *finds = text_of(value_of(find, "type"));
    bool keyword = strcmp(begins, "keyword") == 0 && is_word(word, WORD_MAX_),
         range = strcmp(finds, "range") == 0;
    if ((!keyword && strcmp(begins, "index") != 0) || (!range && strcmp(finds, "keynum") != 0))
        return false;
    long long at = number_of(from, keyword ? "startfrom" : "index"), step = number_of(which, "keystep");
    long long one = number_of(which, range ? "lastkey" : "keynumidx");
    long long other = number_of(which, range ? "limit" : "firstkey");
    if (!fits(at, one, other, step) || (!range && (one < 0 || other < 0)))
        return false;
    if (b->len + 128 > TEXT_MAX_)
        return false;
    if (keyword)
        (void)buf_addf(b, ",%s@%lld", word, at);
    else
        (void)buf_addf(b, ",%lld", at);
    if (range)
        (void)buf_addf(b, ":%lld:%lld:%lld", one, step, other);
    else
        (void)buf_addf(b, "#%lld:%lld:%lld", one, other, step);
    return true;
}

/* From 7.0 on a server says of each of several groups of keys what is done with them. Returns whether it has
 * said all. */
static bool add_specs(struct buf *b, const redisReply *specs)
{
    bool whole = true;
    for (size_t i = 0; i < specs->elements; i++) {
        const redisReply *flags = value_of(specs->element[i], "flags");
        if (has(flags, "RO") || has(flags, "not_key"))
            continue;
        whole = add_spec(b, specs->element[i]) && !has(flags, "incomplete") && whole;
    }
    return whole;
}

/* Before that, the first and the last one, and the step between them. */
static bool add_range(struct buf *b, const redisReply *r)
{
    long long first = number_at(r, 3), last = number_at(r, 4), step = number_at(r, 5);
    if (first <= 0 || !fits(first, last, 0, step))
        return false;
    (void)buf_addf(b, ",%lld:%lld:%lld:0", first, last >= 0 ? last - first : last, step);
    return !has(at(r, 2), "movablekeys");
}

static void add_command(struct buf *text, const redisReply *r)
{
    struct buf b = {.max = TEXT_MAX_};
    char name[NAME_MAX_];
    const redisReply *specs = at(r, 8);
    if (!has(at(r, 2), "write") || !is_word(text_of(at(r, 0)), NAME_MAX_))
        return;
    snprintf(name, sizeof name, "%s", text_of(at(r, 0)));
    for (char *p = name; *p != '\0'; p++)
        *p = (char)toupper((unsigned char)*p);
    (void)buf_addstr(&b, name);
    bool said = specs != NULL && specs->type == REDIS_REPLY_ARRAY && specs->elements > 0;
    if (!(said ? add_specs(&b, specs) : add_range(&b, r)))
        (void)buf_addstr(&b, ",?");
    meta_add(text, "command", b.p, b.len, '\n');
    buf_free(&b);
}

/* ---- all ---- */

int command_list(const struct options *o, const struct url *at_server, struct buf *text, struct fault *f)
{
    static const char *const command[] = {"COMMAND"};
    struct inquiry q;
    if (inquire_open(&q, at_server, o->connect_timeout * 1000, f) < 0)
        return -1;
    conn_keep_objects(&q.conn, LIST_REPLY);
    int rc = inquire(&q, 1, command, f);
    redisReply *r = rc == 0 ? q.conn.object : NULL;
    for (size_t i = 0; r != NULL && r->type == REDIS_REPLY_ARRAY && i < r->elements; i++)
        add_command(text, r->element[i]);
    if (r != NULL && r->type == REDIS_REPLY_ERROR) {
        fault_set(f, EXIT_CANNOT, "%s", r->str);
        rc = -1;
    }
    freeReplyObject(r);
    inquire_close(&q);
    return rc;
}
