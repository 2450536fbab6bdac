/* Types of values by their names. */
#include "value.h"

static const struct {
    const char *name, *length;
} types[] = {
    [VALUE_UNKNOWN] = {"unknown", NULL},   [VALUE_NONE] = {"none", NULL},
    [VALUE_STRING] = {"string", "STRLEN"}, [VALUE_LIST] = {"list", "LLEN"},
    [VALUE_SET] = {"set", "SCARD"},        [VALUE_ZSET] = {"zset", "ZCARD"},
    [VALUE_HASH] = {"hash", "HLEN"},       [VALUE_STREAM] = {"stream", "XLEN"},
    [VALUE_JSON] = {"json", NULL},         [VALUE_OTHER] = {"other", NULL},
};

enum value_type value_type_of(const struct reply *r, const struct elem *e)
{
    for (unsigned t = VALUE_NONE; t <= VALUE_JSON; t++)
        if (elem_is(r, e, types[t].name))
            return (enum value_type)t;
    return elem_is(r, e, "ReJSON-RL") ? VALUE_JSON : VALUE_OTHER;
}

const char *value_type_name(enum value_type type)
{
    return types[type].name;
}

const char *value_length_command(enum value_type type)
{
    return types[type].length;
}
