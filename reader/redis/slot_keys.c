#include "slot_keys.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "psync.h"
#include "psync_reply.h"

#define REPLY_KEYS ((size_t)512 << 20) /* bytes that the names of a slot may take */
#define ANSWER_MAX (30 * US)
#define ENOUGH     ((size_t)60 << 10)

void slot_keys_init(struct slot_keys *k, unsigned flow)
{
    memset(k, 0, sizeof *k);
    k->flow = flow;
    k->conn.w.fd = -1;
}

static void drop_object(struct slot_keys *k)
{
    if (k->object != NULL)
        freeReplyObject(k->object);
    k->object = NULL;
    k->in = 0;
    k->at = 0;
}

void slot_keys_close(struct slot_keys *k)
{
    conn_close(&k->conn);
    drop_object(k);
    memset(&k->todo, 0, sizeof k->todo);
    k->n = k->reply = k->listed = 0;
    k->names = 0;
}

void slot_keys_start(struct slot_keys *k, const struct slotset *slots, const char *version)
{
    slot_keys_close(k);
    k->todo = *slots;
    k->several = cluster_has_databases(version);
    k->db[0] = 0;
    k->dbs = 1;
    k->error[0] = '\0';
    k->moved_at = mono_us();
}

static void fails(struct slot_keys *k, const char *why)
{
    slot_keys_close(k);
    k->status = EXIT_RETRY;
    strlcpy(k->error, why, sizeof k->error);
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct slot_keys *k = w->ctx;
    if (conn_events(&k->conn, events) < 0)
        fails(k, errno != 0 ? strerror(errno) : "the master closed the connection");
}

static bool connected(struct slot_keys *k, struct stream *st, const struct conn *like, const struct url *at)
{
    struct fault f;
    if (k->conn.open)
        return true;
    k->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = k};
    int rc = conn_another(&k->conn, &st->loop, like, at, &f);
    if (rc < 0) {
        fails(k, f.text);
        return false;
    }
    conn_keep_objects(&k->conn, REPLY_KEYS);
    k->auth = rc > 0;
    k->moved_at = mono_us();
    return true;
}

/* All names of a slot, in one transaction with the offset; with several databases also which these are, so
 * that none is missed. */
static int request(struct slot_keys *k, unsigned slot)
{
    char number[8], db[12];
    snprintf(number, sizeof number, "%u", slot);
    const char *const multi[] = {"MULTI"}, *const exec[] = {"EXEC"};
    const char *const info[] = {"INFO", "replication", "keyspace"}, *const select[] = {"SELECT", db};
    const char *const keys[] = {"CLUSTER", "GETKEYSINSLOT", number, "1000000000"};
    int rc =
        conn_request(&k->conn, 1, multi) < 0 || conn_request(&k->conn, k->several ? 3 : 2, info) < 0 ? -1 : 0;
    for (unsigned i = 0; rc == 0 && i < k->dbs; i++) {
        snprintf(db, sizeof db, "%u", k->db[i]);
        rc = (k->several && conn_request(&k->conn, 2, select) < 0) || conn_request(&k->conn, 4, keys) < 0 ? -1
                                                                                                          : 0;
    }
    return rc == 0 ? conn_request(&k->conn, 1, exec) : -1;
}

/* Replies to a request, with that to EXEC. */
static unsigned replies(const struct slot_keys *k, const struct slot_asked *a)
{
    return 3 + (k->several ? 2u : 1u) * a->dbs;
}

static void send_requests(struct slot_keys *k)
{
    for (unsigned slot = slotset_next(&k->todo, 0); slot < SLOTS && k->n < SLOT_KEYS_WINDOW;
         slot = slotset_next(&k->todo, slot)) {
        if (request(k, slot) < 0) {
            fails(k, "the master closed the connection");
            return;
        }
        slotset_del(&k->todo, slot);
        k->asked[k->n++] = (struct slot_asked){(uint16_t)slot, (uint16_t)k->dbs};
    }
}

/* ---- replies ---- */

static bool is_status(const redisReply *r)
{
    return r->type == REDIS_REPLY_STATUS;
}

/* The names in the oldest's database i. */
static const redisReply *names_in(const struct slot_keys *k, const redisReply *r, unsigned i)
{
    return r->element[k->several ? 2 + 2 * i : 1 + i];
}

/* The offset at which the keys were read. */
static bool offset_of(const struct slot_keys *k, const redisReply *r, uint64_t *offset)
{
    unsigned dbs = k->asked[0].dbs;
    const redisReply *info = r->type == REDIS_REPLY_ARRAY && r->elements == (k->several ? 2u : 1u) * dbs + 1
                                 ? r->element[0]
                                 : NULL;
    if (info == NULL || info->str == NULL || !info_number(info->str, "master_repl_offset", offset) ||
        *offset > PSYNC_OFFSET_MAX)
        return false;
    for (unsigned i = 0; i < dbs; i++)
        if (names_in(k, r, i)->type != REDIS_REPLY_ARRAY)
            return false;
    return true;
}

/* False: there are keys in databases that the oldest was not asked for, or too many of these. */
static bool has_all(struct slot_keys *k, const redisReply *r)
{
    uint32_t db[SLOT_KEYS_DBS];
    unsigned n = k->several ? info_databases(r->element[0]->str, db, SLOT_KEYS_DBS) : 0;
    bool all = n <= SLOT_KEYS_DBS;
    for (unsigned i = 0; i < n && i < SLOT_KEYS_DBS; i++) {
        unsigned at = 0;
        while (at < k->dbs && k->db[at] != db[i])
            at++;
        all = all && at < k->asked[0].dbs;
        if (at == k->dbs && k->dbs < SLOT_KEYS_DBS)
            k->db[k->dbs++] = db[i];
    }
    return all;
}

static void forget_oldest(struct slot_keys *k)
{
    drop_object(k);
    k->n--;
    memmove(k->asked, k->asked + 1, k->n * sizeof k->asked[0]);
}

static void take_reply(struct slot_keys *k, redisReply *r)
{
    uint64_t offset;
    k->moved_at = mono_us();
    bool last = !k->auth && k->n > 0 && ++k->reply == replies(k, &k->asked[0]);
    k->auth = false;
    if (!last && is_status(r)) {
        freeReplyObject(r);
        return;
    }
    if (last && offset_of(k, r, &offset)) {
        k->object = r;
        k->reply = 0;
        if (has_all(k, r))
            return;
        slotset_add(&k->todo, k->asked[0].slot); /* once more, with these databases */
        unsigned dbs = k->asked[0].dbs;
        forget_oldest(k);
        if (dbs == SLOT_KEYS_DBS) {
            fails(k, "it has keys in more than 256 databases");
            k->status = EXIT_CANNOT;
        }
        return;
    }
    char why[160];
    snprintf(why, sizeof why, "CLUSTER GETKEYSINSLOT: %s",
             r->type == REDIS_REPLY_ERROR ? r->str : "a reply that is none to it");
    freeReplyObject(r);
    fails(k, why);
}

static void read_replies(struct slot_keys *k)
{
    struct fault f;
    while (k->conn.open && k->conn.readable && k->object == NULL) {
        int rc = conn_reply(&k->conn, &f);
        if (rc < 0)
            fails(k, f.text);
        if (rc <= 0)
            return;
        take_reply(k, k->conn.object);
    }
}

/* ---- records ---- */

static bool write_names(struct slot_keys *k, struct stream *st)
{
    const redisReply *names = names_in(k, k->object, k->in);
    struct buf b = {.max = ENOUGH + 4 * REC_PAYLOAD_MAX};
    meta_adds(&b, "op", "key");
    meta_addu(&b, "db", k->db[k->in]);
    for (; k->at < names->elements && b.len < ENOUGH; k->at++) {
        const redisReply *name = names->element[k->at];
        if (name->str != NULL && 3 * name->len < DATA_MAX - ENOUGH)
            meta_add(&b, "key", name->str, name->len, '\n');
    }
    int rc = stream_slots(st, k->flow, &b);
    buf_free(&b);
    return rc == 0;
}

static bool write_end(struct slot_keys *k, struct stream *st)
{
    struct buf b = {.max = 256};
    uint64_t offset = 0;
    (void)offset_of(k, k->object, &offset);
    meta_adds(&b, "op", "listed");
    meta_addu(&b, "slot", k->asked[0].slot);
    meta_addu(&b, "at", psync_position(offset, 0));
    int rc = stream_slots(st, k->flow, &b);
    buf_free(&b);
    k->listed++;
    forget_oldest(k);
    return rc == 0;
}

/* The next record of the oldest. */
static bool write_next(struct slot_keys *k, struct stream *st)
{
    const redisReply *names = names_in(k, k->object, k->in);
    if (k->at < names->elements)
        return write_names(k, st);
    k->names += names->elements;
    k->at = 0;
    return ++k->in < k->asked[0].dbs || write_end(k, st);
}

bool slot_keys_listed(struct slot_keys *k, unsigned *slots, uint64_t *keys)
{
    if (k->listed == 0 || k->n > 0 || slotset_next(&k->todo, 0) < SLOTS)
        return false;
    *slots = k->listed;
    *keys = k->names;
    k->listed = 0;
    k->names = 0;
    return true;
}

bool slot_keys_work(struct slot_keys *k, struct stream *st, const struct conn *like, const struct url *at)
{
    bool idle = k->n == 0 && slotset_next(&k->todo, 0) == SLOTS;
    if (idle || k->error[0] != '\0') {
        if (k->conn.open && k->conn.readable) /* the node may close an idle connection */
            conn_close(&k->conn);
        return false;
    }
    if (!connected(k, st, like, at))
        return false;
    send_requests(k);
    for (unsigned turn = 0; turn < 64 && k->conn.open && !output_full(&st->out); turn++) {
        if (k->object == NULL)
            read_replies(k);
        if (k->object == NULL)
            break;
        if (!write_next(k, st))
            return false;
        k->moved_at = mono_us();
    }
    if (k->conn.open && us_since(mono_us(), k->moved_at) > ANSWER_MAX)
        fails(k, "the master does not answer");
    return k->object != NULL && !output_full(&st->out);
}
