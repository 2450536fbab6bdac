/* The event log, errors and small helpers that everything needs. */
#include "standin.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

int64_t clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void log_head(struct master *m, const struct conn *c)
{
    int64_t us = clock_us() - m->started_us;
    fprintf(m->log, "ms=%lld.%03lld conn=", (long long)(us / 1000), (long long)(us % 1000));
    if (c)
        fprintf(m->log, "%u", c->id);
    else
        fputc('-', m->log);
    fputs(" flow=", m->log);
    if (c && c->flow)
        fprintf(m->log, "%u", c->flow->id);
    else
        fputc('-', m->log);
}

void log_event(struct master *m, const struct conn *c, const char *format, ...)
{
    va_list args;
    log_head(m, c);
    fputs(" event=", m->log);
    va_start(args, format);
    vfprintf(m->log, format, args);
    va_end(args);
    fputc('\n', m->log);
}

void log_illegal(struct master *m, const struct conn *c, const char *format, ...)
{
    va_list args;
    m->illegal++;
    log_head(m, c);
    fputs(" event=illegal ILLEGAL ", m->log);
    va_start(args, format);
    vfprintf(m->log, format, args);
    va_end(args);
    fputc('\n', m->log);
}

void complain(const char *format, ...)
{
    va_list args;
    fputs("standin: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void die(const char *format, ...)
{
    va_list args;
    fputs("standin: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void *grab(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p)
        die("out of memory (%zu bytes)", n);
    return p;
}
