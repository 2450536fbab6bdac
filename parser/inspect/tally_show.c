#include "tally_show.h"

#include <time.h>

#include "json.h"

static const char *encoding(unsigned type)
{
    switch (type) {
    case 0: return "string";
    case 1: return "list";
    case 2: return "hashtable";
    case 3:
    case 5: return "skiplist";
    case 4: return "hashtable";
    case 7: return "module";
    case 9: return "zipmap";
    case 10:
    case 12:
    case 13: return "ziplist";
    case 11: return "intset";
    case 14:
    case 18: return "quicklist";
    case 15:
    case 19:
    case 21:
    case T_REDIS + 26:
    case T_REDIS + 27: return "stream";
    case 16:
    case 17:
    case 20: return "listpack";
    case T_REDIS + 23:
    case T_REDIS + 25: return "listpackex";
    case T_REDIS + 22:
    case T_REDIS + 24:
    case T_VALKEY + 22:
    case 31:
    case 32: return "hashtable";
    case 30: return "json";
    default: return "other";
    }
}

static void expiry_text(uint64_t ms, char to[40])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char day[32];
    to[0] = '\0';
    if (ms == 0)
        return;
    if (gmtime_r(&s, &tm) == NULL || strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        snprintf(to, 40, "%llu", (unsigned long long)ms);
        return;
    }
    snprintf(to, 40, "%.24s.%03uZ", day, (unsigned)(ms % 1000));
}

/* ---- CSV: the columns of rdb-tools' memory report ---- */

void inspect_csv_head(struct tally *t)
{
    fputs("database,type,key,size_in_bytes,encoding,num_elements,len_largest_element,expiry\n", t->to);
}

/* Quoted; bytes that are no printable ASCII as \xHH. */
static void csv_key(struct tally *t, const struct slice *key)
{
    putc('"', t->to);
    for (size_t i = 0; i < key->n; i++) {
        uint8_t c = key->p[i];
        if (c == '"')
            fputs("\"\"", t->to);
        else if (c == '\\')
            fputs("\\\\", t->to);
        else if (c >= 0x20 && c < 0x7f)
            putc(c, t->to);
        else
            fprintf(t->to, "\\x%02x", c);
    }
    putc('"', t->to);
}

void inspect_csv_line(struct tally *t, const struct measured *m)
{
    char when[40];
    expiry_text(m->expire_ms, when);
    fprintf(t->to, "%u,%s,", m->db, rec_class_name(m->vclass));
    csv_key(t, &m->key);
    fprintf(t->to, ",%llu,%s,%llu,%llu,%s\n", (unsigned long long)m->size, encoding(m->type),
            (unsigned long long)m->elements, (unsigned long long)m->largest, when);
}

/* ---- JSON ---- */

static void json_class(struct tally *t, unsigned vclass)
{
    const struct tally_class *k = &t->of[vclass];
    fprintf(
        t->to,
        "\"%s\": {\"keys\": %llu, \"bytes\": %llu, \"elements\": %llu, \"expires\": %llu, \"expired\": %llu, "
        "\"most_bytes\": %llu, \"most_elements\": %llu, \"largest_element\": %llu}",
        rec_class_name(vclass), (unsigned long long)k->keys, (unsigned long long)k->size,
        (unsigned long long)k->elements, (unsigned long long)k->expires, (unsigned long long)k->expired,
        (unsigned long long)k->most_size, (unsigned long long)k->most_elements,
        (unsigned long long)k->largest);
}

static void json_key(struct tally *t, const struct measured *m)
{
    t->line.len = 0;
    json_add(&t->line, m->key.p, m->key.n);
    fprintf(t->to,
            "{\"db\": %u, \"key\": %.*s, \"type\": \"%s\", \"encoding\": \"%s\", \"bytes\": %llu, "
            "\"elements\": %llu, "
            "\"largest_element\": %llu, \"expires_ms\": %llu}",
            m->db, (int)t->line.len, (const char *)t->line.p, rec_class_name(m->vclass), encoding(m->type),
            (unsigned long long)m->size, (unsigned long long)m->elements, (unsigned long long)m->largest,
            (unsigned long long)m->expire_ms);
}

static void show_json(struct tally *t, bool complete)
{
    const char *sep = "";
    fprintf(t->to, "{\"complete\": %s,\n \"types\": {", complete ? "true" : "false");
    for (unsigned i = CLASS_STRING; i < CLASS_COUNT; i++) {
        if (t->of[i].keys == 0)
            continue;
        fputs(sep, t->to);
        json_class(t, i);
        sep = ",\n  ";
    }
    fputs("},\n \"databases\": [", t->to);
    for (size_t i = 0; i < t->ndbs; i++)
        fprintf(t->to, "%s{\"db\": %u, \"keys\": %llu, \"expires\": %llu, \"bytes\": %llu}",
                i > 0 ? ", " : "", t->dbs[i].db, (unsigned long long)t->dbs[i].keys,
                (unsigned long long)t->dbs[i].expires, (unsigned long long)t->dbs[i].size);
    fputs("],\n \"largest\": [", t->to);
    for (unsigned i = 0; i < t->nlargest; i++) {
        fputs(i > 0 ? ",\n  " : "", t->to);
        json_key(t, &t->largest[i]->m);
    }
    fputs("]}\n", t->to);
}

/* ---- text ---- */

#define ROW "%-8s %12s %16s %14s %12s %12s\n"

static void text_class(struct tally *t, const char *name, const struct tally_class *k)
{
    fprintf(t->to, "%-8s %12llu %16llu %14llu %12llu %12llu\n", name, (unsigned long long)k->keys,
            (unsigned long long)k->size, (unsigned long long)k->elements, (unsigned long long)k->expires,
            (unsigned long long)k->most_size);
}

static void text_key(struct tally *t, const struct measured *m)
{
    t->line.len = 0;
    json_add(&t->line, m->key.p, m->key.n);
    fprintf(t->to, "%16llu %12llu %12llu  %-7s %3u  %.*s\n", (unsigned long long)m->size,
            (unsigned long long)m->elements, (unsigned long long)m->largest, rec_class_name(m->vclass), m->db,
            (int)t->line.len, (const char *)t->line.p);
}

static void show_text(struct tally *t, bool complete)
{
    struct tally_class all = {0};
    fprintf(t->to, ROW, "type", "keys", "bytes", "elements", "with expiry", "largest key");
    for (unsigned i = CLASS_STRING; i < CLASS_COUNT; i++) {
        const struct tally_class *k = &t->of[i];
        if (k->keys > 0)
            text_class(t, rec_class_name(i), k);
        all.keys += k->keys;
        all.size += k->size;
        all.elements += k->elements;
        all.expires += k->expires;
        all.expired += k->expired;
        all.most_size = k->most_size > all.most_size ? k->most_size : all.most_size;
    }
    text_class(t, "all", &all);
    for (size_t i = 0; i < t->ndbs; i++)
        fprintf(t->to, "database %u: %llu keys, %llu with an expiry, %llu bytes\n", t->dbs[i].db,
                (unsigned long long)t->dbs[i].keys, (unsigned long long)t->dbs[i].expires,
                (unsigned long long)t->dbs[i].size);
    if (all.expired > 0)
        fprintf(t->to, "%llu keys have expired by now\n", (unsigned long long)all.expired);
    if (t->nlargest > 0)
        fprintf(t->to, "\n%16s %12s %12s  %-7s %3s  %s\n", "bytes", "elements", "largest", "type", "db",
                "key");
    for (unsigned i = 0; i < t->nlargest; i++)
        text_key(t, &t->largest[i]->m);
    if (!complete)
        fputs("the snapshot is not complete\n", t->to);
}

void inspect_show(struct tally *t, bool complete)
{
    if (t->form == INSPECT_JSON)
        show_json(t, complete);
    else if (t->form == INSPECT_TEXT)
        show_text(t, complete);
    else
        for (unsigned i = 0; i < t->nlargest; i++)
            inspect_csv_line(t, &t->largest[i]->m);
}
