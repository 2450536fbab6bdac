#include "outcome.h"

#include <stdarg.h>
#include <stdio.h>

#include "exits.h"
#include "io.h"
#include "log.h"

__attribute__((format(printf, 3, 0))) static void fail(struct outcome *o, int status, const char *fmt,
                                                       va_list ap)
{
    char line[1536];
    vsnprintf(line, sizeof line, fmt, ap);
    log_event(LOG_ERROR, NO_FLOW, "%s", line);
    outcome_failed(o, status);
}

void outcome_fail(struct outcome *o, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail(o, status, fmt, ap);
    va_end(ap);
}

void outcome_give_up(struct outcome *o, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail(o, status, fmt, ap);
    va_end(ap);
    o->dead = true;
}

void outcome_failed(struct outcome *o, int status)
{
    o->status = exit_worse(o->status, status);
    if (!o->failed)
        o->failed_at = mono_us();
    o->failed = true;
}
