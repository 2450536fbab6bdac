#include "claim.h"

#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "../writer.h"

/* ---- source and target ---- */

static bool is_source(const struct writer *w, const struct identity *who)
{
    const struct session *s = &w->session;
    bool is = strcmp(who->replid, s->lineage.replid) == 0;
    if (s->run_id[0] != '\0' && strcmp(who->run_id, s->run_id) == 0) /* a Redis gives itself another replid */
        return true;
    for (unsigned i = 0; i < s->flows; i++)
        is = is || strcmp(who->replid, s->flow[i].own.replid) == 0;
    return is && who->replid[0] != '\0';
}

static bool target_is_source(const struct writer *w)
{
    if (is_source(w, &w->node.info.who))
        return true;
    for (unsigned i = 0; i < w->cluster->nnodes; i++)
        if (is_source(w, &w->cluster->node[i]->who))
            return true;
    return false;
}

/* ---- the task's position key ---- */

/* Whose changes the position key counts: "nonce epoch flows replid lineage", and the address. */
static bool is_anothers(const struct writer *w)
{
    struct position_id id;
    const char *address = w->whole.source;
    if (!position_id_parse(&id, w->whole.session))
        return false;
    /* "-": each flow has its own. */
    bool same = strcmp(id.lineage.replid, w->session.lineage.replid) == 0;
    if (same && strcmp(id.lineage.replid, "-") != 0)
        return false;
    /* A source that was started anew has another replid, and its old address. */
    return address[0] != '\0' && strcmp(address, "-") != 0 && strcmp(w->session.address, "-") != 0 &&
           strcmp(address, w->session.address) != 0;
}

static enum put check_position_key(struct writer *w)
{
    if (!whole_key(w))
        return w->outcome.failed ? PUT_FAIL : PUT_WAIT;
    if (!is_anothers(w))
        return PUT_DONE;
    outcome_fail(&w->outcome, EXIT_CANNOT, "event=task_of_another_source task=%s source=%s target=%s note=%s",
                 w->opt.task, log_quote(w->whole.source, strlen(w->whole.source)), w->opt.shown,
                 "\"its positions are at the target: give each source its own --task, or say --takeover\"");
    return PUT_FAIL;
}

/* Which server each master is. */
static bool nodes_known(const struct writer *w)
{
    bool all = true;
    for (unsigned i = 0; i < w->cluster->nnodes; i++) {
        struct cnode *n = w->cluster->node[i];
        if (n->master && n->conn[0]->state != CONN_READY) {
            (void)cnode_conn(w->cluster, n, 0, 64); /* where it is not there, that has its time limit */
            all = false;
        }
    }
    return all;
}

enum put claim_target(struct writer *w)
{
    struct session *s = &w->session;
    if (s->claimed || (!s->live && !w->opt.takeover))
        return PUT_DONE;
    if ((s->going_on == 0 || w->opt.takeover) && !nodes_known(w)) /* a takeover cuts off everywhere, first */
        return PUT_WAIT; /* one that goes on was looked at when it began */
    if (s->live && target_is_source(w)) {
        outcome_fail(
            &w->outcome, EXIT_CANNOT, "event=target_is_the_source target=%s source=%s note=%s", w->opt.shown,
            log_quote(s->address, strlen(s->address)),
            "\"both are the same server, whatever the address, or a replica of it: nothing was written\"");
        return PUT_FAIL;
    }
    /* One that resumes was refused as another master's: --on-full-resync decides. */
    bool resumes = s->refused[0] != '\0' || s->going_on > 0;
    enum put got = PUT_DONE;
    if (w->cluster->whole && s->journal && !resumes && !w->opt.takeover)
        got = check_position_key(w);
    if (got != PUT_DONE)
        return got;
    s->claimed = true;
    return PUT_DONE;
}
