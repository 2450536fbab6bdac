/* Streams: what Redis 8.2 and later propagate and other targets do not know. psync(7), THE COMMAND STREAM. */
#include "command.h"
#include "scripts.h"

/* XDELEX, XACKDEL and how trimming treats references to entries. */
static bool knows_references(const struct target *t)
{
    return t->kind == SERVER_REDIS && t->version >= VERSION(8, 2);
}

struct adding {
    size_t idmp,
        nidmp;         /* where IDMP producer id or IDMPAUTO producer stands, and how many arguments it has */
    size_t references; /* KEEPREF, DELREF, ACKED; 0: none */
    size_t trim, ntrim; /* MAXLEN or MINID, up to its LIMIT */
    size_t limit;       /* LIMIT n, where trimming is exact; 0: none */
    size_t first;       /* behind the options: the id */
};

static bool is_reference(const struct slice *s)
{
    return arg_is(s, "KEEPREF") || arg_is(s, "DELREF") || arg_is(s, "ACKED");
}

/* The option at argument i. Returns how many arguments it has; 0: it is none. */
static size_t option(const struct slice *argv, size_t argc, struct adding *a, size_t i)
{
    const struct slice *s = &argv[i];
    if (arg_is(s, "NOMKSTREAM"))
        return 1;
    if (is_reference(s)) {
        a->references = i;
        return 1;
    }
    if (arg_is(s, "IDMP") || arg_is(s, "IDMPAUTO")) {
        a->idmp = i;
        return a->nidmp = s->n == 4 ? 3 : 2;
    }
    if (arg_is(s, "LIMIT") && a->trim > 0) {
        a->ntrim = i + 2 - a->trim;
        if (!arg_is(&argv[a->trim + 1], "~"))
            a->limit = i;
        return 2;
    }
    if (!arg_is(s, "MAXLEN") && !arg_is(s, "MINID"))
        return 0;
    a->trim = i;
    bool how = i + 1 < argc && (arg_is(s + 1, "=") || arg_is(s + 1, "~"));
    return a->ntrim = how ? 3 : 2;
}

static struct adding parse_adding(const struct slice *argv, size_t argc)
{
    struct adding a = {.first = 2};
    size_t n;
    while (a.first < argc && (n = option(argv, argc, &a, a.first)) > 0)
        a.first += n;
    return a;
}

/* The references of what it trims are reported; the target trims as it can. False: it may not trim at all. */
static bool trims_otherwise(const struct cmd *m, const struct slice *how)
{
    if (arg_is(how, "ACKED")) { /* of what groups have acknowledged */
        cmd_lost(m, "stream-references",
                 "the target cannot trim by what was acknowledged: nothing is trimmed");
        return false;
    }
    if (arg_is(how, "DELREF"))
        send_report(&m->send, false, "stream-references", &m->argv[1],
                    "entries that are trimmed stay in the lists of pending entries: the target cannot remove "
                    "them together");
    return true;
}

static bool between(size_t i, size_t from, size_t n)
{
    return i >= from && i < from + n;
}

/* XADD key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [IDMP producer id | IDMPAUTO producer] [MAXLEN | MINID …]
 * id field value …, XTRIM key MAXLEN | MINID … [KEEPREF | DELREF | ACKED]. A producer's message that came
 * twice is propagated with an id of "*": nothing was added for it. Masters make "~ n LIMIT m" "= n LIMIT m",
 * which only their replicas take: what was trimmed is n, and the limit has no meaning any more. */
void do_xadd(const struct cmd *m)
{
    struct adding a = parse_adding(m->argv, m->argc);
    bool strips = a.references > 0 && !knows_references(m->target), trims = true;
    if (a.idmp == 0 && !strips && a.limit == 0) {
        cmd_forward(m);
        return;
    }
    if (a.first > m->argc) {
        cmd_malformed(m);
        return;
    }
    if (a.idmp > 0 && a.first < m->argc && arg_is(&m->argv[a.first], "*")) {
        send_ignored(&m->send);
        return;
    }
    struct cmd s = *m;
    struct slice *out = cmd_room(m, 0);
    if (out == NULL)
        return;
    if (strips)
        trims = trims_otherwise(m, &m->argv[a.references]);
    if (!trims && arg_is(&m->argv[0], "XTRIM")) {
        send_nothing(&m->send);
        return;
    }
    s.argv = out;
    s.argc = 0;
    for (size_t i = 0; i < m->argc; i++)
        if (!between(i, a.idmp, a.nidmp) && !(strips && i == a.references) &&
            !(a.limit > 0 && between(i, a.limit, 2)) && (trims || !between(i, a.trim, a.ntrim)))
            out[s.argc++] = m->argv[i];
    cmd_forward(&s);
}

/* XDELEX key [KEEPREF | DELREF | ACKED] IDS n id …, XACKDEL key group [the same] IDS n id … */
void do_xdelex(const struct cmd *m)
{
    bool acks = arg_is(&m->argv[0], "XACKDEL");
    struct slice own[2] = {SLICE("KEEPREF"), acks ? m->argv[2] : SLICE("")};
    size_t i = acks ? 3 : 2;
    if (knows_references(m->target)) {
        cmd_forward(m);
        return;
    }
    if (i < m->argc && is_reference(&m->argv[i]))
        own[0] = arg_is(&m->argv[i], "KEEPREF")  ? SLICE("KEEPREF")
                 : arg_is(&m->argv[i], "DELREF") ? SLICE("DELREF")
                                                 : SLICE("ACKED");
    i += i < m->argc && is_reference(&m->argv[i]);
    if (i + 2 >= m->argc || !arg_is(&m->argv[i], "IDS"))
        cmd_malformed(m);
    else if (!target_has_class(m->target, CLASS_STREAM))
        cmd_lost_only(m, "command-too-new", "the target has no streams");
    else if (!acks && own[0].n == 7) /* KEEPREF */
        cmd_with_rest(m, SLICE("XDEL"), i + 2, true);
    else
        cmd_script_with(m, SLICE(LUA_XDELEX), own, 2, i + 2, 0);
}

/* XCFGSET key IDMP-DURATION s IDMP-MAXSIZE n, XIDMPRECORD key producer message id: of producers' message ids,
 * which other servers do not remember. */
void do_xcfgset(const struct cmd *m)
{
    bool record = arg_is(&m->argv[0], "XIDMPRECORD");
    if (m->target->kind == SERVER_REDIS && m->target->version >= VERSION(8, 6)) {
        cmd_forward(m);
        return;
    }
    send_report(&m->send, false, record ? "stream-messages" : "stream-config", &m->argv[1],
                record
                    ? "the target remembers no message ids of producers: one that was is left out"
                    : "the target remembers no message ids of producers: how long they are kept is left out");
    send_nothing(&m->send);
}
