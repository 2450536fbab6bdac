#include "relay.h"

#include <stdio.h>
#include <bsd/string.h>

#include "buf.h"

void relay_welcome(const struct relay *r, struct peer *p)
{
    if (p->role == ROLE_PARSER && r->target[0] != '\0')
        hub_send(p, "%s", r->target);
    if (p->role == ROLE_WRITER && r->limit[0] != '\0')
        hub_send(p, "%s", r->limit);
}

void relay_target(struct relay *r, struct hub *h, const char *line)
{
    if (strlcpy(r->target, line, sizeof r->target) < sizeof r->target)
        hub_send_role(h, ROLE_PARSER, r->target);
}

/* "name=N", from line or else from what held before; nothing when neither has it. */
static void add_limit(struct buf *b, const char *name, const char *line, const char *before)
{
    uint64_t n;
    if (ctl_getu(line, name, &n) || ctl_getu(before, name, &n))
        (void)buf_addf(b, " %s=%llu", name, (unsigned long long)n);
}

/* What was never named is left to the writers' own options. */
void relay_limit(struct relay *r, struct hub *h, struct peer *p, const char *line)
{
    struct buf b = {.max = sizeof r->limit};
    (void)buf_addstr(&b, "limit");
    add_limit(&b, "ops", line, r->limit);
    add_limit(&b, "bytes", line, r->limit);
    snprintf(r->limit, sizeof r->limit, "%.*s", (int)b.len, (const char *)b.p);
    buf_free(&b);
    hub_send_role(h, ROLE_WRITER, r->limit);
    hub_send(p, "limited writers=%u", h->count[ROLE_WRITER]);
    hub_send(p, "end");
}
