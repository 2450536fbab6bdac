/* Opcodes that only Redis and Valkey write: functions, modules' own data, hash templates. rdb-format.md 3, 6.4, 7. */
#include "flow_parts.h"

#include <stdio.h>
#include <stdlib.h>

#define TEMPLATES_MAX   65536
#define TEMPLATE_FIELDS 1048576

void drop_templates(struct flow *f)
{
    while (f->templates != NULL) {
        struct hash_template *t = f->templates;
        f->templates = t->next;
        buf_free(&t->names);
        free(t);
    }
    f->ntemplates = 0;
}

/* id, n, n field names. */
static enum got op_template(struct flow *f, struct cur *c)
{
    uint64_t id, n;
    enum got g = cur_plen(c, &id);
    if (g == GOT)
        g = cur_plen(c, &n);
    if (g != GOT)
        return g;
    if (n > TEMPLATE_FIELDS || f->ntemplates >= TEMPLATES_MAX)
        return cur_bad(c, "at most 65536 templates of at most 1048576 fields");
    struct hash_template *t = xcalloc(1, sizeof *t);
    t->id = id;
    t->fields = n;
    for (uint64_t i = 0; i < n && g == GOT; i++) {
        struct pstr ps;
        struct slice s;
        g = cur_pstr(c, &ps);
        if (g == GOT && !value_text(&f->s, 0, &ps, &s))
            g = cur_bad(c, "a field name that unpacks");
        uint64_t len = g == GOT ? s.n : 0;
        if (g == GOT && (buf_add(&t->names, &len, 8) < 0 || buf_add(&t->names, s.p, s.n) < 0))
            g = cur_bad(c, "field names of at most 64 MiB in a template");
    }
    if (g != GOT) {
        buf_free(&t->names);
        free(t);
        return g;
    }
    t->next = f->templates;
    f->templates = t;
    f->ntemplates++;
    return GOT;
}

/* A library of functions: loaded into every server that knows them. */
static enum got op_function(struct flow *f, struct emit *e, struct cur *c)
{
    struct pstr ps;
    struct slice code;
    enum got g = value_string(c, &f->s, 0, &ps, &code);
    if (g != GOT)
        return g;
    f->o.live = false;
    f->o.db = 0;
    if (e->target.version < VERSION(7, 0) || e->target.kind == TARGET_DRAGONFLY) {
        size_t line = 0; /* "#!lua name=…" */
        while (line < code.n && line < 80 && code.p[line] != '\n')
            line++;
        emit_report(e, &f->o, true, "function", code.p, line, "the target has no functions");
        return GOT;
    }
    struct slice argv[4] = {SLICE("FUNCTION"), SLICE("LOAD"), SLICE("REPLACE"), code};
    emit_argv(e, &f->o, NULL, 0, CLASS_NONE, RF_IDEMPOTENT | RF_MULTIKEY, argv, 4);
    return GOT;
}

/* What a module keeps beside its keys. */
static enum got op_module_aux(struct flow *f, struct emit *e, struct cur *c)
{
    const uint8_t *id = c->p;
    uint64_t n, op, when;
    char name[10];
    enum got g = cur_plen(c, &n);
    size_t idn = (size_t)(c->p - id);
    if (g == GOT)
        g = cur_plen(c, &op);
    if (g == GOT)
        g = cur_plen(c, &when);
    if (g == GOT)
        g = module_values(c);
    if (g == GOT && module_of(id, idn, name) != NULL)
        emit_report(e, &f->o, false, "module-aux", (const uint8_t *)name, 9, "a module's own data are left out");
    return g;
}

static enum got op_key_meta(struct flow *f, struct emit *e, struct cur *c)
{
    uint64_t classes;
    const uint8_t *spec;
    enum got g = cur_plen(c, &classes);
    for (uint64_t i = 0; g == GOT && i < classes; i++) {
        g = cur_raw(c, 4, &spec);
        if (g == GOT)
            g = module_values(c);
    }
    if (g == GOT && !f->told_meta)
        emit_report(e, &f->o, false, "key-metadata", (const uint8_t *)"", 0, "modules' metadata of keys are left out");
    f->told_meta |= g == GOT;
    return g;
}

/* Valkey: a slot import that was under way. job, n, n x (first slot, last slot). */
static enum got op_slot_import(struct cur *c)
{
    struct pstr job;
    uint64_t ranges;
    enum got g = cur_pstr(c, &job);
    if (g == GOT)
        g = cur_plen(c, &ranges);
    for (uint64_t i = 0; g == GOT && i < ranges; i++)
        g = pass_plens(c, 2);
    return g;
}

enum got redis_opcode(struct flow *f, struct emit *e, struct cur *c, unsigned op)
{
    if (f->family == FAMILY_DRAGONFLY)
        return cur_bad(c, "a known opcode or value type");
    switch (op) {
    case OP_SLOT_INFO: return pass_plens(c, 3);
    case OP_FUNCTION: return op_function(f, e, c);
    case OP_MODULE_AUX: return op_module_aux(f, e, c);
    case OP_KEY_META:
        if (f->family == FAMILY_REDIS)
            return op_key_meta(f, e, c);
        return op_slot_import(c);
    case OP_TEMPLATE:
        if (f->family == FAMILY_REDIS)
            return op_template(f, c);
        break;
    default: break;
    }
    return cur_bad(c, "a known opcode");
}
