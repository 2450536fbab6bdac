#include <string.h>

#include "value.h"

void value_compare(struct value *v)
{
    v->found = false;
    v->at = v->seen = v->group = 0;
    v->dir = 0;
    v->window = 64;
    strcpy(v->cursor, "0");
    switch (v->type) {
    case VALUE_STRING: value_string(v); break;
    case VALUE_JSON: value_json(v); break;
    case VALUE_LIST: value_list(v); break;
    case VALUE_STREAM: value_stream(v); break;
    case VALUE_SET:
    case VALUE_ZSET:
    case VALUE_HASH: value_members(v); break;
    case VALUE_UNKNOWN:
    case VALUE_NONE:
    case VALUE_OTHER: value_changed(v); break;
    }
}
