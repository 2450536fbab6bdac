#include "resume.h"

#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "record.h"

void resume_free(struct resume *r)
{
    free(r->pos);
    buf_free(&r->vector);
    memset(r, 0, sizeof *r);
}

static void begin(struct resume *r, const char *line)
{
    char state[16];
    uint64_t flows;
    resume_free(r);
    (void)ctl_get(line, "state", state, sizeof state);
    if (strcmp(state, "none") == 0)
        r->state = RESUME_NONE;
    else if (strcmp(state, "lost") == 0)
        r->state = RESUME_LOST;
    else if (strcmp(state, "saved") != 0 || !ctl_getu(line, "flows", &flows) || flows < 1 ||
             flows > REC_FLOWS_MAX || ctl_get(line, "replid", r->replid, sizeof r->replid) != REPLID_LEN)
        r->state = RESUME_INCOMPLETE; /* whatever was saved, it is of no use */
    else {
        (void)ctl_get(line, "lineage", r->lineage, sizeof r->lineage);
        r->flows = (unsigned)flows;
        r->pos = xcalloc(r->flows, sizeof *r->pos);
    }
}

static void from(struct resume *r, const char *line)
{
    uint64_t flow, pos;
    if (r->pos == NULL || !ctl_getu(line, "flow", &flow) || flow >= r->flows || !ctl_getu(line, "pos", &pos))
        return;
    if (pos == 0) { /* this flow never came to the end of its full sync */
        resume_free(r);
        r->state = RESUME_INCOMPLETE;
        return;
    }
    if (r->pos[flow] == 0)
        r->got++;
    r->pos[flow] = pos;
    if (r->got == r->flows)
        r->state = RESUME_SAVED;
}

bool resume_line(struct resume *r, const char *line)
{
    if (ctl_is(line, "resume"))
        begin(r, line);
    else if (ctl_is(line, "from") && r->state == RESUME_UNKNOWN)
        from(r, line);
    return r->state != RESUME_UNKNOWN;
}

const char *resume_vector(struct resume *r)
{
    r->vector = (struct buf){.p = r->vector.p, .cap = r->vector.cap, .max = REC_FLOWS_MAX * 24};
    for (unsigned i = 0; i < r->flows; i++)
        (void)buf_addf(&r->vector, "%s%llu", i > 0 ? "-" : "", (unsigned long long)r->pos[i]);
    (void)buf_add(&r->vector, "", 1);
    return (const char *)r->vector.p;
}
