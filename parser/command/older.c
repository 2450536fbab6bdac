#include "../emit.h"

#include <stdio.h>
#include <string.h>

#include "args.h"

#define ARGS_MAX 7000 /* that a script can hand on: Lua's stack has 8000 places */

/* Before 5.0 a script that writes after it has looked at a time has to ask for its effects to be replicated.
 */
#define LUA_EFFECTS "if redis.replicate_commands then redis.replicate_commands() end "

/* SET … KEEPTTL (6.0) and COPY (6.2) for scripts that were written for servers that have them. */
#define LUA_CALLS                                                                                            \
    LUA_EFFECTS                                                                                              \
    "local R=redis "                                                                                         \
    "local function ttl(k) local t=R.call('PTTL',k) return t==0 and 1 or t end "                             \
    "local redis={call=function(c,...) local a={...} "                                                       \
    "if c=='SET' and a[3]=='KEEPTTL' then local t=ttl(a[1]) local r=R.call('SET',a[1],a[2]) "                \
    "if t>0 then R.call('PEXPIRE',a[1],t) end return r end "                                                 \
    "if c=='COPY' then local d=R.call('DUMP',a[1]) if not d then return 0 end local t=ttl(a[1]) "            \
    "if a[4] then R.call('SELECT',a[4]) end "                                                                \
    "if a[3]=='' and R.call('EXISTS',a[2])==1 then return 0 end "                                            \
    "R.call('RESTORE',a[2],t<0 and 0 or t,d,'REPLACE') return 1 end "                                        \
    "return R.call(c,...) end} "

#define LUA_SET_KEEP LUA_CALLS "return redis.call('SET',KEYS[1],ARGV[1],'KEEPTTL')"
#define LUA_SET_PXAT "redis.call('SET',KEYS[1],ARGV[1]) return redis.call('PEXPIREAT',KEYS[1],ARGV[2])"
#define LUA_COPY     LUA_CALLS "return redis.call('COPY',KEYS[1],KEYS[2],ARGV[1],ARGV[2])"

#define LUA_LMOVE                                                                                            \
    "local function l(i) return ARGV[i]:upper()=='LEFT' end "                                                \
    "local v=redis.call(l(1) and 'LPOP' or 'RPOP',KEYS[1]) "                                                 \
    "if v then redis.call(l(2) and 'LPUSH' or 'RPUSH',KEYS[2],v) end return v"

/* ARGV: GT or LT, XX or nothing, INCR or nothing, (score, member)… */
#define LUA_ZADD                                                                                             \
    "for i=4,#ARGV,2 do local s=redis.call('ZSCORE',KEYS[1],ARGV[i+1]) local "                               \
    "n,t,o=tonumber(ARGV[i]),ARGV[i] "                                                                       \
    "if s then s=tonumber(s) if ARGV[3]~='' then n=s+n t=string.format('%.17g',n) end "                      \
    "if ARGV[1]=='GT' then o=n>s else o=n<s end else o=ARGV[2]=='' end "                                     \
    "if o then redis.call('ZADD',KEYS[1],t,ARGV[i+1]) end end"

/* ARGV: NX or XX, (longitude, latitude, member)… */
#define LUA_GEOADD                                                                                           \
    "for i=2,#ARGV,3 do local s=redis.call('ZSCORE',KEYS[1],ARGV[i+2]) "                                     \
    "if (ARGV[1]=='NX')==(not s) then redis.call('GEOADD',KEYS[1],ARGV[i],ARGV[i+1],ARGV[i+2]) end end"

/* Without the entries below ARGV[1]. */
#define LUA_TRIM                                                                                             \
    "if ARGV[1]~='' then local m=ARGV[1] if not m:find('-',1,true) then m=m..'-0' end "                      \
    "while true do local e,d=redis.call('XRANGE',KEYS[1],'-',m,'COUNT',1000),{} "                            \
    "for i=1,#e do if e[i][1]~=m then d[#d+1]=e[i][1] end end if #d==0 then break end "                      \
    "redis.call('XDEL',KEYS[1],unpack(d)) end end "

/* ARGV: least id or nothing, most entries or nothing, "" or NOMKSTREAM, id, (field, value)… */
#define LUA_XADD                                                                                             \
    "if ARGV[3]~='' and redis.call('EXISTS',KEYS[1])==0 then return false end "                              \
    "redis.call('XADD',KEYS[1],unpack(ARGV,4)) " LUA_TRIM                                                    \
    "if ARGV[2]~='' then redis.call('XTRIM',KEYS[1],'MAXLEN',ARGV[2]) end"

struct request {
    struct emit *e;
    const struct slice *argv;
    size_t argc;
    unsigned *keyarg;
};

/* Space for n arguments; NULL: more than anybody sends. */
static struct slice *room(struct buf *older, size_t n)
{
    older->len = 0;
    return (struct slice *)(void *)buf_room(older, n * sizeof(struct slice));
}

/* EVAL script nkeys, then nkeys keys of the request from argv[1] on, nown arguments of our own, and those of
 * the request from rest on. Returns the whole number, 0: none made. */
static size_t script(const struct request *q, struct slice text, unsigned nkeys, const struct slice *own,
                     size_t nown, size_t rest)
{
    size_t more = rest < q->argc ? q->argc - rest : 0;
    struct slice *out = room(&q->e->older, 3 + nkeys + nown + more);
    if (out == NULL)
        return 0;
    out[0] = SLICE("EVAL");
    out[1] = text;
    out[2] = (struct slice){(const uint8_t *)(nkeys == 1 ? "1" : "2"), 1};
    memcpy(out + 3, q->argv + 1, nkeys * sizeof *out);
    if (nown > 0)
        memcpy(out + 3 + nkeys, own, nown * sizeof *out);
    if (more > 0)
        memcpy(out + 3 + nkeys + nown, q->argv + rest, more * sizeof *out);
    *q->keyarg = 3;
    return 3 + nkeys + nown + more;
}

static size_t plain(const struct request *q, const struct slice *argv, size_t n)
{
    struct slice *out = room(&q->e->older, n);
    if (out == NULL)
        return 0;
    memcpy(out, argv, n * sizeof *out);
    return n;
}

static bool contains(const struct slice *s, const char *word)
{
    return memmem(s->p, s->n, word, strlen(word)) != NULL;
}

/* Our own scripts: those that use what is new, or look at a time. */
static size_t old_eval(const struct request *q)
{
    const struct slice *text = &q->argv[1];
    if (!contains(text, "KEEPTTL") && !contains(text, "COPY") && !contains(text, "PTTL"))
        return 0;
    struct slice *out = room(&q->e->older, q->argc);
    if (out == NULL)
        return 0;
    q->e->text.len = 0;
    if (buf_addstr(&q->e->text, LUA_CALLS) < 0 || buf_add(&q->e->text, q->argv[1].p, q->argv[1].n) < 0)
        return 0;
    memcpy(out, q->argv, q->argc * sizeof *out);
    out[1] = (struct slice){q->e->text.p, q->e->text.len};
    return q->argc;
}

/* SET k v KEEPTTL; SET k v PXAT ms. */
static size_t old_set(const struct request *q)
{
    if (q->argc == 4 && arg_is(&q->argv[3], "KEEPTTL") && q->e->target.version < VERSION(6, 0))
        return script(q, SLICE(LUA_SET_KEEP), 1, &q->argv[2], 1, q->argc);
    if (q->argc == 5 && arg_is(&q->argv[3], "PXAT"))
        return script(q, SLICE(LUA_SET_PXAT), 1, (struct slice[]){q->argv[2], q->argv[4]}, 2, q->argc);
    return 0;
}

static size_t old_getdel(const struct request *q)
{
    return plain(q, (struct slice[]){SLICE("DEL"), q->argv[1]}, 2);
}

/* COPY a b [DB n] [REPLACE]. */
static size_t old_copy(const struct request *q)
{
    struct slice own[2] = {SLICE(""), SLICE("")};
    size_t n = 1;
    for (size_t i = 3; i < q->argc; i++) {
        if (arg_is(&q->argv[i], "REPLACE")) {
            own[0] = SLICE("REPLACE");
        } else if (arg_is(&q->argv[i], "DB") && i + 1 < q->argc) {
            own[1] = q->argv[i + 1];
            n = 2;
        }
    }
    return q->argc < 3 ? 0 : script(q, SLICE(LUA_COPY), 2, own, n, q->argc);
}

static size_t old_lmove(const struct request *q)
{
    return q->argc == 5 ? script(q, SLICE(LUA_LMOVE), 2, &q->argv[3], 2, q->argc) : 0;
}

/* A count of elements as text, with a sign in front and less by one where the range asks for it. */
static bool count_text(const struct slice *s, int64_t add, bool negative, char *to, size_t cap)
{
    int64_t v;
    if (!arg_number(s, &v) || v < 1 || v == INT64_MAX)
        return false;
    snprintf(to, cap, "%s%lld", negative ? "-" : "", (long long)v + add);
    return true;
}

/* LPOP k n, RPOP k n: what stays. */
static size_t old_pop(const struct request *q)
{
    bool left = arg_is(&q->argv[0], "LPOP");
    char text[24];
    if (q->argc != 3 || !count_text(&q->argv[2], left ? 0 : 1, !left, text, sizeof text))
        return 0;
    q->e->text.len = 0;
    (void)buf_addstr(&q->e->text, text);
    struct slice n = {q->e->text.p, q->e->text.len};
    if (left)
        return plain(q, (struct slice[]){SLICE("LTRIM"), q->argv[1], n, SLICE("-1")}, 4);
    return plain(q, (struct slice[]){SLICE("LTRIM"), q->argv[1], SLICE("0"), n}, 4);
}

/* ZPOPMIN k [n], ZPOPMAX k [n]. */
static size_t old_zpop(const struct request *q)
{
    bool min = arg_is(&q->argv[0], "ZPOPMIN");
    struct slice one = SLICE("1");
    char text[24];
    if (q->argc > 3 || !count_text(q->argc == 3 ? &q->argv[2] : &one, min ? -1 : 0, !min, text, sizeof text))
        return 0;
    q->e->text.len = 0;
    (void)buf_addstr(&q->e->text, text);
    struct slice n = {q->e->text.p, q->e->text.len};
    if (min)
        return plain(q, (struct slice[]){SLICE("ZREMRANGEBYRANK"), q->argv[1], SLICE("0"), n}, 4);
    return plain(q, (struct slice[]){SLICE("ZREMRANGEBYRANK"), q->argv[1], n, SLICE("-1")}, 4);
}

/* ZADD k [NX|XX] [GT|LT] [CH] [INCR] score member … */
static size_t old_zadd(const struct request *q)
{
    struct slice own[3] = {SLICE(""), SLICE(""), SLICE("")};
    size_t i = 2;
    for (; i < q->argc; i++) {
        if (arg_is(&q->argv[i], "GT"))
            own[0] = SLICE("GT");
        else if (arg_is(&q->argv[i], "LT"))
            own[0] = SLICE("LT");
        else if (arg_is(&q->argv[i], "XX"))
            own[1] = SLICE("XX");
        else if (arg_is(&q->argv[i], "INCR"))
            own[2] = SLICE("INCR");
        else if (!arg_is(&q->argv[i], "NX") && !arg_is(&q->argv[i], "CH"))
            break;
    }
    return own[0].n == 0 ? 0 : script(q, SLICE(LUA_ZADD), 1, own, 3, i);
}

/* GEOADD k [NX|XX] [CH] longitude latitude member … */
static size_t old_geoadd(const struct request *q)
{
    struct slice own = SLICE("");
    size_t i = 2;
    for (; i < q->argc; i++) {
        if (arg_is(&q->argv[i], "NX"))
            own = SLICE("NX");
        else if (arg_is(&q->argv[i], "XX"))
            own = SLICE("XX");
        else if (!arg_is(&q->argv[i], "CH"))
            break;
    }
    if (i == 2)
        return 0;
    if (own.n > 0)
        return script(q, SLICE(LUA_GEOADD), 1, &own, 1, i);
    struct slice *out = room(&q->e->older, q->argc - i + 2);
    if (out == NULL)
        return 0;
    memcpy(out, q->argv, 2 * sizeof *out);
    memcpy(out + 2, q->argv + i, (q->argc - i) * sizeof *out);
    return q->argc - i + 2;
}

/* The options of XADD and XTRIM from argument i on: own[0] least id, own[1] most entries, own[2] NOMKSTREAM.
 * Returns the argument behind them. */
static size_t trim_options(const struct request *q, size_t i, struct slice own[3], bool *new)
{
    own[0] = own[1] = own[2] = SLICE("");
    *new = false;
    for (; i + 1 < q->argc; i++) {
        bool minid = arg_is(&q->argv[i], "MINID");
        if (minid || arg_is(&q->argv[i], "MAXLEN")) {
            i += arg_is(&q->argv[i + 1], "~") || arg_is(&q->argv[i + 1], "=") ? 2 : 1;
            if (i >= q->argc)
                break;
            own[minid ? 0 : 1] = q->argv[i];
            *new |= minid;
        } else if (arg_is(&q->argv[i], "LIMIT")) {
            i++;
            *new = true;
        } else if (arg_is(&q->argv[i], "NOMKSTREAM")) {
            own[2] = q->argv[i];
            *new = true;
        } else {
            break;
        }
    }
    return i;
}

static size_t old_xadd(const struct request *q)
{
    struct slice own[3];
    bool new;
    size_t i = trim_options(q, 2, own, &new);
    return i < q->argc && new && q->argc < ARGS_MAX ? script(q, SLICE(LUA_XADD), 1, own, 3, i) : 0;
}

static size_t old_xtrim(const struct request *q)
{
    struct slice own[3];
    bool new;
    (void)trim_options(q, 2, own, &new);
    if (own[0].n > 0)
        return script(q, SLICE(LUA_TRIM), 1, own, 1, q->argc);
    return new ? plain(q, (struct slice[]){q->argv[0], q->argv[1], SLICE("MAXLEN"), own[1]}, 4) : 0;
}

/* XGROUP CREATECONSUMER k g c: reading its past entries makes a consumer, too. */
static size_t old_xgroup(const struct request *q)
{
    if (q->argc != 5 || !arg_is(&q->argv[1], "CREATECONSUMER"))
        return 0;
    *q->keyarg = 7;
    return plain(q,
                 (struct slice[]){SLICE("XREADGROUP"), SLICE("GROUP"), q->argv[3], q->argv[4], SLICE("COUNT"),
                                  SLICE("1"), SLICE("STREAMS"), q->argv[2], SLICE("0")},
                 9);
}

const struct slice *older_request(struct emit *e, const struct slice *argv, size_t *argc, unsigned *keyarg)
{
    static const struct {
        const char *name;
        unsigned since;
        size_t (*make)(const struct request *q);
    } list[] = {
        {"EVAL", VERSION(6, 2), old_eval},     {"SET", VERSION(6, 2), old_set},
        {"GETDEL", VERSION(6, 2), old_getdel}, {"COPY", VERSION(6, 2), old_copy},
        {"LMOVE", VERSION(6, 2), old_lmove},   {"LPOP", VERSION(6, 2), old_pop},
        {"RPOP", VERSION(6, 2), old_pop},      {"ZADD", VERSION(6, 2), old_zadd},
        {"GEOADD", VERSION(6, 2), old_geoadd}, {"XADD", VERSION(6, 2), old_xadd},
        {"XTRIM", VERSION(6, 2), old_xtrim},   {"XGROUP", VERSION(6, 2), old_xgroup},
        {"ZPOPMIN", VERSION(5, 0), old_zpop},  {"ZPOPMAX", VERSION(5, 0), old_zpop},
    };
    struct request q = {e, argv, *argc, keyarg};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (*argc < 2 || e->target.version >= list[i].since || !arg_is(&argv[0], list[i].name))
            continue;
        size_t n = list[i].make(&q);
        if (n == 0)
            break;
        *argc = n;
        return (const struct slice *)(const void *)e->older.p;
    }
    return argv;
}
