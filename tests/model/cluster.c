/* Slots on their way between the masters of a cluster source, and us behind them: a random model. The nodes,
 * their streams, our parser's keys, the writer and the target are simulated here; what decides is the shipped
 * code of reader/redis/handover.c and parser/reread/holding.c. Each history ends with the cluster at rest and
 * everything read; then the target has to hold what the owners of the slots hold, and nothing else.
 *
 * model [-n HISTORIES] [-s SEED] [-v]: prints what was done in all of them; exits with 1 at the first
 * difference, and names its seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../reader/redis/handover.h"
#include "../../parser/reread/holding.h"

#define NODES   4u
#define USED    4u /* slots with keys */
#define KEYS    3u /* of each */
#define STREAM  4096u
#define QUEUE   4096u
#define STEPS   400u
#define NOWHERE UINT32_MAX

static const unsigned number_of[USED] = {0, 5000, 9999, SLOTS - 1};

enum op { OP_SET, OP_ADD, OP_DEL, OP_RESTORE, OP_ASKING, OP_TRIM, OP_FLUSH, OP_OTHER };

struct value {
    bool there;
    uint64_t v;
};

/* What a node sends: the entry at index i is at offset i, and the position behind it is i + 2. Position 1 is
 * that of an empty stream: 0 is none. */
struct entry {
    enum op op;
    uint8_t slot, key;
    uint64_t arg;
};

struct node {
    struct value key[USED][KEYS];
    bool owned[USED];
    uint32_t migrating[USED], importing[USED]; /* a node */
    bool trims[USED];                          /* its TRIMSLOTS is still to come */
    bool unseen[USED];                         /* keys went silently, and we have not looked since */
    bool silent;                               /* an older one: what is left in a lost slot goes silently */
    unsigned lineage;
    unsigned n;
    struct entry stream[STREAM];
};

/* Atomic migration of one slot. */
struct atomic {
    bool on, valkey, copied[KEYS];
    unsigned slot, from, to;
};

static struct node node[NODES];
static struct atomic atomic;
static uint64_t rng, counter;
static bool verbose;

static unsigned long long did_migrate, did_atomic, did_fail, did_force, did_flush, did_crash, did_failover,
    did_resync, did_takes, did_failed_takes, did_sweeps, did_writes, did_unswept, did_gap;

static unsigned draw(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 33) % n;
}

/* ---- the nodes ---- */

static void run(struct value *v, const struct entry *e)
{
    switch (e->op) {
    case OP_SET:
    case OP_ASKING:
    case OP_RESTORE: *v = (struct value){true, e->arg}; break;
    case OP_ADD: *v = (struct value){true, (v->there ? v->v : 0) * 1000003 + e->arg}; break;
    case OP_DEL: *v = (struct value){false, 0}; break;
    default: break;
    }
}

static void log_entry(struct node *n, enum op op, unsigned slot, unsigned key, uint64_t arg)
{
    if (n->n < STREAM)
        n->stream[n->n++] = (struct entry){op, (uint8_t)slot, (uint8_t)key, arg};
}

static void execute(struct node *n, enum op op, unsigned slot, unsigned key, uint64_t arg)
{
    struct entry e = {op, (uint8_t)slot, (uint8_t)key, arg};
    run(&n->key[slot][key], &e);
    log_entry(n, op, slot, key, arg);
    if (atomic.on && &node[atomic.from] == n && atomic.slot == slot && atomic.copied[key] && op < OP_RESTORE)
        execute(&node[atomic.to], op, slot, key, arg); /* the same writes again */
}

static unsigned count(const struct node *n, unsigned slot)
{
    unsigned c = 0;
    for (unsigned k = 0; k < KEYS; k++)
        c += n->key[slot][k].there;
    return c;
}

static unsigned owner_of(unsigned slot)
{
    unsigned found = NODES;
    for (unsigned i = 0; i < NODES; i++)
        if (node[i].owned[slot] && (found == NODES || node[found].migrating[slot] == i))
            found = i;
    return found;
}

/* The node that serves the key: the owner, or where it is moving to. */
static struct node *serves(unsigned slot, unsigned key)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct node *n = &node[i];
        if (!n->owned[slot] || n->migrating[slot] == NOWHERE)
            continue;
        return n->key[slot][key].there ? n : &node[n->migrating[slot]];
    }
    return owner_of(slot) < NODES ? &node[owner_of(slot)] : NULL;
}

static void client_writes(void)
{
    unsigned slot = draw(USED), key = draw(KEYS), what = draw(10);
    struct node *n = serves(slot, key);
    if (n == NULL)
        return;
    did_writes++;
    if (what < 2)
        execute(n, OP_SET, slot, key, ++counter);
    else if (what < 7)
        execute(n, OP_ADD, slot, key, ++counter);
    else if (what < 9 && n->key[slot][key].there)
        execute(n, OP_DEL, slot, key, 0);
    else
        log_entry(n, OP_OTHER, 0, 0, 0);
}

/* The owner notices that the slot is another's. */
static void lose(struct node *n, unsigned slot)
{
    if (!n->owned[slot])
        return;
    n->owned[slot] = false;
    n->migrating[slot] = NOWHERE;
    for (unsigned k = 0; k < KEYS; k++) {
        if (!n->key[slot][k].there)
            continue;
        if (n->silent) {
            n->key[slot][k].there = false;
            n->unseen[slot] = true;
        } else {
            execute(n, OP_DEL, slot, k, 0);
        }
    }
}

/* Two masters that have it for a moment: the older one hears of it. */
static void config_spreads(unsigned slot)
{
    unsigned to = NOWHERE;
    for (unsigned i = 0; i < NODES; i++)
        if (node[i].owned[slot] && node[i].migrating[slot] != NOWHERE &&
            node[node[i].migrating[slot]].owned[slot])
            to = i;
    if (to != NOWHERE)
        lose(&node[to], slot);
}

static void begin_migration(unsigned slot)
{
    unsigned from = owner_of(slot), to = draw(NODES);
    if (from >= NODES || to == from || node[from].migrating[slot] != NOWHERE || node[from].trims[slot] ||
        node[to].trims[slot] || (atomic.on && atomic.slot == slot))
        return;
    for (unsigned i = 0; i < NODES; i++)
        if (i != from && node[i].owned[slot])
            return;
    did_migrate++;
    node[from].migrating[slot] = to;
    node[to].importing[slot] = from;
}

/* MIGRATE: of one key, and all that can become of it. */
static void move_key(struct node *from, unsigned slot, unsigned key)
{
    struct node *to = &node[from->migrating[slot]];
    unsigned fate = draw(12);
    bool replace = draw(2) == 0;
    if (!from->key[slot][key].there || fate == 0)
        return;
    if (to->key[slot][key].there && !replace) {
        did_fail++;
        return; /* BUSYKEY */
    }
    execute(to, OP_ASKING, slot, key, from->key[slot][key].v);
    to->unseen[slot] = false;
    if (fate <= 2) { /* COPY, or the reply was lost */
        did_fail++;
        return;
    }
    execute(from, OP_DEL, slot, key, 0);
}

static void abandon(struct node *from, unsigned slot)
{
    did_fail++;
    node[from->migrating[slot]].importing[slot] = NOWHERE;
    from->migrating[slot] = NOWHERE;
}

static void finish_migration(struct node *from, unsigned slot, bool forced)
{
    struct node *to = &node[from->migrating[slot]];
    if (count(from, slot) > 0 && !forced)
        return;
    if (to->unseen[slot]) { /* the one gap that is left: df2redis(7) names it */
        did_gap++;
        abandon(from, slot);
        return;
    }
    did_force += count(from, slot) > 0;
    to->owned[slot] = true;
    to->importing[slot] = NOWHERE;
    if (draw(2) == 0)
        lose(from, slot);
}

static void key_by_key(void)
{
    unsigned slot = draw(USED), from = owner_of(slot);
    if (from >= NODES || node[from].migrating[slot] == NOWHERE) {
        begin_migration(slot);
        return;
    }
    if (node[node[from].migrating[slot]].owned[slot]) {
        config_spreads(slot);
        return;
    }
    switch (draw(8)) {
    case 0:
        if (draw(4) == 0)
            abandon(&node[from], slot);
        break;
    case 1:
    case 2: finish_migration(&node[from], slot, draw(8) == 0); break;
    default: move_key(&node[from], slot, draw(KEYS)); break;
    }
}

static void atomic_fails(void)
{
    struct node *to = &node[atomic.to];
    did_fail++;
    if (atomic.valkey)
        for (unsigned k = 0; k < KEYS; k++) {
            if (to->key[atomic.slot][k].there)
                execute(to, OP_DEL, atomic.slot, k, 0);
        }
    else
        to->trims[atomic.slot] = true;
    atomic.on = false;
}

static void trim(struct node *n, unsigned slot)
{
    if (!n->trims[slot])
        return;
    n->trims[slot] = false;
    for (unsigned k = 0; k < KEYS; k++)
        n->key[slot][k].there = false;
    log_entry(n, OP_TRIM, slot, 0, 0);
}

static void atomic_begins(void)
{
    unsigned slot = draw(USED), from = owner_of(slot), to = draw(NODES);
    if (from >= NODES || from == to || node[from].migrating[slot] != NOWHERE || node[to].owned[slot] ||
        node[from].silent || node[to].silent || node[from].trims[slot] || node[to].trims[slot])
        return;
    for (unsigned i = 0; i < NODES; i++)
        if (i != from && node[i].owned[slot])
            return;
    atomic = (struct atomic){.on = true, .slot = slot, .from = from, .to = to, .valkey = draw(2) == 0};
    did_atomic++;
    for (unsigned k = 0; k < KEYS; k++) /* what an abandoned migration left */
        if (node[to].key[slot][k].there)
            execute(&node[to], OP_DEL, slot, k, 0);
}

static void atomic_ends(void)
{
    struct node *from = &node[atomic.from], *to = &node[atomic.to];
    unsigned slot = atomic.slot;
    atomic.on = false;
    to->owned[slot] = true;
    from->owned[slot] = false;
    if (!atomic.valkey) {
        from->trims[slot] = true;
        return;
    }
    for (unsigned k = 0; k < KEYS; k++)
        if (from->key[slot][k].there)
            execute(from, OP_DEL, slot, k, 0);
}

static void atomic_step(void)
{
    if (!atomic.on) {
        atomic_begins();
        return;
    }
    unsigned left = 0, k = draw(KEYS);
    for (unsigned i = 0; i < KEYS; i++)
        left += !atomic.copied[i];
    if (draw(20) == 0) {
        atomic_fails();
    } else if (left == 0) {
        atomic_ends();
    } else if (!atomic.copied[k]) {
        const struct value *v = &node[atomic.from].key[atomic.slot][k];
        if (v->there)
            execute(&node[atomic.to], OP_RESTORE, atomic.slot, k, v->v);
        atomic.copied[k] = true;
    }
}

static void trims(void)
{
    trim(&node[draw(NODES)], draw(USED));
}

static void flush_node(void)
{
    struct node *n = &node[draw(NODES)];
    if (draw(12) != 0)
        return;
    did_flush++;
    for (unsigned s = 0; s < USED; s++)
        for (unsigned k = 0; k < KEYS; k++) {
            n->key[s][k].there = false;
            if (atomic.on && &node[atomic.from] == n && atomic.slot == s) /* it is begun anew */
                atomic_fails();
        }
    log_entry(n, OP_FLUSH, 0, 0, 0);
}

/* ---- our side ---- */

enum rk { RK_NONE, RK_WANTED, RK_REQUESTED, RK_READ, RK_ANSWERED };

/* A key that is read again, as parser/reread/reread.c does it. */
struct rekey {
    enum rk state;
    bool of_take;
    struct value value;
    uint64_t at;   /* position of the value */
    unsigned kept; /* entries while it is under way: those of the stream from here on are looked through */
    uint64_t kept_to;
};

struct record {
    bool slots; /* else an entry, or a value (fresh) */
    bool fresh;
    uint32_t number; /* of slots */
    uint64_t pos;    /* reached with it */
    uint64_t place;  /* behind the entry itself */
    struct entry e;
    bool held[USED];
};

struct message {
    enum { MSG_CLEAN, MSG_DROPPED, MSG_FAILED, MSG_SAVED } kind;
    uint32_t number;
    struct slotset slots;
};

struct flow {
    bool known; /* it has a node and a stream */
    unsigned lineage;
    uint64_t pos; /* of the parser */
    struct holding holding;
    struct rekey key[USED][KEYS];

    /* Orders on their way to the parser, and the reading of a take's lists. */
    struct ho_order order[64];
    unsigned orders;
    struct ho_order take; /* the one whose lists are being made */
    bool listing;
    bool to_list[USED], listed[USED]; /* asked of the source, and known there */
    bool list_key[USED][KEYS];
    uint64_t list_at[USED];
    bool to_sweep[USED][KEYS], sweep_key[USED][KEYS];
    bool sweeping;

    struct record queue[QUEUE]; /* to the writer */
    unsigned head, tail;
    struct message msg[256]; /* to the session */
    unsigned msgs;

    /* Applied, and what is saved of it. */
    uint64_t applied;
    bool applied_held[USED];
    uint32_t unsaved[64];
    unsigned nunsaved;
};

static struct flow flow[NODES];
static struct handover ho;
static struct value target[USED][KEYS];

/* At the target. */
static struct {
    bool whole;
    uint64_t pos[NODES];
    unsigned lineage[NODES];
    bool held[NODES][USED];
    uint64_t place[NODES]
                  [USED]; /* exactly once: the last position of the flow that was applied to the slot */
} saved;
static bool saves_late; /* to a file, from time to time */
static unsigned shift;  /* keys are renamed: other slots of the target have them */

static unsigned target_slot(const struct entry *e)
{
    return (e->slot + e->key * shift) % USED;
}

static void tell(struct flow *f, int kind, uint32_t number, const struct slotset *slots)
{
    struct message *m = &f->msg[f->msgs++];
    m->kind = (__typeof__(m->kind))kind;
    m->number = number;
    memset(&m->slots, 0, sizeof m->slots);
    if (slots != NULL)
        m->slots = *slots;
}

static struct record *put(struct flow *f)
{
    struct record *r = &f->queue[f->tail++ % QUEUE];
    memset(r, 0, sizeof *r);
    r->pos = f->pos;
    return r;
}

static void put_slots(struct flow *f, uint32_t number)
{
    struct record *r = put(f);
    r->slots = true;
    r->number = number;
    for (unsigned s = 0; s < USED; s++)
        r->held[s] = holding_has(&f->holding, number_of[s]);
}

/* place: behind the entry; 0: the value of a key that was read again, or what was kept behind it: FRESH. */
static void put_entry(struct flow *f, const struct entry *e, uint64_t place)
{
    struct record *r = put(f);
    r->e = *e;
    r->place = place;
    r->fresh = place == 0;
}

/* ---- parser ---- */

static void want(struct flow *f, unsigned s, unsigned k)
{
    struct rekey *r = &f->key[s][k];
    if (r->state == RK_NONE) {
        r->state = RK_WANTED;
        holding_key_wanted(&f->holding);
    } else {
        r->state = RK_WANTED;
    }
}

static void drop_rekeys(struct flow *f, const struct slotset *slots)
{
    for (unsigned s = 0; s < USED; s++)
        for (unsigned k = 0; k < KEYS; k++)
            if (slotset_has(slots, number_of[s]))
                f->key[s][k].state = RK_NONE;
}

static void parse_flush(struct flow *f, const struct entry *e)
{
    struct slotset which = {{0}}, dropped;
    for (unsigned s = 0; s < USED; s++)
        if (e->op == OP_FLUSH || e->slot == s) /* else OP_TRIM, OP_ASKING */
            slotset_add(&which, number_of[s]);
    if (!holding_flush(&f->holding, &which, &dropped))
        return;
    put_slots(f, 0);
    tell(f, MSG_DROPPED, 0, &dropped);
}

static void parse_entry(struct flow *f, const struct node *n)
{
    const struct entry *e = &n->stream[f->pos - 1];
    f->pos++;
    if (e->op == OP_OTHER)
        return;
    if (e->op == OP_FLUSH || e->op == OP_TRIM) {
        parse_flush(f, e);
        return;
    }
    struct rekey *r = &f->key[e->slot][e->key];
    if (e->op == OP_ASKING && holding_has(&f->holding, number_of[e->slot]))
        parse_flush(f, e); /* it had lost the slot, and nobody has noticed */
    enum hold_verdict v = holding_command(&f->holding, number_of[e->slot], f->pos, e->op == OP_DEL);
    if (v == HOLD_WANT)
        want(f, e->slot, e->key);
    if (v != HOLD_APPLY)
        return;
    switch (r->state) {
    case RK_NONE: put_entry(f, e, f->pos); break;
    case RK_WANTED: break; /* the value will contain it */
    case RK_REQUESTED:
    case RK_READ: break; /* kept: written behind the value, if it does not contain it */
    case RK_ANSWERED:
        if (f->pos > r->at) { /* cannot be: it was written */
            printf("a value was not written at its place\n");
            abort();
        }
        break;
    }
}

/* Values whose place has come, and what was kept behind them. */
static void write_due(struct flow *f, const struct node *n)
{
    for (unsigned s = 0; s < USED; s++)
        for (unsigned k = 0; k < KEYS; k++) {
            struct rekey *r = &f->key[s][k];
            if (r->state != RK_ANSWERED || f->pos < r->at)
                continue;
            struct entry e = {r->value.there ? OP_RESTORE : OP_DEL, (uint8_t)s, (uint8_t)k, r->value.v};
            put_entry(f, &e, 0);
            for (uint64_t p = r->at; p < f->pos; p++) {
                const struct entry *x = &n->stream[p - 1];
                if (x->slot == s && x->key == k && x->op <= OP_ASKING)
                    put_entry(f, x, 0);
            }
            r->state = RK_NONE;
            holding_key_done(&f->holding, true);
        }
}

static void take_over(struct flow *f)
{
    uint32_t number;
    struct slotset slots;
    bool ok;
    if (!holding_take_over(&f->holding, f->pos, &number, &slots, &ok))
        return;
    f->listing = f->sweeping = false;
    if (ok) {
        put_slots(f, number);
        did_takes++;
        return;
    }
    drop_rekeys(f, &slots);
    tell(f, MSG_FAILED, number, &slots);
    did_failed_takes++;
}

static void releases_due(struct flow *f)
{
    uint32_t number;
    struct slotset clean;
    while (holding_release_due(&f->holding, f->pos, &number, &clean)) {
        put_slots(f, number);
        tell(f, MSG_CLEAN, number, &clean);
    }
}

static void parse_order(struct flow *f)
{
    const struct ho_order *o = &f->order[0];
    if (f->orders == 0)
        return;
    if (o->what == HO_RELEASE) {
        if (!holding_release(&f->holding, o->number, o->at, &o->slots))
            abort();
    } else {
        bool sweep = o->sweep;
        if (!holding_take(&f->holding, o->number, &o->slots, sweep)) {
            printf("a take was refused\n");
            abort();
        }
        f->take = *o;
        f->listing = true;
        f->sweeping = sweep;
        did_sweeps += sweep;
        did_unswept += !sweep;
        for (unsigned s = 0; s < USED; s++) {
            f->to_list[s] = slotset_has(&o->slots, number_of[s]);
            f->listed[s] = false;
            for (unsigned k = 0; k < KEYS; k++) {
                f->to_sweep[s][k] = sweep && f->to_list[s];
                f->sweep_key[s][k] = false;
            }
        }
        /* Slots without keys in this model. */
        for (unsigned i = slotset_next(&o->slots, 0); i < SLOTS; i = slotset_next(&o->slots, i + 1)) {
            bool used = false;
            for (unsigned s = 0; s < USED; s++)
                used |= number_of[s] == i;
            if (!used)
                abort();
        }
    }
    f->orders--;
    memmove(f->order, f->order + 1, f->orders * sizeof *f->order);
}

/* Lists: read at the source at one moment, known to the parser at a later one. */
static void read_list(struct flow *f, const struct node *n)
{
    unsigned s = draw(USED);
    if (!f->listing || !f->to_list[s])
        return;
    f->to_list[s] = false;
    f->listed[s] = true;
    f->list_at[s] = n->n + 1;
    for (unsigned k = 0; k < KEYS; k++)
        f->list_key[s][k] = n->key[s][k].there;
}

static void take_list(struct flow *f)
{
    unsigned s = draw(USED);
    if (!f->listing || !f->listed[s] || f->holding.state[number_of[s]] != HOLD_TAKING)
        return;
    f->listed[s] = false;
    for (unsigned k = 0; k < KEYS; k++)
        if (f->list_key[s][k])
            want(f, s, k);
    holding_listed(&f->holding, number_of[s], f->list_at[s]);
}

/* A SCAN meets keys one by one; its names come to the parser when it is over. */
static void sweep_step(struct flow *f)
{
    if (!f->sweeping)
        return;
    for (unsigned s = 0; s < USED; s++)
        for (unsigned k = 0; k < KEYS; k++)
            if (f->to_sweep[s][k]) {
                if (draw(3) == 0)
                    continue;
                f->to_sweep[s][k] = false;
                f->sweep_key[s][k] = target[s][k].there;
                return;
            }
    for (unsigned s = 0; s < USED; s++)
        for (unsigned k = 0; k < KEYS; k++)
            if (f->to_sweep[s][k])
                return;
    f->sweeping = false;
    for (unsigned s = 0; s < USED; s++)
        for (unsigned k = 0; k < KEYS; k++)
            if (f->sweep_key[s][k] && f->holding.state[number_of[s]] == HOLD_TAKING)
                want(f, s, k);
    holding_swept(&f->holding);
}

/* A request leaves; the source reads; the answer comes. */
static void rekey_step(struct flow *f, const struct node *n)
{
    unsigned s = draw(USED), k = draw(KEYS);
    struct rekey *r = &f->key[s][k];
    switch (r->state) {
    case RK_WANTED: /* before that commands that the list contains may still come, and are dropped */
        if (f->holding.at[number_of[s]] != 0)
            r->state = RK_REQUESTED;
        break;
    case RK_REQUESTED:
        r->value = n->key[s][k];
        r->at = n->n + 1;
        r->state = RK_READ;
        break;
    case RK_READ: r->state = RK_ANSWERED; break;
    case RK_NONE:
    case RK_ANSWERED: break;
    }
    if (r->state == RK_ANSWERED && draw(50) == 0) { /* given up */
        r->state = RK_NONE;
        holding_key_done(&f->holding, false);
    }
}

static void parser_step(unsigned i)
{
    struct flow *f = &flow[i];
    const struct node *n = &node[i];
    if (!f->known)
        return;
    if (draw(2) == 0)
        parse_order(f);
    read_list(f, n);
    take_list(f);
    sweep_step(f);
    rekey_step(f, n);
    write_due(f, n);
    for (unsigned k = draw(4); k > 0 && f->pos <= n->n && f->tail - f->head < QUEUE / 2; k--) {
        releases_due(f);
        parse_entry(f, n);
        write_due(f, n);
    }
    releases_due(f);
    take_over(f);
}

/* ---- writer and target ---- */

static void save(unsigned i)
{
    struct flow *f = &flow[i];
    saved.pos[i] = f->applied;
    saved.lineage[i] = f->lineage;
    memcpy(saved.held[i], f->applied_held, sizeof f->applied_held);
    for (unsigned k = 0; k < f->nunsaved; k++)
        tell(f, MSG_SAVED, f->unsaved[k], NULL);
    f->nunsaved = 0;
}

static void writer_step(unsigned i)
{
    struct flow *f = &flow[i];
    for (unsigned k = draw(5); k > 0 && f->head != f->tail && f->nunsaved < 60; k--) {
        const struct record *r = &f->queue[f->head++ % QUEUE];
        f->applied = r->pos;
        if (r->slots) {
            memcpy(f->applied_held, r->held, sizeof r->held);
            if (r->number != 0)
                f->unsaved[f->nunsaved++] = r->number;
        } else {
            uint64_t *place = &saved.place[i][target_slot(&r->e)];
            if (r->fresh || r->place > *place)
                run(&target[r->e.slot][r->e.key], &r->e);
            if (r->place > *place)
                *place = r->place;
        }
        if (!saves_late)
            save(i);
    }
    if (saves_late && draw(10) == 0)
        save(i);
}

/* ---- session ---- */

static void give(const struct ho_order *o)
{
    struct flow *f = &flow[o->flow];
    if (f->orders == 64)
        abort();
    f->order[f->orders++] = *o;
}

static void session_hears(struct flow *f, unsigned i)
{
    struct ho_order o;
    if (f->msgs == 0)
        return;
    unsigned which = draw(f->msgs); /* of several connections */
    struct message m = f->msg[which];
    f->msgs--;
    memmove(f->msg + which, f->msg + which + 1, (f->msgs - which) * sizeof m);
    switch (m.kind) {
    case MSG_CLEAN: handover_clean(&ho, i, m.number, &m.slots); break;
    case MSG_SAVED: handover_saved(&ho, i, m.number); break;
    case MSG_DROPPED:
    case MSG_FAILED:
        if (handover_dropped(&ho, i, &m.slots, m.kind == MSG_FAILED, &o))
            give(&o);
        break;
    }
}

static void look_at(unsigned i)
{
    struct ho_look look = {.at = node[i].n + 1};
    struct ho_order o;
    for (unsigned s = 0; s < USED; s++) {
        if (node[i].owned[s])
            slotset_add(&look.owned, number_of[s]);
        else if (!node[i].silent && count(&node[i], s) == 0)
            slotset_add(&look.empty, number_of[s]);
    }
    if (handover_look(&ho, i, &look, &o))
        give(&o);
    for (unsigned s = 0; s < USED; s++) { /* noticed, and saved: else a crash forgets it */
        const struct ho_slot *x = &ho.slot[number_of[s]];
        node[i].unseen[s] = node[i].unseen[s] && x->state == HO_RELEASING && x->flow == i;
    }
}

static void session_step(void)
{
    unsigned i = draw(NODES);
    struct ho_order o;
    session_hears(&flow[i], i);
    if (draw(4) == 0)
        look_at(i);
    if (draw(4) == 0)
        handover_tick(&ho);
    if (draw(8) == 0) /* one or two slots at a time, or all */
        handover_listed(&ho, i, 1 + draw(2), draw(3) * HO_KEYS);
    if (draw(2) == 0 && handover_take(&ho, 1 + draw(USED), &o))
        give(&o);
}

/* ---- beginning, and beginning again ---- */

static void drop_all(void)
{
    memset(flow, 0, sizeof flow);
    static struct slotset all;
    slotset_add_range(&all, 0, SLOTS - 1);
    handover_init(&ho, NODES, &all);
}

static void holds(unsigned i, const bool *held, bool restored)
{
    struct slotset set = {{0}};
    bool twice;
    for (unsigned s = 0; s < USED; s++)
        if (held[s])
            slotset_add(&set, number_of[s]);
    handover_holds(&ho, i, &set, restored, &twice);
    if (twice) {
        printf("two flows hold a slot\n");
        abort();
    }
    holding_begin(&flow[i].holding, &set);
    memcpy(flow[i].applied_held, held, USED * sizeof *held);
}

static void world_step(void);

/* Full sync: a look at all, then, at other moments, the snapshots. */
static void full_sync(void)
{
    bool held[NODES][USED] = {{0}};
    drop_all();
    memset(&saved, 0, sizeof saved);
    memset(target, 0, sizeof target);
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned s = 0; s < USED; s++) {
            bool taken = false;
            for (unsigned k = 0; k < i; k++)
                taken |= held[k][s];
            held[i][s] = node[i].owned[s] && !taken;
        }
        world_step();
    }
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned k = draw(10); k > 0; k--)
            world_step();
        flow[i].known = true;
        flow[i].lineage = node[i].lineage;
        flow[i].pos = flow[i].applied = node[i].n + 1;
        holds(i, held[i], false);
        for (unsigned s = 0; s < USED; s++)
            for (unsigned k = 0; held[i][s] && k < KEYS; k++)
                target[s][k] = node[i].key[s][k];
        save(i);
        handover_ready(&ho, i, true);
    }
    saved.whole = true;
}

static void resume(void)
{
    drop_all();
    for (unsigned i = 0; i < NODES; i++) {
        static const bool nothing[USED];
        flow[i].known = true;
        flow[i].lineage = node[i].lineage;
        bool goes_on = saved.lineage[i] == node[i].lineage && saved.pos[i] <= node[i].n + 1;
        flow[i].pos = flow[i].applied = goes_on ? saved.pos[i] : node[i].n + 1;
        if (!goes_on)
            memset(saved.place[i], 0, sizeof saved.place[i]);
        holds(i, goes_on ? saved.held[i] : nothing, true);
        handover_ready(&ho, i, true);
    }
}

static void crash(void)
{
    did_crash++;
    resume();
}

/* A replica takes over: it has everything, or lacks the end. Or the node begins another stream. */
static void failover(void)
{
    unsigned i = draw(NODES);
    struct node *n = &node[i];
    if (draw(40) != 0 || atomic.on)
        return;
    if (draw(2) == 0) { /* it has everything: the lineage goes on */
        did_failover++;
        crash();
        return;
    }
    n->lineage++;
    did_resync++;
    if (draw(2) == 0) { /* an older state: another history from here on */
        unsigned s = draw(USED), k = draw(KEYS);
        if (n->owned[s] && n->migrating[s] == NOWHERE)
            n->key[s][k] = (struct value){draw(2) == 0, ++counter};
    }
    resume();
}

static void world_step(void)
{
    for (unsigned i = 0; i < NODES; i++)
        if (node[i].n + 200 > STREAM)
            return;
    switch (draw(10)) {
    case 0:
    case 1: key_by_key(); break;
    case 2:
    case 3: atomic_step(); break;
    case 4: trims(); break;
    case 5: flush_node(); break;
    default: client_writes(); break;
    }
}

/* ---- a history ---- */

static void settle_world(void)
{
    while (atomic.on)
        atomic_step();
    for (unsigned s = 0; s < USED; s++) {
        for (unsigned i = 0; i < NODES; i++)
            trim(&node[i], s);
        for (unsigned tries = 0; tries < 4; tries++)
            config_spreads(s);
        unsigned from = owner_of(s);
        if (from < NODES && node[from].migrating[s] != NOWHERE) {
            finish_migration(&node[from], s, true);
            config_spreads(s);
        }
    }
}

static bool quiet(void)
{
    unsigned open = handover_open(&ho);
    if (open > SLOTS - USED)
        return false;
    for (unsigned i = 0; i < NODES; i++) {
        const struct flow *f = &flow[i];
        if (f->pos <= node[i].n || f->head != f->tail || f->msgs > 0 || f->orders > 0 || f->nunsaved > 0)
            return false;
    }
    for (unsigned s = 0; s < USED; s++) {
        const struct ho_slot *x = &ho.slot[number_of[s]];
        if (x->flow >= NODES || !node[x->flow].owned[s])
            return false;
    }
    return true;
}

static bool equal(uint64_t seed)
{
    bool same = true;
    for (unsigned s = 0; s < USED; s++)
        for (unsigned k = 0; k < KEYS; k++) {
            const struct value *a = &node[owner_of(s)].key[s][k], *b = &target[s][k];
            if (a->there == b->there && (!a->there || a->v == b->v))
                continue;
            printf("%s", saves_late ? "(positions saved late) " : "");
            printf("seed %llu: slot %u key %u: source %d %llu, target %d %llu\n", (unsigned long long)seed, s,
                   k, a->there, (unsigned long long)a->v, b->there, (unsigned long long)b->v);
            same = false;
        }
    return same;
}

static void all_step(bool world)
{
    if (world)
        world_step();
    for (unsigned i = 0; i < NODES; i++) {
        if (draw(2) == 0)
            parser_step(i);
        if (draw(2) == 0)
            writer_step(i);
    }
    session_step();
}

static bool history(uint64_t seed)
{
    rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (int i = 0; i < 8; i++)
        (void)draw(2);
    memset(node, 0, sizeof node);
    memset(&atomic, 0, sizeof atomic);
    unsigned silent = draw(3); /* none, all, some */
    for (unsigned i = 0; i < NODES; i++) {
        node[i].silent = silent == 1 || (silent == 2 && draw(2) == 0);
        for (unsigned s = 0; s < USED; s++)
            node[i].migrating[s] = node[i].importing[s] = NOWHERE;
    }
    for (unsigned s = 0; s < USED; s++)
        node[draw(NODES)].owned[s] = true;
    saves_late = draw(2) == 0;
    shift = draw(2) * draw(USED);
    for (unsigned i = draw(100); i > 0; i--)
        world_step();
    full_sync();
    for (unsigned i = 0; i < STEPS; i++) {
        all_step(true);
        if (draw(60) == 0)
            crash();
        failover();
    }
    settle_world();
    for (unsigned i = 0; i < 200000 && !quiet(); i++)
        all_step(false);
    if (!quiet()) {
        printf("seed %llu: it does not come to rest\n", (unsigned long long)seed);
        return false;
    }
    return equal(seed);
}

int main(int argc, char **argv)
{
    unsigned long n = 120, seed = 1, bad = 0;
    for (int c; (c = getopt(argc, argv, "n:s:v")) != -1;) {
        if (c == 'n')
            n = strtoul(optarg, NULL, 10);
        else if (c == 's')
            seed = strtoul(optarg, NULL, 10);
        else if (c == 'v')
            verbose = true;
        else
            return 2;
    }
    for (unsigned long i = 0; i < n; i++) {
        if (!history(seed + i))
            bad++;
        if (bad > 0 && !verbose)
            break;
    }
    printf("%lu histories, seed %lu: writes %llu, migrations %llu key by key and %llu atomic, failed steps "
           "%llu, forced "
           "%llu, flushes %llu, our crashes %llu, failovers %llu, other lineages %llu; takes %llu (%llu "
           "failed; %llu "
           "with, %llu without a look at the target)\n",
           n, seed, did_writes, did_migrate, did_atomic, did_fail, did_force, did_flush, did_crash,
           did_failover, did_resync, did_takes, did_failed_takes, did_sweeps, did_unswept);
    printf("%lu passed, %lu failed\n", n - bad, bad);
    return bad > 0;
}
