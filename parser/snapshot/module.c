/* Values of modules: framed so that they can be passed over; JSON among them is understood. rdb(5), Modules.
 */
#include "shape.h"

#include <stdio.h>

#define REJSON UINT64_C(0x45e25238df912c) /* the name "ReJSON-RL": id without its encoding version */

enum module_op { M_END, M_SINT, M_UINT, M_FLOAT, M_DOUBLE, M_STRING };

/* Nine characters of six bits each. */
static void module_name(uint64_t id, char name[10])
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int i = 0; i < 9; i++)
        name[i] = set[id >> (58 - 6 * i) & 63];
    name[9] = '\0';
}

/* One opcode and what belongs to it; *end: it was the last. *text: where a string lies (NULL: none). */
static enum got module_item(struct cur *c, bool *end, struct pstr *text, bool *is_text)
{
    struct cur t = *c;
    uint64_t op, n;
    const uint8_t *p;
    *is_text = false;
    enum got g = cur_plen(&t, &op);
    if (g == GOT)
        switch (op) {
        case M_END: *end = true; break;
        case M_SINT:
        case M_UINT: g = cur_plen(&t, &n); break;
        case M_FLOAT: g = cur_raw(&t, 4, &p); break;
        case M_DOUBLE: g = cur_raw(&t, 8, &p); break;
        case M_STRING:
            g = cur_pstr(&t, text);
            *is_text = g == GOT;
            break;
        default: g = cur_bad(&t, "a module opcode of 0 to 5");
        }
    return cur_settle(c, &t, g);
}

enum got module_values(struct cur *c, bool *data)
{
    struct pstr text;
    bool end = false, is_text;
    enum got g = GOT;
    while (g == GOT && !end) {
        const uint8_t *at = c->p + 1; /* behind the opcode */
        g = module_item(c, &end, &text, &is_text);
        if (data == NULL)
            continue;
        *data |= g == GOT && is_text;
        for (; g == GOT && at < c->p; at++)
            *data |= *at != 0;
    }
    return g;
}

const char *module_of(const uint8_t *p, size_t n, char name[10])
{
    struct cur c = {p, p + n, 0, NULL};
    uint64_t id;
    if (cur_plen(&c, &id) != GOT)
        return NULL;
    module_name(id, name);
    return name;
}

/* Passing over it; JSON is written from its text. */
enum got module_feed(struct value *v, struct cur *c)
{
    if (!v->counted) {
        char name[10], detail[120];
        enum got g = cur_plen(c, &v->left);
        if (g != GOT)
            return g;
        v->counted = true;
        v->is_json = v->left >> 8 == REJSON && (v->left & 1023) == 3;
        if (v->is_json)
            v->vclass = CLASS_JSON;
        if (!v->dropped && !v->is_json) {
            module_name(v->left, name);
            snprintf(detail, sizeof detail,
                     target_has_module(&v->e->target, name)
                         ? "a value of module type %s, which only RESTORE makes, and it is too large for that"
                         : "a value of module type %s, which the target does not load",
                     name);
            emit_report(v->e, v->o, true, "module", v->key.p, v->key.n, detail);
            v->dropped = true;
        } else if (!v->dropped && !v->o->live) {
            v->e->stats.keys[v->vclass]++;
        }
    }
    for (bool end = false; !end;) {
        struct pstr ps;
        struct slice text;
        bool is_text;
        enum got g = module_item(c, &end, &ps, &is_text);
        if (g != GOT)
            return g;
        if (!is_text || !v->is_json)
            continue;
        if (!value_text(v->s, 0, &ps, &text)) {
            if ((g = value_damaged(v, c, UNPACKS)) != GOT)
                return g;
            continue;
        }
        json_write(v, &text);
    }
    return GOT;
}
