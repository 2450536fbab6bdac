/* Where the keys of a command are. */
#include <stdlib.h>

#include "command_parts.h"

/* DEST numkeys key… (ZUNIONSTORE and its like). */
static struct keys counted(const struct slice *argv, size_t argc)
{
    int64_t n;
    if (argc < 4 || !arg_number(&argv[2], &n) || n < 1 || n > (int64_t)(argc - 3))
        return (struct keys){.step = 1};
    return (struct keys){.first = 3, .last = 2 + (size_t)n, .step = 1, .dest = 1};
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

bool command_cuttable(const struct command *c)
{
    static const char *const names[] = {"DEL", "JSON.MSET", "MSET", "MSETNX", "UNLINK"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(c->name, names[i]) == 0)
            return true;
    return false;
}
