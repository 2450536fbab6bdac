#include <stdarg.h>
#include <stdio.h>

#include "engine/live.h"

void live_say(struct live *l, const char *fmt, ...)
{
    char line[CTL_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (l->ctl.fd < 0 || l->broken || n <= 0 || (size_t)n >= sizeof line)
        return;
    if (ctl_send(&l->ctl, "%s", line) < 0)
        l->broken = true;
}
