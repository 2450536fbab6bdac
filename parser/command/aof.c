#include "aof.h"

#include <ctype.h>
#include <stdio.h>

#include "args.h"
#include "known.h"

#define WAIT_MS     ((uint64_t)300000)
#define WAIT_MS_MAX ((uint64_t)86400000)

/* Annotations. */
static enum got between(void *ctx, struct cur *c)
{
    struct aof *a = ctx;
    enum got g = GOT;
    while (g == GOT && c->p < c->end && *c->p == '#') {
        struct cur t = *c;
        uint64_t time;
        g = aof_annotation(&t, &time);
        a->dated |= g == GOT && time > 0;
        if (g == GOT && a->file.until > 0 && time > a->file.until && !(a->file.base && a->any)) {
            a->over = a->any;
            a->psync->cannot = a->any ? NULL : "all of it was written later than the time of --until-time";
            return cur_bad(c, "nothing later");
        }
        g = cur_settle(c, &t, g);
    }
    return g;
}

static enum verdict judge(void *ctx, const struct slice *argv, size_t argc, const char **why)
{
    struct aof *a = ctx;
    char name[41] = "";
    const char *what = NULL;
    enum verdict v = known_verdict(argv, argc, &what);
    if (what == NULL)
        return v;
    for (size_t i = 0; i < argv[0].n && i < sizeof name - 1; i++)
        name[i] = isprint(argv[0].p[i]) ? (char)argv[0].p[i] : '?';
    snprintf(a->text, sizeof a->text, "%s %s", what, name);
    *why = a->text;
    return v;
}

void aof_init(struct aof *a, struct psync *s)
{
    *a = (struct aof){.psync = s, .hooks = {.ctx = a, .between = between, .judge = judge}};
}

void aof_next(struct aof *a, const struct aof_file *file, uint64_t offset)
{
    a->file = *file;
    a->known = true;
    a->on |= file->append_only;
    a->begins = offset;
}

uint64_t aof_wait_ms(const struct aof *a)
{
    uint64_t ms = WAIT_MS + a->file.rest / 1024;
    return a->file.rest == 0 || ms > WAIT_MS_MAX ? WAIT_MS_MAX : ms;
}

enum got aof_feed(struct aof *a, struct cur *c)
{
    struct psync *s = a->psync;
    struct cur t;
    uint64_t want = 0;
    enum got g = a->over ? BAD : between(a, c);
    if (g == GOT && c->p < c->end) {
        t = *c;
        g = psync_command(s, &t);
        if (g == BAD && !a->over && s->cannot == NULL && aof_looks_cut(s->begun, t.end, &want) == NEED) {
            c->want = want;
            return NEED;
        }
        a->any |= g == GOT;
        c->p = t.p;
        c->want = t.want;
        c->why = t.why;
    }
    if (!a->over)
        return g;
    c->p = c->end;
    return GOT;
}

bool aof_made_at(struct aof *a, uint64_t seconds)
{
    a->dated = a->any = true;
    return a->file.until == 0 || seconds <= a->file.until;
}

const char *aof_end(const struct aof *a, const uint8_t *p, uint64_t n, bool *cut)
{
    *cut = n > 0 && !a->over && *p != '#';
    if (!*cut)
        return !a->file.last || a->file.until == 0 || a->dated
                   ? NULL
                   : "a time: no #TS line says when something was written, so --until-time has no meaning";
    if (!a->file.last)
        return "more: the file was cut short, and it is not the last one";
    return a->file.truncated_ok ? NULL
                                : "more: the file was cut short within a command or a transaction (dfreader "
                                  "--truncated ok leaves "
                                  "that out)";
}
