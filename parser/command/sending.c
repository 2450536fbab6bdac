#include "sending.h"

#include "args.h"

#define GUARD_KEY_LUA    "if redis.pcall('EXISTS',KEYS[1])==0 then return 0 end "
#define GUARD_SOURCE_LUA "if redis.pcall('EXISTS',KEYS[1])==0 then return redis.call('DEL',KEYS[2]) end "
#define THE_COMMAND      "return redis.call(unpack(ARGV))"

/* A script that is written already: the condition goes before it. Its arguments stay where they are. */
static struct slice guarded_script(struct buf *b, enum guard guard, const struct slice *script)
{
    size_t at = b->len;
    (void)buf_addstr(b, guard == GUARD_KEY ? GUARD_KEY_LUA : GUARD_SOURCE_LUA);
    (void)buf_add(b, script->p, script->n);
    return (struct slice){b->p + at, b->len - at};
}

/* The request as a script that carries it out if the key is there. There is room: check.c takes no more
 * arguments than a script can hand on. */
static const struct slice *guarded(const struct sending *s, unsigned *keyarg, const struct slice *argv,
                                   size_t *argc)
{
    struct buf *b = s->guarded;
    size_t nkeys = s->guard == GUARD_KEY ? 1 : 2;
    if (older_target(&s->e->target))
        argv = older_request(s->e, argv, argc, keyarg);
    b->len = 0;
    b->max = (size_t)1 << 20;
    /* In one piece: it moves when it grows. */
    struct slice *out = (struct slice *)(void *)buf_room(b, (*argc + 3 + nkeys) * sizeof *out + 4096);
    if (arg_is(&argv[0], "EVAL")) {
        b->len = *argc * sizeof *out;
        memcpy(out, argv, *argc * sizeof *out);
        out[1] = guarded_script(b, s->guard, &argv[1]);
        return out;
    }
    out[0] = SLICE("EVAL");
    out[1] = nkeys == 1 ? (struct slice)SLICE(GUARD_KEY_LUA THE_COMMAND)
                        : (struct slice)SLICE(GUARD_SOURCE_LUA THE_COMMAND);
    out[2] = (struct slice){(const uint8_t *)(nkeys == 1 ? "1" : "2"), 1};
    memcpy(out + 3, argv + *keyarg, nkeys * sizeof *out);
    memcpy(out + 3 + nkeys, argv, *argc * sizeof *out);
    *argc += 3 + nkeys;
    *keyarg = 3;
    return out;
}

static void send_at(const struct sending *s, uint64_t pos, unsigned keyarg, const struct slice *argv,
                    size_t argc, unsigned flags)
{
    struct key k;
    key_set(s->e, &k, argv[keyarg].p, argv[keyarg].n);
    s->o->pos = pos;
    if (__builtin_expect(s->guard == GUARD_KEY || s->guard == GUARD_SOURCE, 0))
        argv = guarded(s, &keyarg, argv, &argc);
    emit_argv(s->e, s->o, &k, keyarg, 0, flags, argv, argc);
}

void send_last(const struct sending *s, unsigned keyarg, const struct slice *argv, size_t argc,
               unsigned flags)
{
    send_at(s, s->after, keyarg, argv, argc, flags);
}

void send_one_of(const struct sending *s, unsigned keyarg, const struct slice *argv, size_t argc,
                 unsigned flags)
{
    send_at(s, s->before, keyarg, argv, argc, flags);
}

void send_everywhere(const struct sending *s, const struct slice *argv, size_t argc, bool last)
{
    if (s->e->target.cluster)
        s->o->db = 0;
    s->o->pos = last ? s->after : s->before;
    emit_argv(s->e, s->o, NULL, 0, 0, RF_IDEMPOTENT | RF_MULTIKEY, argv, argc);
}

void send_nothing(const struct sending *s)
{
    s->o->pos = s->after;
    emit_position(s->e, s->o, RF_LIVE);
}

void send_ignored(const struct sending *s)
{
    s->e->stats.ignored++;
    send_nothing(s);
}

void send_report(const struct sending *s, bool lost, const char *kind, const struct slice *key,
                 const char *detail)
{
    s->o->pos = s->before;
    emit_report(s->e, s->o, lost, kind, key->p, key->n, detail);
}
