/* Opcodes that only Redis and Valkey write: functions, modules' own data, hash templates. rdb(5), OPCODES,
 * Hash templates, Modules. */
#include "rdb.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATES_MAX   65536
#define TEMPLATE_FIELDS 1048576

void drop_templates(struct rdb *r)
{
    while (r->templates != NULL) {
        struct hash_template *t = r->templates;
        r->templates = t->next;
        buf_free(&t->names);
        free(t);
    }
    r->ntemplates = 0;
}

/* id, n, n field names. */
static enum got op_template(struct rdb *r, struct cur *c)
{
    uint64_t head[2] = {0, 0};
    enum got g = cur_plens(c, head, 2);
    const uint64_t n = head[1];
    if (g != GOT)
        return g;
    if (n > TEMPLATE_FIELDS || r->ntemplates >= TEMPLATES_MAX)
        return cur_bad(c, "at most 65536 templates of at most 1048576 fields");
    struct hash_template *t = xcalloc(1, sizeof *t);
    t->id = head[0];
    t->fields = n;
    for (uint64_t i = 0; i < n && g == GOT; i++) {
        struct pstr ps;
        struct slice s;
        g = cur_pstr(c, &ps);
        if (g == GOT && !value_text(&r->to->s, 0, &ps, &s))
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
    t->next = r->templates;
    r->next.templates = r->templates = t;
    r->ntemplates++;
    return GOT;
}

/* The target has functions; else the one of that name is reported. */
static bool takes_function(struct rdb *r, const uint8_t *name, size_t n)
{
    const struct target *t = &r->to->e->target;
    r->to->o.live = false;
    r->to->o.db = 0;
    if (t->version >= VERSION(7, 0) && t->kind != SERVER_DRAGONFLY)
        return true;
    emit_report(r->to->e, &r->to->o, true, "function", name, n, "the target has no functions");
    return false;
}

/* A library of functions: loaded into every server that knows them. */
static void load_function(struct rdb *r, const struct slice *code)
{
    const struct site at = SITE_OF(r->to);
    if (r->to->outlet != NULL) {
        r->to->outlet->kind->library(r->to->outlet, &at, code);
        return;
    }
    struct slice argv[4] = {SLICE("FUNCTION"), SLICE("LOAD"), SLICE("REPLACE"), *code};
    emit_argv(r->to->e, &r->to->o, NULL, 0, CLASS_NONE, RF_IDEMPOTENT | RF_MULTIKEY, argv, 4);
}

static enum got op_function(struct rdb *r, struct cur *c)
{
    struct pstr ps;
    struct slice code;
    enum got g = value_string(c, &r->to->s, 0, &ps, &code);
    if (g != GOT)
        return g;
    size_t line = 0; /* "#!lua name=…" */
    while (line < code.n && line < 80 && code.p[line] != '\n')
        line++;
    if (takes_function(r, code.p, line))
        load_function(r, &code);
    return GOT;
}

/* A string of a function; kept behind the others in b. */
static enum got take_text(struct rdb *r, struct cur *c, struct buf *b, size_t *n)
{
    struct pstr ps;
    struct slice t;
    enum got g = value_string(c, &r->to->s, 0, &ps, &t);
    if (g == GOT && buf_add(b, t.p, t.n) < 0)
        g = cur_bad(c, "a function of at most 64 MiB");
    if (g == GOT)
        *n = t.n;
    return g;
}

/* name, engine, a description or none, code. n: their lengths. */
static enum got take_function_rc(struct rdb *r, struct cur *c, struct buf *b, size_t n[4])
{
    uint64_t described = 0;
    enum got g = take_text(r, c, b, &n[0]);
    if (g == GOT)
        g = take_text(r, c, b, &n[1]);
    if (g == GOT)
        g = cur_plen(c, &described);
    if (g == GOT && described > 1)
        g = cur_bad(c, "a description of a function, or none");
    if (g == GOT && described == 1)
        g = take_text(r, c, b, &n[2]);
    return g == GOT ? take_text(r, c, b, &n[3]) : g;
}

/* The second candidate of Redis 7.0 had libraries, of which only the first line is new in the release. The
 * first had single functions, whose code registers nothing. */
static bool is_library(const struct slice *name, const struct slice *engine, const struct slice *code)
{
    if (engine->n != 3 || strncasecmp((const char *)engine->p, "LUA", 3) != 0 || name->n == 0)
        return false;
    for (size_t i = 0; i < name->n; i++)
        if (!isalnum(name->p[i]) && name->p[i] != '_')
            return false;
    return memmem(code->p, code->n, "register_function", 17) != NULL;
}

static void write_function_rc(struct rdb *r, const struct buf *b, const size_t n[4])
{
    struct slice name = {b->p, n[0]}, engine = {b->p + n[0], n[1]}, code = {b->p + n[0] + n[1] + n[2], n[3]};
    struct buf text = {.max = b->len + 64};
    if (!takes_function(r, name.p, name.n))
        return;
    if (!is_library(&name, &engine, &code)) {
        emit_report(r->to->e, &r->to->o, true, "function", name.p, name.n,
                    "a function in the form of a candidate of Redis 7.0, which no release loads");
        return;
    }
    if (buf_addstr(&text, "#!lua name=") == 0 && buf_add(&text, name.p, name.n) == 0 &&
        buf_addstr(&text, "\n") == 0 && buf_add(&text, code.p, code.n) == 0) {
        emit_report(r->to->e, &r->to->o, false, "function", name.p, name.n,
                    n[2] > 0
                        ? "a library of a candidate of Redis 7.0 gets the form of the release, and loses its "
                          "description"
                        : "a library of a candidate of Redis 7.0 gets the form of the release");
        load_function(r, &(struct slice){text.p, text.len});
    }
    buf_free(&text);
}

static enum got op_function_rc(struct rdb *r, struct cur *c)
{
    struct buf b = {.max = (size_t)64 << 20};
    size_t n[4] = {0, 0, 0, 0};
    enum got g = take_function_rc(r, c, &b, n);
    if (g == GOT)
        write_function_rc(r, &b, n);
    buf_free(&b);
    return g;
}

/* What a module keeps beside its keys. */
static enum got op_module_aux(struct rdb *r, struct cur *c)
{
    const uint8_t *id = c->p;
    uint64_t head[3]; /* id, opcode, when */
    bool data = false;
    char name[10];
    enum got g = cur_plens(c, head, 3);
    size_t idn = (size_t)(c->p - id);
    if (g == GOT)
        g = module_values(c, &data);
    r->to->o.db = 0;
    if (g == GOT && data && module_of(id, idn, name) != NULL)
        emit_report(r->to->e, &r->to->o, true, "module-aux", (const uint8_t *)name, 9,
                    "a module's own data are left out");
    return g;
}

/* Of the next key, which is named with its report. */
static enum got op_key_meta(struct rdb *r, struct cur *c)
{
    uint64_t classes;
    const uint8_t *spec;
    enum got g = cur_plen(c, &classes);
    for (uint64_t i = 0; g == GOT && i < classes; i++) {
        g = cur_raw(c, 4, &spec);
        if (g == GOT)
            g = module_values(c, NULL);
    }
    if (g == GOT && classes > 0)
        r->next.prefixed = r->next.meta = true;
    return g;
}

/* Valkey: a slot import that was under way. job, n, n x (first slot, last slot). */
static enum got op_slot_import(struct rdb *r, struct cur *c)
{
    struct pstr job;
    uint64_t ranges, slots[2];
    enum got g = cur_pstr(c, &job);
    if (g == GOT)
        g = cur_plen(c, &ranges);
    for (uint64_t i = 0; g == GOT && i < ranges; i++)
        g = cur_plens(c, slots, 2);
    if (g == GOT)
        change_once(r->to->e, &r->to->o, &r->told_import, "slot-import",
                    "an import of slots was under way: their keys may not all be in this file");
    return g;
}

enum got redis_opcode(struct rdb *r, struct cur *c, unsigned op)
{
    uint64_t n[3];
    if (r->family == FAMILY_DRAGONFLY)
        return rdb_unknown(r, c, "opcode", op);
    switch (op) {
    case OP_RAM_LRU:
    case OP_SLOT_NUM: return cur_plens(c, n, 1);
    case OP_SLOT_INFO: return cur_plens(c, n, 3);
    case OP_FUNCTION: return op_function(r, c);
    case OP_FUNCTION_RC: return op_function_rc(r, c);
    case OP_MODULE_AUX: return op_module_aux(r, c);
    case OP_KEY_META:
        if (r->family == FAMILY_REDIS)
            return op_key_meta(r, c);
        return op_slot_import(r, c);
    case OP_TEMPLATE:
        if (r->family == FAMILY_REDIS)
            return op_template(r, c);
        break;
    default: break;
    }
    return rdb_unknown(r, c, "opcode", op);
}
