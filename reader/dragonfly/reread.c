#include "reread.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "ctl.h"
#include "handshake.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "psync.h"
#include "../redis/psync_reply.h"
#include "resp.h"

#define QUEUE_MAX  4096
#define WINDOW     16 /* requests whose answers are awaited at a time */
#define TRIES      2  /* a request is sent again once when the connection breaks */
#define OUT_ENOUGH ((size_t)32 << 10)
#define VALUE_MEM                                                                                            \
    ((size_t)512 << 10) /* of a value; what is more lies in a file until its answer is whole                 \
                         */
#define TURN       8    /* reads or records per turn, then the flows have theirs */
#define ANSWER_MAX ((uint64_t)30 * 1000000) /* µs */
#define READ_STEP  ((size_t)64 << 10)

struct request {
    STAILQ_ENTRY(request) link;
    unsigned flow, tries;
    bool away; /* the node has said that the key may be where its slot goes */
    uint32_t db;
    size_t len;
    char key[];
};

static void on_ready(struct watch *w, uint32_t events);

/* ---- queue ---- */

static void clear_answer(struct reread *r)
{
    spool_free(&r->value);
    spool_init(&r->value, VALUE_MEM, NULL, 0, r->o->spill_dir, r->o->spill_max);
    r->from = r->to = 0;
    r->ttl = -1;
    r->ttl_at = now_us();
    r->missing = r->head_out = r->away = false;
    r->error[0] = '\0';
    r->step = RR_SELECT;
}

void reread_init(struct reread *r, const struct options *o, struct loop *loop)
{
    memset(r, 0, sizeof *r);
    r->o = o;
    r->loop = loop;
    r->conn.w.fd = -1;
    STAILQ_INIT(&r->queue);
    spool_init(&r->value, VALUE_MEM, NULL, 0, o->spill_dir, o->spill_max);
    clear_answer(r);
}

static void pop(struct reread *r)
{
    struct request *q = STAILQ_FIRST(&r->queue);
    STAILQ_REMOVE_HEAD(&r->queue, link);
    free(q);
    r->queued--;
    if (r->sent > 0)
        r->sent--;
    clear_answer(r);
}

void reread_reset(struct reread *r, uint16_t epoch)
{
    conn_close(&r->conn);
    r->sent = 0;
    while (!STAILQ_EMPTY(&r->queue))
        pop(r);
    clear_answer(r);
    buf_free(&r->info);
    buf_free(&r->in);
    r->in = (struct buf){.max = READ_STEP};
    r->in_at = 0;
    r->epoch = epoch;
}

void reread_ask(struct reread *r, unsigned flow, const char *line)
{
    char key[CTL_LINE_MAX];
    uint64_t db;
    long n = ctl_get(line, "key", key, sizeof key);
    if (n < 0 || !ctl_getu(line, "db", &db) || db > UINT32_MAX || r->queued >= QUEUE_MAX) {
        log_event(LOG_WARN, (int)flow, "event=reread_ignored error=%s",
                  r->queued >= QUEUE_MAX ? "too-many" : "malformed");
        return;
    }
    struct request *q = xmalloc(sizeof *q + (size_t)n);
    *q = (struct request){.flow = flow, .db = (uint32_t)db, .len = (size_t)n};
    memcpy(q->key, key, (size_t)n);
    STAILQ_INSERT_TAIL(&r->queue, q, link);
    if (r->queued++ == 0)
        r->moved_at = mono_us();
}

/* ---- the connection ---- */

static void set_error(struct reread *r, const char *text)
{
    if (r->error[0] == '\0')
        strlcpy(r->error, text, sizeof r->error);
}

/* What was asked and not answered is asked once more over a new connection; what was, gives up. */
static void lose(struct reread *r, const char *why)
{
    conn_close(&r->conn);
    r->in.len = r->in_at = 0;
    log_event(LOG_INFO, NO_FLOW, "event=reread_connection_lost error=\"%s\" requests=%u", why, r->queued);
    struct request *q = STAILQ_FIRST(&r->queue);
    unsigned sent = r->sent;
    r->sent = 0;
    if (q == NULL || r->step == RR_DONE)
        return;
    bool asked = sent > 0 || r->step == RR_AUTH;
    char said[sizeof r->error]; /* a request of the group was refused, so the others had other replies */
    strlcpy(said, r->error, sizeof said);
    clear_answer(r);
    if (asked && ++q->tries < TRIES)
        return;
    set_error(r, said[0] != '\0' ? said : why);
    r->step = RR_DONE;
}

void reread_move(struct reread *r)
{
    conn_close(&r->conn);
    r->in.len = r->in_at = 0;
    r->sent = 0;
    if (r->queued > 0 && r->step != RR_DONE)
        clear_answer(r);
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct reread *r = w->ctx;
    if (conn_events(&r->conn, events) < 0)
        lose(r, errno != 0 ? strerror(errno) : "the master closed the connection");
}

/* Returns false when there is no connection. */
static bool connected(struct reread *r, const struct conn *like)
{
    struct fault f;
    if (r->conn.open)
        return true;
    r->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = r};
    int rc = conn_another(&r->conn, r->loop, like, &r->o->url, &f);
    if (rc < 0) {
        lose(r, f.text);
        return false;
    }
    (void)conn_raw(&r->conn, NULL, 0); /* values may be far larger than other replies: read here */
    r->line_len = 0;
    r->array_left = r->bulk_left = 0;
    r->in_bulk = false;
    r->in = (struct buf){.p = r->in.p, .cap = r->in.cap, .max = READ_STEP};
    r->in_at = 0;
    r->moved_at = mono_us();
    if (r->step != RR_DONE)
        r->step = rc > 0 ? RR_AUTH : RR_SELECT;
    return true;
}

static int add_transaction(struct buf *b, const struct request *q)
{
    if (resp_add_array(b, 2) < 0 || resp_add_str(b, "SELECT") < 0 || resp_add_num(b, q->db) < 0 ||
        resp_add_array(b, 1) < 0 || resp_add_str(b, "MULTI") < 0 || resp_add_array(b, 2) < 0 ||
        resp_add_str(b, "INFO") < 0 || resp_add_str(b, "replication") < 0 || resp_add_array(b, 2) < 0 ||
        resp_add_str(b, "DUMP") < 0 || resp_add_bulk(b, q->key, q->len) < 0 || resp_add_array(b, 2) < 0 ||
        resp_add_str(b, "PTTL") < 0 || resp_add_bulk(b, q->key, q->len) < 0)
        return -1;
    return resp_add_array(b, 1) < 0 || resp_add_str(b, "EXEC") < 0 ? -1 : 0;
}

/* Of a slot that is leaving the node, a key that is not there cannot be asked for in a transaction: it is
 * seen not to be there before the offset and behind it. None comes meanwhile, as new keys are made where the
 * slot goes. */
static int add_twice(struct buf *b, const struct request *q)
{
    if (resp_add_array(b, 2) < 0 || resp_add_str(b, "SELECT") < 0 || resp_add_num(b, q->db) < 0 ||
        resp_add_array(b, 2) < 0 || resp_add_str(b, "DUMP") < 0 || resp_add_bulk(b, q->key, q->len) < 0 ||
        resp_add_array(b, 2) < 0 || resp_add_str(b, "INFO") < 0 || resp_add_str(b, "replication") < 0)
        return -1;
    return resp_add_array(b, 2) < 0 || resp_add_str(b, "DUMP") < 0 || resp_add_bulk(b, q->key, q->len) < 0
               ? -1
               : 0;
}

static int add_request(struct buf *b, const struct request *q)
{
    if (resp_add_array(b, 2) < 0 || resp_add_str(b, "SELECT") < 0 || resp_add_num(b, q->db) < 0 ||
        resp_add_array(b, 2) < 0 || resp_add_str(b, "DFLY") < 0 || resp_add_str(b, "REPLICAOFFSET") < 0 ||
        resp_add_array(b, 2) < 0 || resp_add_str(b, "DUMP") < 0 || resp_add_bulk(b, q->key, q->len) < 0 ||
        resp_add_array(b, 2) < 0 || resp_add_str(b, "PTTL") < 0 || resp_add_bulk(b, q->key, q->len) < 0)
        return -1;
    return resp_add_array(b, 2) < 0 || resp_add_str(b, "DFLY") < 0 || resp_add_str(b, "REPLICAOFFSET") < 0
               ? -1
               : 0;
}

static void send_requests(struct reread *r)
{
    struct request *q = STAILQ_FIRST(&r->queue);
    if (r->sent >= WINDOW || r->sent >= r->queued || r->conn.out.len > OUT_ENOUGH)
        return;
    for (unsigned i = 0; i < r->sent; i++)
        q = STAILQ_NEXT(q, link);
    for (; q != NULL && r->sent < WINDOW && r->conn.out.len <= OUT_ENOUGH; q = STAILQ_NEXT(q, link)) {
        if ((q->away ? add_twice : r->psync ? add_transaction : add_request)(&r->conn.out, q) < 0)
            break; /* cannot be: there was room for the largest */
        r->sent++;
    }
    if (conn_flush(&r->conn) < 0)
        lose(r, "the master closed the connection");
}

/* ---- replies ---- */

static bool comes(const struct reread *r)
{
    const struct request *q = STAILQ_FIRST(&r->queue);
    if (q->away)
        return r->step == RR_QUEUED_DUMP || r->step == RR_INFO || r->step == RR_DUMP || r->step == RR_DONE;
    if (r->step >= RR_MULTI && r->step <= RR_INFO)
        return r->psync;
    return !r->psync || (r->step != RR_FROM && r->step != RR_TO);
}

static void end_reply(struct reread *r)
{
    do
        r->step++;
    while (!comes(r));
    r->index = 0;
}

/* The offset at which the value was read: it contains all before it. */
static void take_info(struct reread *r)
{
    uint64_t offset;
    if (buf_add(&r->info, "", 1) == 0 &&
        info_number((const char *)r->info.p, "master_repl_offset", &offset) && offset <= PSYNC_OFFSET_MAX)
        r->from = r->to = psync_position(offset, 0);
}

/* What kind of reply the step has, but for an error: a line, or an array of integers. */
static char expected(const struct reread *r)
{
    switch (r->step) {
    case RR_INFO:
    case RR_DUMP: return '$';
    case RR_PTTL: return ':';
    case RR_EXEC: return '*';
    case RR_FROM:
    case RR_TO: return r->array_left > 0 ? ':' : '*';
    default: return '+';
    }
}

/* Returns 0, or -1 when it is none that the step has. */
static int take_integer(struct reread *r, const char *text)
{
    unsigned flow = STAILQ_FIRST(&r->queue)->flow;
    const char *fault;
    long long v = strtonum(text, r->step == RR_PTTL ? -2 : 0, LLONG_MAX, &fault);
    if (fault != NULL)
        return -1;
    if (r->step == RR_PTTL) {
        r->ttl = v;
        r->ttl_at = now_us();
        r->missing = r->missing || v == -2;
    } else if (r->index == flow && v > 0) {
        *(r->step == RR_FROM ? &r->from : &r->to) = (uint64_t)v;
    }
    return 0;
}

/* Part of a reply, or one that is no array, is whole. */
static void end_item(struct reread *r)
{
    if (r->array_left > 0) {
        r->index++;
        r->array_left--;
    }
    if (r->array_left == 0)
        end_reply(r);
}

/* The length in the first line of a bulk string or an array. Returns 0, or -1 when it is none. */
static int take_length(struct reread *r, const char *text)
{
    const char *fault;
    bool bulk = r->step == RR_DUMP || r->step == RR_INFO;
    if (bulk && strcmp(text, "-1") == 0) {
        r->missing = true;
        end_item(r);
        return 0;
    }
    uint64_t n = (uint64_t)strtonum(text, 0, bulk ? (long long)1 << 40 : REC_FLOWS_MAX, &fault);
    if (fault != NULL)
        return -1;
    if (bulk) {
        r->in_bulk = true;
        r->bulk_left = n + 2;
        r->info = (struct buf){.p = r->info.p, .cap = r->info.cap, .max = REPLY_MAX};
    } else if (r->step == RR_EXEC) { /* what it contains are replies as any others */
        if (n != 3)
            return -1;
        end_reply(r);
    } else {
        r->array_left = n;
        if (n == 0)
            end_item(r);
    }
    return 0;
}

/* The request at the head goes once more, in the other form. */
static void ask_twice(struct reread *r)
{
    struct request *q = STAILQ_FIRST(&r->queue);
    STAILQ_REMOVE_HEAD(&r->queue, link);
    q->away = true;
    STAILQ_INSERT_TAIL(&r->queue, q, link);
    r->sent--;
    clear_answer(r);
}

/* True: the reply is done with. */
static bool take_error(struct reread *r, const char *text)
{
    const struct request *q = STAILQ_FIRST(&r->queue);
    bool ask = strncmp(text, "ASK ", 4) == 0;
    if (ask && q->away && (r->step == RR_DUMP || r->step == RR_QUEUED_DUMP)) {
        r->missing = true;
        return false;
    }
    if (r->step == RR_EXEC && r->away) {
        ask_twice(r);
        return true;
    }
    r->away |= ask && r->step == RR_QUEUED_DUMP;
    if (r->away)
        return false; /* EXEC says the rest */
    log_event(LOG_INFO, NO_FLOW, "event=reread_refused reply=%s", log_quote(text, strlen(text)));
    set_error(r, text);
    if (r->step != RR_EXEC)
        return false;
    r->step = RR_DONE;
    return true;
}

static const char *ok_word(const struct reread *r)
{
    return r->step >= RR_QUEUED_INFO && r->step <= RR_QUEUED_PTTL ? "QUEUED" : "OK";
}

/* One line of a reply is whole. Returns 0, or -1 when it is none that the step has. */
static int take_line(struct reread *r)
{
    const char *text = r->line + 1;
    if (r->line[0] == '-' && r->array_left == 0) {
        if (take_error(r, text))
            return 0;
    } else if (r->line[0] != expected(r)) {
        return -1;
    } else if (r->line[0] == '$' || r->line[0] == '*') {
        return take_length(r, text);
    } else if (r->line[0] == ':' ? take_integer(r, text) < 0 : strcmp(text, ok_word(r)) != 0) {
        return -1;
    }
    end_item(r);
    return 0;
}

/* Bytes of a bulk string and the line end behind it. Returns how many were taken. */
static size_t take_bulk(struct reread *r, const uint8_t *p, size_t n, bool *bad)
{
    if (n > r->bulk_left)
        n = (size_t)r->bulk_left;
    size_t value = r->bulk_left > 2 ? (size_t)(r->bulk_left - 2) : 0;
    if (value > n)
        value = n;
    if (r->step == RR_INFO)
        (void)buf_add(&r->info, p, value); /* its end may be missing: then the offset is, too */
    else if (value > 0 && r->error[0] == '\0' && spool_put(&r->value, p, value, false) != 0)
        set_error(r, errno == EFBIG ? "the value exceeds --spill-max" : strerror(errno));
    for (size_t i = value; i < n; i++)
        *bad = *bad || p[i] != (r->bulk_left - i == 2 ? '\r' : '\n');
    r->bulk_left -= n;
    if (r->bulk_left == 0) {
        r->in_bulk = false;
        if (r->step == RR_INFO)
            take_info(r);
        end_item(r);
    }
    return n;
}

static size_t take_text(struct reread *r, const uint8_t *p, size_t n, bool *bad)
{
    const uint8_t *nl = memchr(p, '\n', n);
    size_t used = nl != NULL ? (size_t)(nl - p) + 1 : n;
    size_t keep = nl != NULL ? used - 1 : used;
    size_t room = sizeof r->line - 1 - r->line_len;
    if (keep > room) /* a long error: its beginning will do */
        keep = room;
    memcpy(r->line + r->line_len, p, keep);
    r->line_len += (unsigned)keep;
    if (nl == NULL)
        return used;
    if (r->line_len > 0 && r->line[r->line_len - 1] == '\r')
        r->line_len--;
    r->line[r->line_len] = '\0';
    r->line_len = 0;
    *bad = take_line(r) < 0;
    return used;
}

/* ---- records ---- */

static void add_head(const struct reread *r, struct buf *b)
{
    const struct request *q = STAILQ_FIRST(&r->queue);
    meta_add(b, "key", q->key, q->len, '\n');
    meta_addu(b, "db", q->db);
    meta_adds(b, "state", r->error[0] != '\0' ? "error" : r->missing ? "missing" : "value");
    if (r->error[0] != '\0') {
        meta_adds(b, "error", r->error);
    } else {
        if (!r->missing)
            (void)buf_addf(b, "ttl=%lld\n", (long long)r->ttl);
        meta_addu(b, "from", r->from);
        meta_addu(b, "to", r->to);
    }
    (void)buf_addstr(b, "\n");
}

/* The next record of the answer at the head; the last one takes the request off the queue. Returns false when
 * the output failed. */
static bool write_record(struct reread *r, struct output *out)
{
    const struct request *q = STAILQ_FIRST(&r->queue);
    struct buf head = {.max = 3 * CTL_LINE_MAX + 1024};
    bool bare = r->error[0] != '\0' || r->missing;
    size_t n = 0;
    if (!r->head_out) {
        if (q->away && !r->missing)
            set_error(r, "it has come back while its slot left");
        if (r->error[0] == '\0' && (r->from == 0 || r->to == 0))
            set_error(r, "the master gave no offset for the flow");
        bare = bare || r->error[0] != '\0';
        add_head(r, &head);
        n = head.len;
        memcpy(output_room(out), head.p, n);
        buf_free(&head);
        r->head_out = true;
    }
    uint64_t left = bare ? 0 : spool_len(&r->value);
    while (left > 0 && n < DATA_MAX) {
        size_t have;
        const uint8_t *p = spool_peek(&r->value, 1, &have);
        if (p == NULL) {
            out->spill_error = errno;
            return false;
        }
        if (have > DATA_MAX - n)
            have = DATA_MAX - n;
        memcpy(output_room(out) + n, p, have);
        spool_drop(&r->value, have);
        n += have;
        left -= have;
    }
    int rc = output_put(out, (struct rec){.len = (uint32_t)n,
                                          .type = REC_KEY,
                                          .flags = left > 0 ? RF_MORE : 0,
                                          .flow = (uint16_t)q->flow,
                                          .epoch = r->epoch,
                                          .db = q->db,
                                          .time = r->ttl_at}); /* when the TTL was true */
    if (left == 0) {
        log_event(LOG_DEBUG, (int)q->flow, "event=reread state=%s from=%llu to=%llu",
                  r->error[0] != '\0' ? "error"
                  : r->missing        ? "missing"
                                      : "value",
                  (unsigned long long)r->from, (unsigned long long)r->to);
        pop(r);
    }
    return rc == 0;
}

/* Take what has come in, up to the end of one answer. Returns 0, or -1 when the connection broke. */
static int take_replies(struct reread *r)
{
    bool bad = false;
    while (r->in_at < r->in.len && r->step != RR_DONE && !bad) {
        const uint8_t *p = r->in.p + r->in_at;
        size_t n = r->in.len - r->in_at;
        if (r->sent == 0 && r->step != RR_AUTH)
            bad = true; /* a reply to nothing */
        else if (r->in_bulk)
            r->in_at += take_bulk(r, p, n, &bad);
        else
            r->in_at += take_text(r, p, n, &bad);
    }
    if (bad)
        lose(r, "the master answered something that is no reply to its request");
    return bad ? -1 : 0;
}

/* Returns 1 got bytes, 0 none now, -1 the connection broke. */
static int read_replies(struct reread *r)
{
    r->in.len = r->in_at = 0;
    uint8_t *to = buf_room(&r->in, READ_STEP);
    if (to == NULL || !r->conn.readable)
        return 0;
    long n = conn_read(&r->conn, to, READ_STEP);
    if (n < 0) {
        lose(r, errno != 0 ? strerror(errno) : "the master closed the connection");
        return -1;
    }
    r->in.len = (size_t)n;
    if (n > 0)
        r->moved_at = mono_us();
    return n > 0 ? 1 : 0;
}

/* One step: an answer that is whole is written before more is read. Returns false when there is nothing to do
 * now. */
static bool step(struct reread *r, const struct conn *like, struct output *out)
{
    if (r->step == RR_DONE)
        return !output_full(out) && write_record(r, out);
    if (!connected(r, like))
        return r->step == RR_DONE;
    send_requests(r);
    if (!r->conn.open)
        return true;
    if (r->in_at == r->in.len && read_replies(r) <= 0)
        return !r->conn.open;
    (void)take_replies(r);
    return true;
}

bool reread_pump(struct reread *r, const struct conn *like, struct output *out)
{
    bool more = true;
    if (r->queued == 0 && (!r->conn.open || !r->conn.readable))
        return false;
    if (r->queued == 0) { /* the master may close an idle connection */
        (void)read_replies(r);
        return false;
    }
    for (int turn = 0; turn < TURN && more && r->queued > 0; turn++)
        more = step(r, like, out);
    if (r->step == RR_DONE)
        r->moved_at = mono_us(); /* it is the output that we wait for */
    else if (r->conn.open && mono_us() - r->moved_at >= ANSWER_MAX)
        lose(r, "the master does not answer");
    return more && r->queued > 0;
}
