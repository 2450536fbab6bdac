/* What the stand-in answers to SELECT, DUMP, PTTL and INFO keyspace: values from a file, for keys that are
 * read again. */
#include "standin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DBS   16u
#define NAMED 2048u /* that INFO keyspace may name, also such that SELECT refuses */

struct value {
    struct value *next;
    unsigned db;
    char *key;
    int64_t ttl;
    struct buf dump; /* in so many words, or a size of which the bytes are made */
    uint64_t size;
    char *reply; /* a line in place of the reply to DUMP; NULL: none */
};

struct values {
    struct value *first;
    bool holds[NAMED];
    unsigned long dumps;
};

static bool parse_hex(const char *text, struct buf *out)
{
    unsigned byte;
    int used;
    for (; *text; text += 2) {
        if (sscanf(text, "%2x%n", &byte, &used) != 1 || used != 2)
            return false;
        buf_byte(out, (uint8_t)byte);
    }
    return true;
}

/* DB KEY TTL HEX, or *N for N bytes that no compression makes smaller, or =LINE for a reply that is no value.
 */
static bool parse_value(char *line, struct value *v)
{
    char *key = strchr(line, ' '), *ttl = key ? strchr(key + 1, ' ') : NULL,
         *dump = ttl ? strchr(ttl + 1, ' ') : NULL;
    uint64_t db;
    if (!dump)
        return false;
    *key++ = *ttl++ = *dump++ = '\0';
    if (!parse_u64(line, &db) || db >= DBS)
        return false;
    v->db = (unsigned)db;
    v->key = strdup(key);
    v->ttl = strtoll(ttl, NULL, 10);
    if (*dump == '=') {
        v->reply = strdup(dump + 1);
        return v->reply != NULL;
    }
    return *dump == '*' ? parse_u64(dump + 1, &v->size) : parse_hex(dump, &v->dump);
}

struct values *values_load(const char *path, const char *dbs)
{
    struct values *vs = grab(sizeof *vs);
    char line[8192];
    for (const char *p = dbs; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strtoul(p, NULL, 10) < NAMED)
            vs->holds[strtoul(p, NULL, 10)] = true;
    if (!path)
        return vs;
    FILE *f = fopen(path, "r");
    if (!f) {
        complain("%s: %s", path, strerror(errno));
        values_free(vs);
        return NULL;
    }
    while (fgets(line, sizeof line, f)) {
        struct value *v = grab(sizeof *v);
        v->next = vs->first;
        vs->first = v;
        line[strcspn(line, "\n")] = '\0';
        if (!parse_value(line, v)) {
            complain("%s: not DB KEY TTL HEX|*N|=LINE: %s", path, line);
            fclose(f);
            values_free(vs);
            return NULL;
        }
        vs->holds[v->db] = true;
    }
    fclose(f);
    return vs;
}

void values_free(struct values *vs)
{
    struct value *next;
    for (struct value *v = vs ? vs->first : NULL; v; v = next) {
        next = v->next;
        free(v->key);
        free(v->reply);
        buf_free(&v->dump);
        free(v);
    }
    free(vs);
}

void values_keyspace(const struct values *vs, struct buf *out)
{
    char line[80];
    buf_text(out, "# Keyspace\r\n");
    for (unsigned db = 0; db < NAMED; db++) {
        snprintf(line, sizeof line, "db%u:keys=%u,expires=0,avg_ttl=-1\r\n", db, vs->holds[db] ? 1 + db : 0);
        if (vs->holds[db] || db == 1) /* one without keys is named too, as a real one may */
            buf_text(out, line);
    }
}

static const struct value *find(const struct values *vs, const struct conn *c, const struct request *r)
{
    for (const struct value *v = vs->first; v; v = v->next)
        if (v->db == c->db && strlen(v->key) == r->len[1] && !memcmp(v->key, r->argv[1], r->len[1]))
            return v;
    return NULL;
}

static void run_dump(struct master *m, struct conn *c, const struct request *r)
{
    const struct value *v = find(m->values, c, r);
    if (++m->values->dumps == opt.close_at_dump) {
        conn_close(m, c, "planned: at this DUMP");
        return;
    }
    if (m->values->dumps == opt.mute_at_dump) {
        c->mute = true;
        return;
    }
    if (!v) {
        conn_reply(c, "$-1\r\n");
        return;
    }
    if (v->reply) {
        conn_reply(c, "%s\r\n", v->reply);
        return;
    }
    struct buf made = {0};
    for (uint64_t i = 0; i < v->size; i += 8)
        buf_le(&made, mix64(i), v->size - i < 8 ? (unsigned)(v->size - i) : 8);
    if (v->size)
        buf_bulk(&c->out, made.p, made.len);
    else
        buf_bulk(&c->out, v->dump.p, v->dump.len);
    buf_free(&made);
}

bool values_run(struct master *m, struct conn *c, struct request *r)
{
    uint64_t db;
    if (r->argc != 2)
        return false;
    if (word_is(r->argv[0], "SELECT")) {
        if (parse_u64(r->argv[1], &db) && db < DBS) {
            c->db = (unsigned)db;
            conn_reply(c, "+OK\r\n");
        } else {
            conn_reply(c, "-ERR DB index is out of range\r\n");
        }
    } else if (word_is(r->argv[0], "DUMP")) {
        run_dump(m, c, r);
    } else if (word_is(r->argv[0], "PTTL")) {
        const struct value *v = find(m->values, c, r);
        conn_reply(c, ":%lld\r\n", v ? (long long)v->ttl : -2LL);
    } else {
        return false;
    }
    return true;
}
