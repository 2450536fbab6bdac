#include "suspect.h"

#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "../engine/request.h"
#include "../engine/errors.h"
#include "../options.h"
#include "../outcome.h"

#define SAY_AFTER ((uint64_t)2000000) /* us: a request that is refused for so long is named */

const char *suspect_text(const char *why)
{
    static char text[240];
    snprintf(text, sizeof text, "%s: %.160s", SUSPECT_TEXT, why);
    return text;
}

bool suspect_is(const char *text, size_t len)
{
    return len >= sizeof SUSPECT_TEXT - 1 && memcmp(text, SUSPECT_TEXT, sizeof SUSPECT_TEXT - 1) == 0;
}

bool suspect_found(struct cluster *cl)
{
    if (++cl->given_up < SUSPECT_ROW || cl->outcome->failed)
        return !cl->outcome->failed;
    outcome_fail(cl->outcome, EXIT_RETRY, "event=target_closes_always target=%s note=%s", cl->opt->shown,
                 "\"the connection is lost at one request after the other\"");
    return false;
}

/* ---- of several connections ---- */

void plight_lost(struct plight *p, const struct line *l)
{
    if (l->blameless)
        return;
    if (p->lost < UINT8_MAX)
        p->lost++;
    if (l->lost_alone && p->alone < UINT8_MAX)
        p->alone++;
}

const char *named_text(const struct named *what)
{
    static char out[700];
    struct slice name = {0}, key = {0};
    out[0] = '\0';
    if (what == NULL || what->request == NULL || !request_arg(what->request, what->n, 0, &name))
        return out;
    if (what->keyarg > 0)
        (void)request_arg(what->request, what->n, what->keyarg, &key);
    snprintf(out, sizeof out, " command=%.60s key=%.500s bytes=%llu",
             log_quote(name.p, name.n < 24 ? name.n : 24), log_quote(key.p, key.n < 100 ? key.n : 100),
             (unsigned long long)what->bytes);
    return out;
}

void plight_refused(struct cluster *cl, struct plight *p, const struct named *what, const char *text,
                    size_t len)
{
    uint64_t now = mono_us();
    bool redirected = error_class(text, len) == ERR_REDIRECT;
    if (p->since == 0 || p->redirected != redirected)
        p->since = now;
    p->redirected = redirected;
    uint64_t waits = us_since(now, p->since);
    if (redirected && waits > (uint64_t)cl->opt->reconnect_timeout * 1000000 && !cl->outcome->failed) {
        outcome_give_up(cl->outcome, EXIT_RETRY,
                        "event=redirected_endlessly target=%s seconds=%llu%s reply=%s", cl->opt->shown,
                        (unsigned long long)(waits / 1000000), named_text(what), log_quote(text, len));
    } else if (waits > SAY_AFTER && us_since(now, cl->said_refused) > SAY_EVERY) {
        cl->said_refused = now;
        log_event(LOG_WARN, NO_FLOW, "event=request_still_refused seconds=%llu%s reply=%s",
                  (unsigned long long)(waits / 1000000), named_text(what), log_quote(text, len));
    }
}
