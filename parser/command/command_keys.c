/* Where the keys of a command are. */
#include <string.h>

#include "command.h"

/* DEST numkeys key… (ZUNIONSTORE and its like). */
static struct keys counted(const struct slice *argv, size_t argc)
{
    int64_t n;
    if (argc < 4 || !arg_number(&argv[2], &n) || n < 1 || n > (int64_t)(argc - 3))
        return (struct keys){.step = 1};
    return (struct keys){.first = 3, .last = 2 + (size_t)n, .step = 1, .dest = 1};
}

static bool is_end(const struct slice *s)
{
    return arg_is(s, "LEFT") || arg_is(s, "RIGHT") || arg_is(s, "MIN") || arg_is(s, "MAX");
}

/* The shard's keys alone: what masters log of such a command whose keys lie on several shards. */
static struct keys truncated(const struct command *c, size_t argc)
{
    return (struct keys){.first = 1, .last = argc - 1, .step = c->step};
}

/* numkeys key… (LMPOP and its like), numkeys at c->first. A number that does not fit what follows is itself a
 * key. */
static struct keys numbered(const struct command *c, const struct slice *argv, size_t argc)
{
    int64_t n;
    size_t room = (argc - c->first - 1) / c->step;
    bool pops = c->action == ACT_POP_FIRST; /* a word follows its keys */
    if (arg_number(&argv[c->first], &n) && n >= 1 && n <= (int64_t)room) {
        size_t end = c->first + 1 + (size_t)n * c->step;
        if (!pops || (end < argc && is_end(&argv[end])))
            return (struct keys){.first = c->first + 1, .last = end - c->step, .step = c->step};
    }
    return pops ? truncated(c, argc) : (struct keys){.step = 1};
}

/* … STREAMS key… id… (XREADGROUP). */
static struct keys streams(const struct slice *argv, size_t argc)
{
    size_t i = 1;
    while (i < argc && !arg_is(&argv[i], "STREAMS"))
        i++;
    size_t n = i < argc ? (argc - i - 1) / 2 : 0;
    if (n == 0 || (argc - i - 1) % 2 != 0)
        return (struct keys){.step = 1};
    return (struct keys){.first = i + 1, .last = i + n, .step = 1};
}

/* The key behind the last STORE (or STOREDIST), looking from argument i on. */
static size_t store_of(const struct slice *argv, size_t argc, size_t i)
{
    size_t at = 0;
    for (; i + 1 < argc; i++)
        if (arg_is(&argv[i], "STORE") || arg_is(&argv[i], "STOREDIST"))
            at = ++i;
    return at;
}

struct keys command_keys(const struct command *c, const struct slice *argv, size_t argc)
{
    struct keys k = {.first = c->first, .step = c->step};
    if (c->first == 0 || c->first >= argc)
        return (struct keys){.step = 1};
    if (c->last == LAST_COUNTED)
        return counted(argv, argc);
    if (c->last == LAST_NUMKEYS)
        return numbered(c, argv, argc);
    if (c->last == LAST_STREAMS)
        return streams(argv, argc);
    if (c->last == LAST_STORE) {
        k.last = k.first;
        k.dest = store_of(argv, argc, c->first + 1);
        return k;
    }
    k.last = c->last < 0 ? argc - (size_t)-c->last : (size_t)c->last;
    if (k.last >= argc)
        k.last = argc - 1;
    return k;
}

size_t keys_next(const struct keys *k, size_t at)
{
    bool ahead = k->dest != 0 && k->dest < k->first;
    if (at == 0)
        return ahead ? k->dest : k->first;
    if (at == k->dest)
        return ahead ? k->first : 0;
    if (at + k->step <= k->last)
        return at + k->step;
    return ahead ? 0 : k->dest;
}

bool keys_has(const struct keys *k, size_t i)
{
    return i > 0 &&
           (i == k->dest || (k->first > 0 && i >= k->first && i <= k->last && (i - k->first) % k->step == 0));
}

bool command_two_words(const struct slice *argv, size_t argc)
{
    static const char *const first[] = {"ACL",      "CLIENT", "CLUSTER", "CONFIG",   "DFLYCLUSTER",
                                        "FUNCTION", "SCRIPT", "SFLUSH",  "TRIMSLOTS"};
    for (size_t i = 0; i < sizeof first / sizeof first[0] && argc > 1; i++)
        if (arg_is(&argv[0], first[i]))
            return true;
    return false;
}

size_t command_other_db(const struct command *c, const struct slice *argv, size_t argc)
{
    size_t at = strcmp(c->name, "MOVE") == 0 ? 2 : 0;
    for (size_t i = 3; i + 1 < argc && strcmp(c->name, "COPY") == 0; i++)
        if (arg_is(&argv[i], "DB"))
            at = i + 1;
    return at < argc ? at : 0;
}

bool command_looks_elsewhere(const struct slice *argv, size_t argc)
{
    for (size_t i = 2; i + 1 < argc && arg_is(&argv[0], "SORT"); i++)
        if ((arg_is(&argv[i], "BY") || arg_is(&argv[i], "GET")) &&
            memchr(argv[i + 1].p, '*', argv[i + 1].n) != NULL)
            return true;
    return false;
}

bool command_cuttable(const struct command *c)
{
    return c->first == 1 && c->last == -1 && c->action != ACT_TWO_KEYS;
}
