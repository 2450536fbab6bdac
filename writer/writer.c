#include "writer.h"

#include <stdarg.h>
#include <stdio.h>

#include "exits.h"
#include "io.h"
#include "log.h"

void writer_fail(struct writer *w, int status, const char *fmt, ...)
{
    char line[1536];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    log_event(LOG_ERROR, NO_FLOW, "%s", line);
    writer_failed(w, status);
}

void writer_failed(struct writer *w, int status)
{
    w->status = exit_worse(w->status, status);
    if (!w->failed)
        w->failed_at = mono_us();
    w->failed = true;
}
