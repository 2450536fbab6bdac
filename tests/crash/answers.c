/* What stages have logged of a run: how the masters answered, and what was not carried over. */
#include <string.h>

#include "crash.h"

static unsigned count_lines(const char *path, const char *what)
{
    char line[4096];
    unsigned n = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, what) != NULL;
    if (f)
        fclose(f);
    return n;
}

void answers_check(const struct pipeline *p)
{
    static const char lost[] = "event=not_carried_over";
    unsigned n = count_lines(file("run-%u-%u.parser", now.series, p->runs), lost);
    for (unsigned i = 0; i < now.source.flows && !p->single; i++)
        n += count_lines(file("run-%u-%u.parser-%u", now.series, p->runs, i), lost);
    if (opt.redis && n)
        fail("run %u: %u changes were not carried over", p->runs, n);
}

static void count_cluster_answers(const struct pipeline *p)
{
    static const char anew[] = "event=flow_not_continued";
    const char *log = file("run-%u-%u.reader", now.series, p->runs);
    unsigned known = count_lines(log, " kind=known "), lost = count_lines(log, anew);
    unsigned partial = known > lost ? known - lost : 0;
    now.covered += p->covered;
    now.went_on += partial < p->covered ? partial : p->covered;
    if (partial < p->covered)
        say("  run %u: of %u flows whose position the masters had %u went on", p->runs, p->covered, partial);
}

void answers_count(const struct pipeline *p)
{
    const char *log = file("run-%u-%u.reader", now.series, p->runs);
    unsigned full = count_lines(log, "event=flow_up mode=FULL");
    unsigned partial = count_lines(log, "event=flow_up mode=PARTIAL");
    if (p->goes_on && (full || partial != now.source.flows))
        fail("%u flows were answered FULL and %u PARTIAL where all could be PARTIAL", full, partial);
    now.partials += p->goes_on || partial;
    now.fulls += !p->goes_on && !partial;
    if (now.source.cluster) {
        count_cluster_answers(p);
        return;
    }
    now.covered += p->goes_on || (p->may_go_on && partial);
    now.went_on += (p->goes_on || p->may_go_on) && partial;
}
