#include "resume.h"

#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "meta.h"
#include "record.h"

void resume_free(struct resume *r)
{
    free(r->flow);
    buf_free(&r->vector);
    memset(r, 0, sizeof *r);
}

static bool usable(const struct lineage *l)
{
    return strlen(l->replid) == REPLID_LEN && meta_is_word(l->replid);
}

/* What a line says of a lineage, which is the target's text: nothing is taken that must not be passed on. */
static void take_lineage(struct lineage *l, const char *line)
{
    (void)lineage_get(l, line, strlen(line));
    if (!meta_is_word(l->replid))
        l->replid[0] = '\0';
    if (!meta_is_word(l->top))
        l->top[0] = '\0';
}

static void begin(struct resume *r, const char *line)
{
    char state[16];
    uint64_t flows, verify;
    resume_free(r);
    r->verify = ctl_getu(line, "verify", &verify) && verify != 0;
    (void)ctl_get(line, "state", state, sizeof state);
    if (strcmp(state, "none") == 0)
        r->state = RESUME_NONE;
    else if (strcmp(state, "lost") == 0)
        r->state = RESUME_LOST;
    else if (strcmp(state, "saved") != 0 || !ctl_getu(line, "flows", &flows) || flows < 1 ||
             flows > REC_FLOWS_MAX)
        r->state = RESUME_INCOMPLETE; /* whatever was saved, it is of no use */
    else {
        take_lineage(&r->lineage, line);
        r->flows = (unsigned)flows;
        r->flow = xcalloc(r->flows, sizeof *r->flow);
    }
}

static void incomplete(struct resume *r)
{
    bool verify = r->verify;
    resume_free(r);
    r->state = RESUME_INCOMPLETE;
    r->verify = verify;
}

static void from(struct resume *r, const char *line)
{
    uint64_t flow, pos, quiet;
    struct lineage own = r->lineage;
    if (r->flow == NULL || !ctl_getu(line, "flow", &flow) || flow >= r->flows || !ctl_getu(line, "pos", &pos))
        return;
    if (strstr(line, " replid=") != NULL)
        take_lineage(&own, line);
    if (pos == 0 || !usable(&own)) { /* its full sync did not come to its end, or nobody knows whose it is */
        incomplete(r);
        return;
    }
    if (r->flow[flow].pos == 0)
        r->got++;
    r->flow[flow] = (struct resume_flow){.pos = pos, .lineage = own};
    if (ctl_getu(line, "quiet", &quiet) && quiet < pos)
        r->flow[flow].quiet = quiet;
    char slots[SLOTSET_TEXT];
    if (ctl_get(line, "slots", slots, sizeof slots) > 0 && !slotset_parse(&r->flow[flow].slots, slots))
        memset(&r->flow[flow].slots, 0, sizeof r->flow[flow].slots);
    if (ctl_get(line, "place", r->flow[flow].place, sizeof r->flow[flow].place) <= 0 ||
        !meta_is_word(r->flow[flow].place))
        r->flow[flow].place[0] = '\0';
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

void resume_say(const struct resume *r, struct buf *b)
{
    (void)buf_addf(b, "resume state=saved flows=%u ", r->flows);
    lineage_add(b, &r->lineage, ' ');
}

void resume_say_flow(const struct resume *r, unsigned flow, struct buf *b)
{
    const struct resume_flow *f = &r->flow[flow];
    (void)buf_addf(b, "from flow=%u pos=%llu ", flow, (unsigned long long)f->pos);
    if (!lineage_same(&f->lineage, &r->lineage))
        lineage_add(b, &f->lineage, ' ');
}

const char *resume_vector(struct resume *r)
{
    r->vector = (struct buf){.p = r->vector.p, .cap = r->vector.cap, .max = REC_FLOWS_MAX * 24};
    for (unsigned i = 0; i < r->flows; i++)
        (void)buf_addf(&r->vector, "%s%llu", i > 0 ? "-" : "", (unsigned long long)r->flow[i].pos);
    (void)buf_add(&r->vector, "", 1);
    return (const char *)r->vector.p;
}

struct flow_from resume_from(const struct resume *r, unsigned flow)
{
    const struct resume_flow *f = &r->flow[flow];
    return (struct flow_from){.pos = f->pos, .lineage = &f->lineage, .vector = (const char *)r->vector.p};
}
