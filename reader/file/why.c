#include "why.h"

#include <stdarg.h>
#include <stdio.h>

int wrong(const struct why *w, int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(w->text, w->cap, fmt, ap);
    va_end(ap);
    return status;
}
