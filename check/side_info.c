/* What the servers of a side say about themselves: databases, and whether they are still the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "fatal.h"
#include "side.h"
#include "side_ask.h"

static struct side_db *note_db(struct side *s, uint32_t db)
{
    for (unsigned i = 0; i < s->dbs; i++)
        if (s->db[i].db == db)
            return &s->db[i];
    if (s->dbs == SIDE_DBS)
        fatal(EXIT_CANNOT, "%s: more than %u databases", s->label, SIDE_DBS);
    s->db[s->dbs] = (struct side_db){.db = db};
    return &s->db[s->dbs++];
}

/* "dbN:keys=A,expires=B…" of a line. */
static void take_db(struct side *s, const char *line)
{
    unsigned db;
    unsigned long long keys, expires;
    if (sscanf(line, "db%u:keys=%llu,expires=%llu", &db, &keys, &expires) != 3)
        return;
    struct side_db *d = note_db(s, db);
    d->keys += keys;
    d->expires += expires;
}

static void take_changes(struct side *s, const struct reply *r)
{
    char text[32];
    if (info_field(r, "rdb_changes_since_last_save", text, sizeof text) ||
        info_field(r, "rdb_changes_since_last_success_save", text, sizeof text))
        s->changes += strtoull(text, NULL, 10);
    else
        s->knows_changes = false;
}

static void take_expired(struct side *s, const struct reply *r)
{
    char text[32];
    if (info_field(r, "expired_keys", text, sizeof text))
        s->expired += strtoull(text, NULL, 10);
    else
        s->knows_expired = false;
}

void side_list_dbs(struct side *s)
{
    s->dbs = 0;
    s->changes = s->expired = 0;
    s->knows_changes = s->knows_expired = true;
    for (unsigned i = 0; i < s->nodes; i++) {
        take_changes(s, MUST(s, side_lister(s, i), "INFO", "persistence"));
        take_expired(s, MUST(s, side_lister(s, i), "INFO", "stats"));
        const struct reply *r = MUST(s, side_lister(s, i), "INFO", "keyspace");
        char line[160];
        const char *p = (const char *)elem_text(r, &r->e[0]), *end = p + r->e[0].kept;
        while (p < end) {
            const char *eol = memchr(p, '\n', (size_t)(end - p));
            size_t n = (size_t)((eol != NULL ? eol : end) - p);
            if (n < sizeof line) {
                memcpy(line, p, n);
                line[n] = '\0';
                take_db(s, line);
            }
            p += n + 1;
        }
    }
}

bool side_may_have_db(struct side *s, uint32_t db)
{
    if (s->cluster)
        return db == 0;
    struct link *l = side_lister(s, 0);
    if (l->db == db)
        return true;
    link_begin(l, 2);
    link_str(l, "SELECT");
    link_num(l, db);
    const struct reply *r = link_wait(l, KEEP_ALL, side_timeout(s));
    if (r->e[0].type != REPLY_ERROR) {
        l->db = db;
        return true;
    }
    const char *text = (const char *)elem_text(r, &r->e[0]);
    if (memmem(text, r->e[0].kept, "range", 5) == NULL &&
        memmem(text, r->e[0].kept, "invalid DB", 10) == NULL)
        link_refused(l, "SELECT", r, &r->e[0]);
    return false;
}

/* ---- identity ---- */

static uint64_t hash_field(const struct reply *r, const char *name)
{
    char text[64];
    return info_field(r, name, text, sizeof text) ? XXH3_64bits(text, strlen(text)) : 0;
}

/* Which master has which slots, as one node says. */
static uint64_t hash_slots(const struct reply *r)
{
    uint64_t sum = 0;
    for (size_t at = reply_child(r, 0, 0); at < r->n; at = reply_skip(r, at)) {
        size_t master = reply_child(r, at, 2),
               part[] = {reply_child(r, at, 0), reply_child(r, at, 1), reply_child(r, master, 0),
                         reply_child(r, master, 1)};
        uint64_t words[8] = {0};
        for (unsigned i = 0; i < 4 && part[i] < r->n; i++) {
            words[2 * i] = r->e[part[i]].n;
            words[2 * i + 1] = r->e[part[i]].hash[0];
        }
        sum += XXH3_64bits(words, sizeof words);
    }
    return sum;
}

uint64_t side_identity(struct side *s)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->nodes; i++) {
        struct link *l = side_lister(s, i);
        sum = sum * 31 + hash_field(MUST(s, l, "INFO", "server"), "run_id");
        sum = sum * 31 + hash_field(MUST(s, l, "INFO", "replication"), "role");
    }
    return s->cluster ? sum * 31 + hash_slots(MUST(s, side_lister(s, 0), "CLUSTER", "SLOTS")) : sum;
}
