#include "reply.h"

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hiredis_kind.h"
#include "log.h"

void fault_set(struct fault *f, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    log_clean(f->text); /* messages stand in quotes in the log, and may hold words of the other side */
    f->status = status;
}

bool reply_is(const struct reply *r, const char *text)
{
    return r->top.type == REDIS_REPLY_STATUS && strcmp(r->top.text, text) == 0;
}

/* ---- objects of hiredis's reader: values land in the connection's own reply, nothing is allocated ---- */

static struct item *item_of(const redisReadTask *task)
{
    static struct item beyond; /* what nobody looks at: nested or surplus elements */
    struct reply *r = task->privdata;
    if (task->parent == NULL)
        return &r->top;
    if (task->parent->parent == NULL && task->idx >= 0 && task->idx < REPLY_ITEMS)
        return &r->el[task->idx];
    return &beyond;
}

static void *make_string(const redisReadTask *task, char *s, size_t n)
{
    struct item *it = item_of(task);
    struct reply *r = task->privdata;
    if (task->parent == NULL && r->whole != NULL)
        (void)buf_add(r->whole, s, n); /* one that is too long is left out */
    size_t kept = n < ITEM_TEXT - 1 ? n : ITEM_TEXT - 1;
    it->type = task->type;
    it->len = n;
    memcpy(it->text, s, kept);
    it->text[kept] = '\0';
    return it;
}

static void *make_array(const redisReadTask *task, hiredis_count n)
{
    struct reply *r = task->privdata;
    struct item *it = item_of(task);
    it->type = task->type;
    it->text[0] = '\0';
    if (task->parent == NULL)
        r->count = (int)n;
    return it;
}

static void *make_integer(const redisReadTask *task, long long v)
{
    struct item *it = item_of(task);
    struct reply *r = task->privdata;
    if (task->parent != NULL && r->numbers != NULL && task->idx >= 0 && (unsigned)task->idx < r->numbers_cap)
        r->numbers[task->idx] = v > 0 ? (uint64_t)v : 0;
    it->type = task->type;
    it->num = v;
    it->text[0] = '\0';
    return it;
}

static void *make_nil(const redisReadTask *task)
{
    return make_integer(task, 0);
}

static void free_nothing(void *object)
{
    (void)object;
}

static redisReplyObjectFunctions functions = {.createString = make_string,
                                              .createArray = make_array,
                                              .createInteger = make_integer,
                                              .createNil = make_nil,
                                              .freeObject = free_nothing};

struct redisReader *reply_reader(struct reply *r)
{
    redisReader *reader = redisReaderCreateWithFunctions(&functions);
    if (reader != NULL)
        reader->privdata = r;
    r->whole = NULL;
    r->numbers = NULL;
    return reader;
}
