#include "claim.h"

#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "../writer.h"

/* ---- source and target ---- */

static bool is_source(const struct session *s, const struct identity *who)
{
    bool is = strcmp(who->replid, s->lineage.replid) == 0;
    if (s->run_id[0] != '\0' && strcmp(who->run_id, s->run_id) == 0) /* a Redis gives itself another replid */
        return true;
    for (unsigned i = 0; i < s->flows; i++)
        is = is || strcmp(who->replid, s->flow[i].own.replid) == 0;
    return is && who->replid[0] != '\0';
}

static bool target_is_source(const struct session *s, const struct nodes *ns)
{
    if (is_source(s, &ns->target->info.who))
        return true;
    for (unsigned i = 0; i < ns->n; i++)
        if (is_source(s, &ns->node[i]->who))
            return true;
    return false;
}

/* ---- the task's position key ---- */

/* Whose changes the position key counts: "nonce epoch flows replid lineage", and the address. */
static bool is_anothers(const struct whole *x)
{
    const struct session *s = x->session;
    struct position_id id;
    const char *address = x->said_source;
    if (!position_id_parse(&id, x->said_session))
        return false;
    /* "-": each flow has its own. */
    bool same = strcmp(id.lineage.replid, s->lineage.replid) == 0;
    if (same && strcmp(id.lineage.replid, "-") != 0)
        return false;
    /* A source that was started anew has another replid, and its old address. */
    return address[0] != '\0' && strcmp(address, "-") != 0 && strcmp(s->address, "-") != 0 &&
           strcmp(address, s->address) != 0;
}

static enum put check_position_key(struct whole *x)
{
    if (!whole_read(x))
        return x->outcome->failed ? PUT_FAIL : PUT_WAIT;
    if (!is_anothers(x))
        return PUT_DONE;
    outcome_fail(x->outcome, EXIT_CANNOT, "event=task_of_another_source task=%s source=%s target=%s note=%s",
                 x->opt->task, log_quote(x->said_source, strlen(x->said_source)), x->opt->shown,
                 "\"its positions are at the target: give each source its own --task, or say --takeover\"");
    return PUT_FAIL;
}

/* Which server each master is. */
static bool nodes_known(struct nodes *ns)
{
    bool all = true;
    for (unsigned i = 0; i < ns->n; i++) {
        struct cnode *n = ns->node[i];
        if (n->master && n->conn[0]->line.state != CONN_READY) {
            (void)cnode_conn(ns, n, 0, 64); /* where it is not there, that has its time limit */
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
    if ((s->going_on == 0 || w->opt.takeover) &&
        !nodes_known(&w->cluster->nodes)) /* a takeover cuts off everywhere, first */
        return PUT_WAIT;                  /* one that goes on was looked at when it began */
    if (s->live && target_is_source(s, &w->cluster->nodes)) {
        outcome_fail(
            &w->outcome, EXIT_CANNOT, "event=target_is_the_source target=%s source=%s note=%s", w->opt.shown,
            log_quote(s->address, strlen(s->address)),
            "\"both are the same server, whatever the address, or a replica of it: nothing was written\"");
        return PUT_FAIL;
    }
    /* One that resumes was refused as another master's: --on-full-resync decides. */
    bool resumes = s->refused[0] != '\0' || s->going_on > 0;
    enum put got = PUT_DONE;
    if (w->cluster->nodes.whole && s->journal && !resumes && !w->opt.takeover)
        got = check_position_key(&w->whole);
    if (got != PUT_DONE)
        return got;
    s->claimed = true;
    return PUT_DONE;
}
