/* What rediswriter finds of earlier sessions: the position key of a server, the keys of slots, position
 * files; and the lines by which it tells dfreader. Whatever it is, what is made of it is in order,
 * and what is printed is read again as it was. First byte: what the rest is. */
#include "fuzz.h"

#include <hiredis/hiredis.h>

#include "../../common/ctl.h"
#include "../../common/meta.h"
#include "../../common/resp.h"
#include "../../common/slot.h"
#include "../../reader/resume.h"
#include "../../writer/target/identity.c"
#include "../../writer/target/info.c"
#include "../../writer/position/position_file.c"
#include "../../writer/position/position_text.c"
#include "../../writer/conn/reply.h"

/* NULL: it is none, or not a whole one. */
static redisReply *reply_of(const uint8_t *p, size_t n)
{
    struct replies in;
    void *reply = NULL;
    HOLDS(replies_open(&in, NULL, NULL));
    replies_feed(&in, (const char *)p, n);
    if (replies_next(&in, true, (size_t)1 << 20, &reply) <= 0)
        reply = NULL;
    replies_close(&in);
    return reply;
}

static void add_field(struct buf *b, const char *name, const char *value)
{
    (void)resp_add_str(b, name);
    (void)resp_add_str(b, value);
}

/* ---- the key of a server ---- */

static const struct lineage *of_flow(const struct saved_vector *v, unsigned i)
{
    return v->own[i].replid[0] != '\0' ? &v->own[i] : &v->lineage;
}

static bool usable(const struct lineage *l)
{
    return strlen(l->replid) == REPLID_LEN && meta_is_word(l->replid);
}

/* Told to dfreader, and understood there. */
static void told(const struct saved_vector *v)
{
    static const enum resume_state same[] = {RESUME_NONE, RESUME_LOST, RESUME_INCOMPLETE, RESUME_SAVED};
    struct resume r = {.state = RESUME_UNKNOWN};
    struct buf b = {.max = CTL_LINE_MAX};
    position_say(v, 1, &b);
    HOLDS(b.len < CTL_LINE_MAX - 2 && memchr(b.p, '\n', b.len) == NULL);
    HOLDS(buf_add(&b, "", 1) == 0);
    bool known = resume_line(&r, (const char *)b.p);
    if (v->state != SAVED_WHOLE)
        HOLDS(known && r.state == same[v->state]);
    for (unsigned i = 0; i < v->flows && v->state == SAVED_WHOLE && !known; i++) {
        const struct lineage *l = of_flow(v, i);
        b.len = 0;
        position_say_flow(v, i, &b);
        HOLDS(buf_add(&b, "", 1) == 0 && b.len < CTL_LINE_MAX);
        known = resume_line(&r, (const char *)b.p);
        HOLDS(known == (!usable(l) || i + 1 == v->flows));
        HOLDS(r.state == (!usable(l) ? RESUME_INCOMPLETE : known ? RESUME_SAVED : RESUME_UNKNOWN));
    }
    for (unsigned i = 0; i < v->flows && r.state == RESUME_SAVED; i++) {
        const struct lineage *l = of_flow(v, i), *got = &r.flow[i].lineage;
        HOLDS(r.flow[i].quiet == v->quiet[i]);
        HOLDS(r.flow[i].pos == v->pos[i] && strcmp(got->replid, l->replid) == 0);
        HOLDS(strcmp(got->top, meta_is_word(l->top) ? l->top : "") == 0);
    }
    HOLDS(r.verify == v->verify);
    resume_free(&r);
    buf_free(&b);
}

/* As a writer would have written it. */
static redisReply *key_of(const struct saved_vector *v)
{
    struct buf b = {.max = (size_t)1 << 20};
    struct position_id id = {.nonce = "0123456789abcdef0123456789abcdef", .epoch = 7, .flows = v->flows};
    char name[FLOW_NAME], text[POSITION_TEXT];
    unsigned fields = 1 + v->began_empty + v->verify;
    for (unsigned i = 0; i < v->flows; i++)
        fields += (v->pos[i] > 0) + (v->place[i].pos > 0) + (v->own[i].replid[0] != '\0');
    id.lineage = v->lineage;
    position_id_print(&id, text);
    (void)resp_add_array(&b, 2 * fields);
    for (unsigned i = 0; i < v->flows; i++)
        if (v->own[i].replid[0] != '\0') {
            char value[POSITION_TEXT];
            (void)position_lineage_name(i, name);
            HOLDS(position_lineage_print(&v->own[i], value) < POSITION_TEXT);
            add_field(&b, name, value);
        }
    for (unsigned i = 0; i < v->flows; i++)
        if (v->place[i].pos > 0) {
            char value[POSITION_TEXT];
            (void)position_place_name(i, name);
            HOLDS(position_place_print("7", &v->place[i], value) < POSITION_TEXT);
            add_field(&b, name, value);
        }
    for (unsigned i = 0; i < v->flows; i++) { /* a hash has no order */
        struct position_flow f = {.flow = i, .epoch = 7, .seq = i, .pos = v->pos[i], .quiet = v->quiet[i]},
                             back;
        if (f.pos == 0)
            continue;
        if (i == v->flows / 2)
            add_field(&b, "session", text);
        char value[POSITION_TEXT];
        (void)position_flow_name(i, name);
        HOLDS(position_flow_print(&f, value) < POSITION_TEXT);
        HOLDS(position_flow_parse(&back, v->flows, name, value) && memcmp(&f, &back, sizeof f) == 0);
        HOLDS(!position_flow_parse(&back, i, name, value));
        add_field(&b, name, value);
    }
    if (v->pos[v->flows / 2] == 0)
        add_field(&b, "session", text);
    if (v->began_empty)
        add_field(&b, "empty", "1");
    if (v->verify)
        add_field(&b, "verify", "1");
    redisReply *r = reply_of(b.p, b.len);
    HOLDS(reply_is_hash(r));
    buf_free(&b);
    return r;
}

static void key(const uint8_t *p, size_t n)
{
    struct saved_vector v, back;
    redisReply *r = reply_of(p, n);
    if (!reply_is_hash(r)) {
        freeReplyObject(r);
        return;
    }
    position_key_read(&v, r);
    freeReplyObject(r);
    bool positions = false, all = true;
    for (unsigned i = 0; i < v.flows; i++)
        all &= v.pos[i] > 0;
    for (unsigned i = v.flows; i < REC_FLOWS_MAX; i++)
        positions |= v.pos[i] > 0;
    HOLDS(!positions && v.flows <= REC_FLOWS_MAX);
    HOLDS((v.flows > 0) == (v.state >= SAVED_INCOMPLETE) && (v.state != SAVED_WHOLE || all));
    told(&v);
    if (v.state < SAVED_INCOMPLETE)
        return;
    HOLDS(v.lineage.replid[0] != '\0');
    saved_vector_free(&v); /* slots are not written here */
    r = key_of(&v);
    position_key_read(&back, r);
    freeReplyObject(r);
    if (v.state == SAVED_INCOMPLETE && all)
        back.state = v.state; /* because of a sweep, which is not written here */
    HOLDS(memcmp(&v, &back, sizeof v) == 0);
}

/* ---- the hash of a slot, and marks ---- */

static void place(const char *name, const char *value)
{
    struct exact_past p, back;
    char history[HISTORY_MAX], again[HISTORY_MAX], text[POSITION_TEXT], field[FLOW_NAME];
    memset(&p, 0, sizeof p);
    memset(&back, 0, sizeof back);
    if (!position_place_parse(&p, history, 'f', 16, name, value))
        return;
    HOLDS(p.flow < 16 && history[0] != '\0');
    HOLDS(position_flow_name(p.flow, field) < FLOW_NAME && strcmp(field, name) == 0);
    HOLDS(position_place_print(history, &p.id, text) <= strlen(value));
    HOLDS(strncmp(text, value, strlen(text)) == 0); /* there is one way to say it */
    HOLDS(position_place_parse(&back, again, 'f', 16, field, text) && strcmp(history, again) == 0);
    HOLDS(memcmp(&p, &back, sizeof p) == 0);
}

static void mark(const char *value, size_t n)
{
    char history[HISTORY_MAX], again[HISTORY_MAX], text[POSITION_TEXT];
    uint64_t number, back;
    if (!position_mark_parse(value, n, history, &number))
        return;
    size_t k = position_pair_print(history, number, text);
    HOLDS(k <= n && memcmp(text, value, k) == 0);
    HOLDS(position_mark_parse(text, k, again, &back) && back == number && strcmp(again, history) == 0);
}

static void slot(const uint8_t *p, size_t n)
{
    redisReply *r = reply_of(p, n);
    for (size_t i = 0; reply_is_hash(r) && i < r->elements; i += 2) {
        place(r->element[i]->str, r->element[i + 1]->str);
        mark(r->element[i + 1]->str, r->element[i + 1]->len);
    }
    freeReplyObject(r);
}

/* ---- the file ---- */

static void marks(const uint8_t *p, size_t n)
{
    static struct position_marks m, back;
    struct buf b = {.max = POSITION_FILE_MAX};
    if (!position_marks_parse(&m, (const char *)p, n)) {
        HOLDS(m.master == NULL);
        return;
    }
    for (unsigned i = 0; i < m.slots; i++)
        HOLDS(m.slot[i] < SLOTS);
    position_marks_print(&m, &b);
    for (unsigned i = 0; i < m.masters; i++)
        position_master_print(i, m.master[i].name, &m.master[i].who, &b);
    HOLDS(position_marks_parse(&back, (const char *)b.p, b.len));
    HOLDS(strcmp(m.history, back.history) == 0 && m.number == back.number && m.covered == back.covered);
    HOLDS(m.slots == back.slots && memcmp(m.slot, back.slot, sizeof m.slot) == 0);
    HOLDS(m.masters == back.masters);
    for (unsigned i = 0; i < m.masters; i++) {
        HOLDS(strcmp(m.master[i].name, back.master[i].name) == 0);
        HOLDS(memcmp(&m.master[i].who, &back.master[i].who, sizeof m.master[i].who) == 0);
    }
    free(m.master);
    free(back.master);
    buf_free(&b);
}

/* Same words, but nothing behind their ends. */
static void same_file(const struct position_file *a, const struct position_file *b)
{
    HOLDS(strcmp(a->nonce, b->nonce) == 0 && a->epoch == b->epoch && a->over == b->over);
    HOLDS(a->v.state == b->v.state && a->v.flows == b->v.flows && a->v.verify == b->v.verify);
    HOLDS(a->v.began_empty == b->v.began_empty && strcmp(a->v.history, b->v.history) == 0);
    HOLDS(lineage_same(&a->v.lineage, &b->v.lineage));
    for (unsigned i = 0; i < a->v.flows; i++) {
        const char *held = a->v.slots[i], *again = b->v.slots[i];
        HOLDS(lineage_same(&a->v.own[i], &b->v.own[i]));
        HOLDS(held == NULL ? again == NULL : again != NULL && strcmp(held, again) == 0);
    }
    HOLDS(memcmp(a->v.pos, b->v.pos, sizeof a->v.pos) == 0);
}

/* A body, and the marks in it: here without a checksum, which no fuzzer finds. */
static void body(const uint8_t *p, size_t n)
{
    struct position_file f, back;
    struct buf b = {.max = POSITION_FILE_MAX};
    size_t len;
    marks(p, n);
    if (position_file_parse(&f, "t", (const char *)p, n) != NULL) {
        saved_vector_free(&f.v);
        return;
    }
    HOLDS(f.v.state != SAVED_NONE && f.v.flows >= 1 && f.v.flows <= REC_FLOWS_MAX);
    for (unsigned i = 0; i < f.v.flows; i++)
        HOLDS(f.v.state != SAVED_WHOLE || f.v.pos[i] > 0);
    told(&f.v);
    position_file_print(&f, &b);
    size_t before = b.len;
    position_file_seal(&b);
    HOLDS(position_file_check((const char *)b.p, b.len, &len) == NULL && len == before);
    HOLDS(position_file_parse(&back, "t", (const char *)b.p, len) == NULL);
    same_file(&f, &back);
    saved_vector_free(&f.v);
    saved_vector_free(&back.v);
    HOLDS(position_file_parse(&back, "u", (const char *)b.p, len) != NULL);
    saved_vector_free(&back.v);
    b.p[n % b.len] ^= 1; /* any change is noticed */
    HOLDS(position_file_check((const char *)b.p, b.len, &len) != NULL);
    buf_free(&b);
}

static void file(const uint8_t *p, size_t n)
{
    size_t len = 0;
    if (position_file_check((const char *)p, n, &len) == NULL) {
        HOLDS(len < n);
        body(p, len);
    }
}

/* ---- any numbers ---- */

static uint64_t number(const uint8_t **p, size_t *n)
{
    uint64_t v = 0;
    size_t take = *n < 8 ? *n : 8;
    memcpy(&v, *p, take);
    *p += take;
    *n -= take;
    return v;
}

static void numbers(const uint8_t *p, size_t n)
{
    struct exact_id id = {.pos = number(&p, &n), .sub = (uint32_t)number(&p, &n)};
    char text[POSITION_TEXT];
    id.step = (uint32_t)number(&p, &n);
    id.held = (uint32_t)number(&p, &n);
    HOLDS(position_place_print("0123456789abcdef.65535", &id, text) < POSITION_TEXT);
    place("f15", text);
    struct exact_past past;
    char history[HISTORY_MAX];
    HOLDS(position_place_parse(&past, history, 'f', 16, "f15", text) && past.id.pos == id.pos);
    HOLDS(past.id.sub == id.sub && past.id.step == id.step && past.id.held == id.held);
    uint64_t u = number(&p, &n), back;
    size_t k = position_pair_print("h.1", u, text);
    HOLDS(position_mark_parse(text, k, history, &back) && back == u);
    struct position_file f = {.task = "t", .nonce = "00", .epoch = (unsigned)number(&p, &n)};
    f.v.flows = 1 + (unsigned)(number(&p, &n) % 40);
    f.v.state = SAVED_WHOLE;
    f.v.lineage = (struct lineage){"r", "-"};
    for (unsigned i = 0; i < f.v.flows; i++) {
        uint64_t pos = n > 0 ? number(&p, &n) : i;
        f.v.pos[i] = pos > 0 ? pos : 1;
        f.v.quiet[i] = pos % 2 == 1 ? pos / 2 : 0;
    }
    struct buf b = {.max = POSITION_FILE_MAX};
    position_file_print(&f, &b);
    body(b.p, b.len);
    struct saved_vector v;
    redisReply *r = key_of(&f.v);
    position_key_read(&v, r);
    HOLDS(v.state == SAVED_WHOLE && memcmp(v.pos, f.v.pos, sizeof v.pos) == 0 &&
          memcmp(v.quiet, f.v.quiet, sizeof v.quiet) == 0);
    freeReplyObject(r);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[8])(const uint8_t *, size_t) = {key,     slot,    file, body,
                                                              numbers, numbers, key,  body};
    if (size == 0)
        return 0;
    uint8_t *p = fuzz_exact(data + 1, size - 1);
    kinds[data[0] >> 5](p, size - 1);
    free(p);
    return 0;
}
