#include "target_health.h"

#include <string.h>
#include <bsd/string.h>

#include "ctl.h"
#include "meta.h"

/* A word of ours in a list: what a writer says is not trusted to be one. */
static void one_word(char *s)
{
    for (; *s != '\0'; s++)
        if (!((*s >= 'a' && *s <= 'z') || *s == '-'))
            *s = '?';
}

void target_health_take(struct target_health *c, const char *line, uint64_t now)
{
    char target[sizeof c->target];
    if (ctl_get(line, "target", target, sizeof target) <= 0)
        strlcpy(target, "?", sizeof target);
    one_word(target);
    if (strcmp(target, c->target) != 0)
        c->since = now;
    strlcpy(c->target, target, sizeof c->target);
    if (ctl_get(line, "why", c->why, sizeof c->why) < 0)
        c->why[0] = '\0';
    (void)ctl_getu(line, "errors", &c->errors);
    (void)ctl_getu(line, "lost", &c->lost);
    (void)ctl_getu(line, "doubtful", &c->doubtful);
    (void)ctl_getu(line, "evicted", &c->evicted);
}

static bool is_well(const struct target_health *c)
{
    return c->target[0] == '\0' || strcmp(c->target, "ok") == 0;
}

void target_health_join(struct target_health *sum, const struct target_health *c)
{
    if (is_well(sum) && c->target[0] != '\0') {
        memcpy(sum->target, c->target, sizeof sum->target);
        memcpy(sum->why, c->why, sizeof sum->why);
        sum->since = c->since;
    }
    sum->errors += c->errors;
    sum->lost += c->lost;
    sum->doubtful += c->doubtful;
    sum->evicted += c->evicted;
}

void alarm_add(struct buf *b, bool *any, const char *name)
{
    (void)buf_addf(b, "%s%s", *any ? "," : "", name);
    *any = true;
}

void target_health_alarms(const struct target_health *c, struct buf *b, bool *any)
{
    if (!is_well(c)) {
        alarm_add(b, any, "target-");
        (void)buf_addstr(b, c->target);
    }
    if (c->errors > 0)
        alarm_add(b, any, "data-errors");
    if (c->lost > 0)
        alarm_add(b, any, "not-carried-over");
    if (c->doubtful > 0)
        alarm_add(b, any, "doubtful");
    if (c->evicted > 0)
        alarm_add(b, any, "evictions");
}

void target_health_fields(const struct target_health *c, struct buf *b, uint64_t now)
{
    (void)buf_addf(b, "errors=%llu lost=%llu doubtful=%llu evicted=%llu ", (unsigned long long)c->errors,
                   (unsigned long long)c->lost, (unsigned long long)c->doubtful,
                   (unsigned long long)c->evicted);
    if (c->target[0] != '\0')
        (void)buf_addf(b, "target=%s ", c->target);
    if (is_well(c))
        return;
    (void)buf_addf(b, "target_seconds=%llu ", (unsigned long long)((now - c->since) / 1000000));
    meta_add(b, "target_why", c->why, strlen(c->why), ' ');
}
