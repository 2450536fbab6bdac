#include "doubt.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "log.h"
#include "request.h"
#include "../summary.h"

static void name_it(struct stats *s, unsigned flow, struct slice command, struct slice key, struct slice also)
{
    char more[320] = "";
    const struct kind *k = kinds_count(&s->doubtful, (const char *)command.p, command.n, key.p, key.n);
    if (also.p != NULL)
        snprintf(more, sizeof more, " also=%s", log_quote(also.p, also.n));
    log_event(k->count == 1 ? LOG_WARN : LOG_DEBUG, (int)flow, "event=may_count_twice command=%s key=%s%s",
              log_quote(command.p, command.n), log_quote(key.p, key.n), more);
}

static bool is(struct slice name, const char *word)
{
    return name.n == strlen(word) && strncasecmp((const char *)name.p, word, name.n) == 0;
}

static bool one_of(struct slice name, const char *const words[])
{
    for (; *words != NULL; words++)
        if (is(name, *words))
            return true;
    return false;
}

void doubt_name(struct stats *s, unsigned flow, const uint8_t *request, size_t n, unsigned keyarg)
{
    static const char *const two[] = {"LMOVE", "RENAME", "RENAMENX", "RPOPLPUSH", "SMOVE", NULL};
    struct slice name = {0}, key = {0}, also = {0}, keys = {0};
    (void)request_arg(request, n, 0, &name);
    if (is(name, "COPY") && keyarg > 0) /* what it reads stays as it is */
        keyarg++;
    if (keyarg > 0)
        (void)request_arg(request, n, keyarg, &key);
    if (is(name, "EVAL") && request_arg(request, n, 2, &keys) && is(keys, "2"))
        (void)request_arg(request, n, 4, &also);
    else if (keyarg > 0 && one_of(name, two))
        (void)request_arg(request, n, keyarg + 1, &also);
    name_it(s, flow, name, key, also);
}

void doubt_resumed(struct stats *s)
{
    static const char kind[] = "earlier run";
    (void)kinds_count(&s->doubtful, kind, sizeof kind - 1, NULL, 0);
    log_event(
        LOG_WARN, NO_FLOW, "event=may_count_twice note=%s",
        "\"the run before did not end in order: what it had applied behind the saved positions is applied "
        "again\"");
}
