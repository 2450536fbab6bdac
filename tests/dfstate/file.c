/* A dump in a file, plain or gzipped, as records in (db, key) order. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "dfstate.h"

typedef struct entry {
    size_t line, len; /* in file_source.text */
    size_t key, klen; /* in file_source.names */
    size_t type;      /* in file_source.types */
    int db;
} entry;

struct file_source {
    buf text, names;
    char **types; /* few, so each is kept once */
    size_t ntypes;
    entry *entries;
    size_t n, cap, pos;
};

/* gzread() passes plain files through. */
static void read_text(file_source *f, const char *path)
{
    const unsigned step = 1 << 20;
    gzFile gz = gzopen(path, "rb");
    const char *why;
    int got, code;

    if (!gz)
        die("cannot open %s", path);
    do {
        buf_room(&f->text, step);
        got = gzread(gz, f->text.p + f->text.len, step);
        if (got > 0)
            f->text.len += (size_t)got;
    } while (got > 0);
    why = gzerror(gz, &code); /* a cut file ends like a whole one, but for this */
    if (got < 0 || code != Z_OK)
        die("cannot read %s: %s", path, why);
    gzclose_r(gz);
}

static size_t type_number(file_source *f, const char *type)
{
    for (size_t i = 0; i < f->ntypes; i++)
        if (strcmp(f->types[i], type) == 0)
            return i;
    f->types = reallocarray(f->types, f->ntypes + 1, sizeof(*f->types));
    if (!f->types)
        die("out of memory");
    f->types[f->ntypes] = copy_text(type, strlen(type));
    return f->ntypes++;
}

/* Keys come out of JSON as UTF-8 of code points below 256; back to the bytes they stand for. */
static bool add_name(buf *b, const char *p, size_t n)
{
    buf_room(b, n);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c >= 0x80) {
            if (c > 0xc3 || i + 1 == n)
                return false;
            c = (unsigned char)(c << 6 | ((unsigned char)p[++i] & 0x3f));
        }
        b->p[b->len++] = (char)c;
    }
    return true;
}

static void add_line(file_source *f, const char *path, size_t number, size_t start, size_t len)
{
    json_error_t err;
    json_t *j = json_loadb(f->text.p + start, len, JSON_ALLOW_NUL, &err);
    json_t *db = json_object_get(j, "db"), *key = json_object_get(j, "key");
    json_t *type = json_object_get(j, "type");
    entry e = {.line = start, .len = len, .key = f->names.len};

    if (!j)
        die("%s:%zu: %s", path, number, err.text);
    if (!json_is_integer(db) || !json_is_string(key) || !json_is_string(type) || !json_object_get(j, "value"))
        die("%s:%zu: no record of a key", path, number);
    if (!add_name(&f->names, json_string_value(key), json_string_length(key)))
        die("%s:%zu: a key with a character beyond 255", path, number);
    e.klen = f->names.len - e.key;
    e.db = (int)json_integer_value(db);
    e.type = type_number(f, json_string_value(type));
    f->entries = grow_array(f->entries, &f->cap, f->n + 1, sizeof(*f->entries));
    f->entries[f->n++] = e;
    json_decref(j);
}

static int cmp_key(const file_source *f, const entry *a, const entry *b)
{
    if (a->db != b->db)
        return a->db < b->db ? -1 : 1;
    return bytes_cmp((bytes){f->names.p + a->key, a->klen}, (bytes){f->names.p + b->key, b->klen});
}

static int cmp_entry(const void *a, const void *b, void *arg)
{
    const entry *x = a, *y = b;
    int c = cmp_key(arg, x, y);

    return c ? c : (x->line > y->line) - (x->line < y->line);
}

/* Files put together by hand may be unsorted or have a key twice; its last line counts. */
static void sort_entries(file_source *f)
{
    size_t kept = 0;

    if (f->n)
        qsort_r(f->entries, f->n, sizeof(*f->entries), cmp_entry, f);
    for (size_t i = 0; i < f->n; i++) {
        if (kept && cmp_key(f, &f->entries[kept - 1], &f->entries[i]) == 0)
            kept--;
        f->entries[kept++] = f->entries[i];
    }
    f->n = kept;
}

file_source *file_open(const char *path)
{
    file_source *f = xcalloc(1, sizeof(*f));
    size_t number = 1;

    read_text(f, path);
    for (size_t start = 0, end; start < f->text.len; start = end + 1, number++) {
        const char *nl = memchr(f->text.p + start, '\n', f->text.len - start);

        end = nl ? (size_t)(nl - f->text.p) : f->text.len;
        add_line(f, path, number, start, end - start);
    }
    sort_entries(f);
    return f;
}

bool file_next(file_source *f, record *r)
{
    const entry *e;

    if (f->pos == f->n)
        return false;
    e = &f->entries[f->pos++];
    *r = (record){e->db, {f->names.p + e->key, e->klen}, {f->text.p + e->line, e->len}, f->types[e->type]};
    return true;
}

void file_close(file_source *f)
{
    for (size_t i = 0; i < f->ntypes; i++)
        free(f->types[i]);
    free(f->types);
    free(f->entries);
    buf_free(&f->text);
    buf_free(&f->names);
    free(f);
}
