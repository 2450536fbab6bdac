#include "patience.h"

#include <stdio.h>

#include "io.h"
#include "log.h"

#define FIRST 50u
#define MOST  2000u

unsigned patience_longer(unsigned ms)
{
    return ms == 0 ? FIRST : ms * 2 < MOST ? ms * 2 : MOST;
}

uint64_t patience_end(unsigned ms, uint64_t now)
{
    uint64_t jitter = now * 2654435761u % 512; /* 0.75 to 1.25 */
    return now + (uint64_t)ms * (768 + jitter) * 1000 / 1024;
}

bool patience_says(const struct patience *p, uint64_t now)
{
    return p->since == 0 || us_since(now, p->said) >= SAY_EVERY;
}

void patience_refused(struct patience *p, const char *node, const char *what, const char *text, size_t len,
                      uint64_t now)
{
    const char *name = node != NULL ? " node=" : "", *of = node != NULL ? node : "";
    snprintf(p->why, sizeof p->why, "%.*s", (int)(len < sizeof p->why ? len : sizeof p->why - 1), text);
    if (p->since == 0) {
        p->since = p->said = now;
        log_event(LOG_WARN, NO_FLOW, "event=target_refuses_for_now%s%s reply=%s%s action=waiting", name, of,
                  log_quote(text, len), what);
    } else if (patience_says(p, now)) {
        p->said = now;
        log_event(LOG_WARN, NO_FLOW, "event=target_still_refuses%s%s seconds=%llu reply=%s%s", name, of,
                  (unsigned long long)(us_since(now, p->since) / 1000000), log_quote(text, len), what);
    }
    if (p->until > now)
        return;
    p->ms = patience_longer(p->ms);
    p->until = patience_end(p->ms, now);
}

void patience_over(struct patience *p, const char *node)
{
    if (p->since == 0 || p->until != 0)
        return;
    log_event(LOG_INFO, NO_FLOW, "event=target_accepts_again%s%s after_ms=%llu", node != NULL ? " node=" : "",
              node != NULL ? node : "", (unsigned long long)((mono_us() - p->since) / 1000));
    p->since = 0;
    p->ms = 0;
}
