/* What a master is asked beside the requests of records, and what is to be made of its answer. */
#include <stdlib.h>
#include <bsd/string.h>

#include "cluster.h"
#include "io.h"

struct question {
    LIST_ENTRY(question) link; /* nodes.questions */
    struct nodes *nodes;
    answer_fn *fn;
    void *arg;
    int type; /* of the answer */
    const char *what;
};

static struct question *question_new(struct nodes *ns, answer_fn *fn, void *arg, int type, const char *what)
{
    struct question *q = xcalloc(1, sizeof *q);
    *q = (struct question){.nodes = ns, .fn = fn, .arg = arg, .type = type, .what = what};
    LIST_INSERT_HEAD(&ns->questions, q, link);
    return q;
}

void questions_free(struct nodes *ns)
{
    struct question *q;
    while ((q = LIST_FIRST(&ns->questions)) != NULL) {
        LIST_REMOVE(q, link);
        free(q);
    }
}

static void answer(struct question *q, struct cnode *n, const redisReply *r)
{
    LIST_REMOVE(q, link);
    q->fn(q->arg, n, r);
    free(q);
}

/* Is it an answer? Where it is a refusal that passes, or nonsense, the question is to be put again. */
static bool is_answer(struct nodes *ns, struct line *l, const struct question *q, const redisReply *r)
{
    if (r == NULL)
        return false;
    if (r->type == REDIS_REPLY_ERROR)
        cluster_question_refused(ns->cl, l, r, q->what);
    else if (line_expects(l, r, REPLY_BIT(q->type), q->what))
        l->node->plight = (struct plight){0};
    return r->type == q->type;
}

static void on_reply(struct line *l, void *arg, const redisReply *r)
{
    struct question *q = arg;
    answer(q, l->node, is_answer(q->nodes, l, q, r) ? r : NULL);
}

void node_ask(struct conn *c, answer_fn *fn, void *arg, const char *one, const char *two)
{
    line_call(&c->line, on_reply, question_new(c->all, fn, arg, REDIS_REPLY_STRING, one), one, two, NULL);
}

/* ---- scans ---- */

static void on_scan(struct line *l, void *arg, const redisReply *r)
{
    struct question *q = arg;
    struct cnode *n = l->node;
    const redisReply *keys = NULL;
    if (is_answer(q->nodes, l, q, r) && reply_is_scan(r) && !scan_circles(&n->guard, r->element[0]->str)) {
        strlcpy(n->cursor, r->element[0]->str, sizeof n->cursor);
        keys = r->element[1];
    } else if (r != NULL && r->type == q->type) {
        line_lose(l, "SCAN: unexpected reply");
    }
    answer(q, n, keys);
}

void node_scan_anew(struct cnode *n)
{
    strlcpy(n->cursor, "0", sizeof n->cursor);
    n->guard = (struct scan_guard){.n = 0};
}

void node_scan(struct conn *c, uint32_t db, answer_fn *fn, void *arg, const char *count)
{
    cluster_scan(c, db, on_scan, question_new(c->all, fn, arg, REDIS_REPLY_ARRAY, "SCAN"),
                 c->line.node->cursor, count);
}
