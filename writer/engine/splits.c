#include "splits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "../target/hashset.h"
#include "log.h"
#include "request.h"
#include "../options.h"
#include "../outcome.h"
#include "../summary.h"
#include "failures.h"

void splits_free(struct splits *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->v[i].name);
    free(s->v);
    *s = (struct splits){.opt = s->opt,
                         .outcome = s->outcome,
                         .stats = s->stats,
                         .failures = s->failures,
                         .last_id = s->last_id};
}

static bool guards(const struct splits *s)
{
    return existing_guards(s->opt->on_existing);
}

/* name: NULL where it is not known. */
static struct split *find(const struct splits *s, unsigned flow, uint32_t key, const struct slice *name)
{
    for (unsigned i = s->n; i-- > 0;) {
        struct split *p = &s->v[i];
        if (p->key == key && p->flow == flow &&
            (name == NULL || p->name == NULL ||
             (p->len == name->n && memcmp(p->name, name->p, name->n) == 0)))
            return p;
    }
    return NULL;
}

static struct split *find_id(const struct splits *s, uint32_t id)
{
    for (unsigned i = s->n; i-- > 0;)
        if (s->v[i].id == id)
            return &s->v[i];
    return NULL;
}

bool splits_open(const struct splits *s, const struct rec *r)
{
    return s->n > 0 && find(s, r->flow, hashset_key(r->hash, r->db), NULL) != NULL;
}

bool splits_third(const struct splits *s, const struct rec *r)
{
    const struct split *p = s->n > 0 ? find(s, r->flow, hashset_key(r->hash, r->db), NULL) : NULL;
    return p != NULL && p->more;
}

bool splits_resets(const struct rec *r, const uint8_t *request)
{
    static const char del[] = "*2\r\n$3\r\nDEL\r\n";
    return (r->flags & (RF_FIRST | RF_LIVE)) == RF_FIRST && r->len > sizeof del &&
           memcmp(request, del, sizeof del - 1) == 0;
}

bool splits_same_key(const uint8_t *first, size_t n, const struct rec *r, const uint8_t *request)
{
    struct slice one, two;
    return request_arg(first, n, 1, &one) && request_arg(request, r->len, r->keyarg, &two) &&
           one.n == two.n && memcmp(one.p, two.p, one.n) == 0;
}

uint8_t splits_class_of(const struct splits *s, const struct rec *r)
{
    if ((r->flags & RF_LIVE) != 0)
        return 0;
    if ((r->flags & RF_FIRST) != 0)
        return r->vclass;
    if ((r->flags & RF_LAST) != 0 ||
        (s->n > 0 && find(s, r->flow, hashset_key(r->hash, r->db), NULL) != NULL))
        return 0;
    return r->vclass;
}

static void drop(struct splits *s, struct split *p)
{
    free(p->name);
    s->n--;
    memmove(p, p + 1, (size_t)(&s->v[s->n] - p) * sizeof *p);
}

static struct split *append(struct splits *s)
{
    if (s->n == s->cap) {
        s->cap = s->cap > 0 ? 2 * s->cap : 16;
        s->v = xrealloc(s->v, s->cap * sizeof *s->v);
    }
    return &s->v[s->n++];
}

static void first(struct splits *s, const struct rec *r, const uint8_t *request, size_t n)
{
    struct slice name;
    bool named = guards(s) && request_arg(request, n, r->keyarg, &name);
    struct split *p = find(s, r->flow, hashset_key(r->hash, r->db), named ? &name : NULL);
    if (p == NULL && s->n < SPLITS_MAX) {
        p = append(s);
        *p = (struct split){.key = hashset_key(r->hash, r->db), .flow = r->flow};
        if (named) {
            p->name = xmalloc(name.n + 1);
            memcpy(p->name, name.p, name.n);
            p->len = name.n;
        }
    }
    if (p == NULL)
        return;
    p->state = SPLIT_OPEN;
    p->more = false;
    if (s->ticket >= TICKET_FIRST) {
        p->state = SPLIT_ASKED;
        p->id = s->last_id = s->ticket;
    }
}

static void last(struct splits *s, const struct rec *r, const uint8_t *request, size_t n)
{
    struct slice name;
    bool named = request != NULL && request_arg(request, n, r->keyarg, &name);
    struct split *p = find(s, r->flow, hashset_key(r->hash, r->db), named ? &name : NULL);
    for (unsigned i = s->n; r->type == REC_POSITION && p == NULL && i-- > 0;)
        if (s->v[i].flow == r->flow) /* it names no key: the one begun last */
            p = &s->v[i];
    if (p == NULL)
        return;
    if (p->state == SPLIT_FAILED && r->type == REC_POSITION)
        failures_last(s->failures, r);
    drop(s, p);
}

void splits_took(struct splits *s, const struct rec *r, const uint8_t *request, size_t n)
{
    struct split *p = (r->flags & (RF_FIRST | RF_LAST)) == 0 && s->n > 0
                          ? find(s, r->flow, hashset_key(r->hash, r->db), NULL)
                          : NULL;
    if (p != NULL)
        p->more = true;
    if ((r->flags & (RF_FIRST | RF_LAST)) == 0)
        return;
    if ((r->flags & RF_LAST) != 0)
        last(s, r, request, n);
    else
        first(s, r, request, n);
}

/* ---- --on-existing skip and fail ---- */

enum guard guard_look(struct splits *s, const struct rec *r, const uint8_t *request, size_t n,
                      const char **wrong)
{
    struct slice name;
    s->ticket = TICKET_NONE;
    if (!guards(s) || (r->flags & (RF_LIVE | RF_MULTIKEY)) != 0 || r->keyarg == 0)
        return GUARD_SEND;
    *wrong = "a request that would overwrite a key, in a stream that was made not to";
    if ((r->flags & RF_PLAINSET) != 0)
        return GUARD_WRONG;
    *wrong = "a request without the key that it is said to have";
    if (!request_arg(request, n, r->keyarg, &name))
        return GUARD_WRONG;
    if ((r->flags & RF_FIRST) != 0) {
        *wrong = "too many keys in several requests at once";
        if (s->n >= SPLITS_MAX)
            return GUARD_WRONG;
        s->ticket = s->last_id < TICKET_FIRST ? TICKET_FIRST : s->last_id + 1;
        return GUARD_SEND;
    }
    const struct split *p = s->n > 0 ? find(s, r->flow, hashset_key(r->hash, r->db), &name) : NULL;
    if (p == NULL) {
        *wrong = "the last part of a key of which the first did not come";
        s->ticket = TICKET_WHOLE;
        return (r->flags & RF_LAST) != 0 ? GUARD_WRONG : GUARD_SEND;
    }
    switch ((enum split_state)p->state) {
    case SPLIT_ASKED: return GUARD_WAIT;
    case SPLIT_THERE: return GUARD_DROP;
    case SPLIT_FAILED: s->ticket = TICKET_BEHIND; return GUARD_FAIL;
    case SPLIT_OPEN: break;
    }
    return GUARD_SEND;
}

void guard_reply(struct splits *s, uint32_t ticket, enum split_state state)
{
    struct split *p = ticket >= TICKET_FIRST ? find_id(s, ticket) : NULL;
    if (p != NULL)
        p->state = (uint8_t)state;
}

void guard_there(struct splits *s, const struct rec *r, const uint8_t *request, size_t n)
{
    static const char name[] = "existing";
    struct slice key = {0};
    bool has = request_arg(request, n, r->keyarg, &key);
    const struct kind *k = kinds_count(&s->stats->reports, name, sizeof name - 1, has ? key.p : NULL, key.n);
    if (s->opt->on_existing == EXISTING_FAIL && k->count > 1)
        return;
    if (s->opt->on_existing == EXISTING_FAIL) {
        outcome_fail(s->outcome, EXIT_DATA, "event=key_exists key=%s db=%u target=%s note=%s",
                     log_quote(key.p, key.n), r->db, s->opt->shown,
                     "\"stopped by --on-existing fail; it is as it was\"");
        return;
    }
    log_event(k->count == 1 ? LOG_WARN : LOG_DEBUG, r->flow, "event=key_exists key=%s db=%u action=skipped",
              log_quote(key.p, key.n), r->db);
}

void guard_unsure(struct splits *s, unsigned flow, const uint8_t *request, size_t n, unsigned keyarg)
{
    struct slice name = {0}, key = {0};
    char kind[KIND_NAME];
    (void)request_arg(request, n, 0, &name);
    bool has = request_arg(request, n, keyarg, &key);
    int len = snprintf(kind, sizeof kind, "%.*s: written or already there", (int)(name.n < 24 ? name.n : 24),
                       name.p != NULL ? (const char *)name.p : "");
    const struct kind *k = kinds_count(&s->stats->doubtful, kind, (size_t)len, has ? key.p : NULL, key.n);
    log_event(k->count == 1 ? LOG_WARN : LOG_DEBUG, (int)flow, "event=key_doubtful command=%s key=%s note=%s",
              log_quote(name.p, name.n), log_quote(key.p, key.n),
              "\"its reply was lost: it is ours, or was there before\"");
}
