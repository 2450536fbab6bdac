/* Large streams: entries, then groups with their consumers and pending entries, as the commands that make
 * them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "io.h"
#include "scan_part.h"

#define ENTRIES 100u

/* ---- commands to the output ---- */

static void put_head(struct scan_part *p, char type, uint64_t count)
{
    struct scan_node *n = p->node;
    uint8_t head[RESP_LEN_MAX];
    key_out_add(&n->out, head, (size_t)(resp_len(head, type, count) - head));
}

static void put_text(struct scan_part *p, const void *text, size_t len)
{
    struct scan_node *n = p->node;
    put_head(p, '$', len);
    key_out_add(&n->out, text, len);
    key_out_add(&n->out, "\r\n", 2);
}

static void put_words(struct scan_part *p, unsigned count, const char *const *word)
{
    for (unsigned i = 0; i < count; i++)
        put_text(p, word[i], strlen(word[i]));
}

static void put_key(struct scan_part *p)
{
    struct scan_node *n = p->node;
    struct slice name = scan_name(n);
    put_text(p, name.p, name.n);
}

/* The group that is at hand: its name as a bulk string. */
static const uint8_t *group_name(const struct scan_part *p, size_t *len)
{
    const uint8_t *at = p->names.p + p->group_at;
    size_t head = (size_t)((const uint8_t *)memchr(at, '\n', p->names.len - p->group_at) - at) + 1;
    *len = head + (size_t)strtoull((const char *)at + 1, NULL, 10) + 2;
    return at;
}

static void put_group(struct scan_part *p)
{
    struct scan_node *n = p->node;
    size_t len;
    const uint8_t *at = group_name(p, &len);
    key_out_add(&n->out, at, len);
}

/* ---- ids ---- */

/* The id behind this one. */
static void next_id(const char *id, char out[64])
{
    char *end;
    unsigned long long ms = strtoull(id, &end, 10), seq = *end == '-' ? strtoull(end + 1, NULL, 10) : 0;
    if (seq == UINT64_MAX)
        snprintf(out, 64, "%llu-0", ms + 1);
    else
        snprintf(out, 64, "%llu-%llu", ms, seq + 1);
}

static void add_text(char *to, size_t cap, const struct resp_token *t)
{
    size_t have = strlen(to), room = cap - 1 - have, len = t->len < room ? t->len : room;
    memcpy(to + have, t->text, len);
    to[have + len] = '\0';
}

static void set_number(char *to, size_t cap, const struct resp_token *t)
{
    snprintf(to, cap, "%lld", (long long)t->n);
}

/* ---- XINFO STREAM ---- */

void stream_begin(struct scan_part *p)
{
    struct scan_node *n = p->node;
    static const char *const info[] = {"XINFO", "STREAM"};
    struct slice name = scan_name(n);
    const char *const argv[] = {info[0], info[1], NULL};
    p->last_id[0] = p->first_deleted[0] = p->entries_added[0] = p->field[0] = '\0';
    p->names.len = p->group_at = 0;
    p->written = false;
    p->step = STREAM_INFO;
    scan_request(n, ASK_PART, 3, argv, 2, &name);
}

static void ask_entries(struct scan_part *p, const char *from)
{
    char count[16];
    snprintf(count, sizeof count, "%u", ENTRIES);
    const char *const argv[] = {"XRANGE", NULL, from, "+", "COUNT", count};
    p->got = 0;
    part_ask(p, STREAM_ENTRIES, 6, argv);
}

static void take_info(struct scan_part *p, const struct resp_token *t)
{
    if (t->depth == 1 && t->index % 2 == 0 && t->type == '$')
        p->field[0] = '\0';
    else if (t->depth == 1 && t->index % 2 == 0 && t->type == 'b')
        add_text(p->field, sizeof p->field, t);
    else if (t->depth == 1 && t->type == 'b' && strcmp(p->field, "last-generated-id") == 0)
        add_text(p->last_id, sizeof p->last_id, t);
    else if (t->depth == 1 && t->type == 'b' && strcmp(p->field, "max-deleted-entry-id") == 0)
        add_text(p->first_deleted, sizeof p->first_deleted, t);
    else if (t->depth == 1 && t->type == ':' && strcmp(p->field, "entries-added") == 0)
        set_number(p->entries_added, sizeof p->entries_added, t);
    if (t->end)
        ask_entries(p, "-");
}

/* ---- XRANGE ---- */

/* [[id, [field, value …]] …] */
static void take_entries(struct scan_part *p, const struct resp_token *t)
{
    struct scan_node *n = p->node;
    static const char *const none[] = {"MAXLEN", "0", "0-1", "x", "y"};
    char from[64];
    if (t->depth == 2 && t->index == 0 && t->type == '$') {
        p->entry_id[0] = '\0';
    } else if (t->depth == 2 && t->index == 0 && t->type == 'b') {
        add_text(p->entry_id, sizeof p->entry_id, t);
    } else if (t->depth == 2 && t->type == '*') {
        p->got++;
        if (t->n > 0) {
            put_head(p, '*', (uint64_t)t->n + 3);
            put_words(p, 1, (const char *const[]){"XADD"});
            put_key(p);
            put_text(p, p->entry_id, strlen(p->entry_id));
        }
    } else if (t->depth == 3 && t->type == '$') {
        put_head(p, '$', (uint64_t)t->n);
    } else if (t->depth == 3 && t->type == 'b') {
        key_out_add(&n->out, t->text, t->len);
        if (t->whole)
            key_out_add(&n->out, "\r\n", 2);
    }
    if (!t->end)
        return;
    p->at += p->got;
    n->flow->moved_at = mono_us();
    if (p->got == ENTRIES) {
        next_id(p->entry_id, from);
        ask_entries(p, from);
        return;
    }
    if (p->at == 0) {
        put_head(p, '*', 7);
        put_words(p, 1, (const char *const[]){"XADD"});
        put_key(p);
        put_words(p, 5, none);
    }
    bool counts = p->entries_added[0] != '\0' && p->first_deleted[0] != '\0';
    put_head(p, '*', counts ? 7 : 3);
    put_words(p, 1, (const char *const[]){"XSETID"});
    put_key(p);
    put_words(p, counts ? 5 : 1,
              (const char *const[]){p->last_id[0] != '\0' ? p->last_id : p->entry_id, "ENTRIESADDED",
                                    p->entries_added, "MAXDELETEDID", p->first_deleted});
    struct slice name = scan_name(n);
    const char *const groups[] = {"XINFO", "GROUPS", NULL};
    p->step = STREAM_GROUPS;
    p->field[0] = p->group_last[0] = p->group_read[0] = '\0';
    p->group_len = 0;
    scan_request(n, ASK_PART, 3, groups, 2, &name);
}

/* ---- XINFO GROUPS ---- */

/* All of a group is known: its name is the last one in names. */
static void end_group(struct scan_part *p)
{
    if (p->group_last[0] == '\0')
        return;
    bool read = p->group_read[0] != '\0';
    p->group_at = p->names.len - p->group_len;
    put_head(p, '*', read ? 8 : 6);
    put_words(p, 2, (const char *const[]){"XGROUP", "CREATE"});
    put_key(p);
    put_group(p);
    put_words(p, read ? 4 : 2,
              (const char *const[]){p->group_last, "MKSTREAM", "ENTRIESREAD", p->group_read});
    p->group_last[0] = p->group_read[0] = '\0';
}

static void ask_consumers(struct scan_part *p);

static void keep_name(struct scan_part *p, const struct resp_token *t)
{
    size_t before = p->names.len;
    int rc = 0;
    p->names.max = (size_t)64 << 20;
    if (t->type == '$') {
        uint8_t head[RESP_LEN_MAX];
        p->group_len = 0;
        rc = t->n < 0 ? -1 : buf_add(&p->names, head, (size_t)(resp_len(head, '$', (uint64_t)t->n) - head));
    } else if (t->type == 'b') {
        rc = buf_add(&p->names, t->text, t->len);
        if (rc == 0 && t->whole)
            rc = buf_add(&p->names, "\r\n", 2);
    }
    p->group_len += p->names.len - before;
    if (rc < 0) /* group_name counts on names that are whole */
        scan_node_lost(p->node, "names of a stream's groups come to more than 64 MiB, or one is missing");
}

static void take_groups(struct scan_part *p, const struct resp_token *t)
{
    if (t->depth == 1 && t->type == '*')
        end_group(p);
    else if (t->depth == 2 && t->index % 2 == 0 && t->type == '$')
        p->field[0] = '\0';
    else if (t->depth == 2 && t->index % 2 == 0 && t->type == 'b')
        add_text(p->field, sizeof p->field, t);
    else if (t->depth == 2 && strcmp(p->field, "name") == 0)
        keep_name(p, t);
    else if (t->depth == 2 && t->type == 'b' && strcmp(p->field, "last-delivered-id") == 0)
        add_text(p->group_last, sizeof p->group_last, t);
    else if (t->depth == 2 && t->type == ':' && strcmp(p->field, "entries-read") == 0)
        set_number(p->group_read, sizeof p->group_read, t);
    if (!t->end || !p->node->conn.open)
        return;
    end_group(p);
    p->group_at = 0;
    ask_consumers(p);
}

/* ---- XINFO CONSUMERS, XPENDING ---- */

static void ask_group(struct scan_part *p, enum part_step step, const char *a, const char *b,
                      const char *from)
{
    struct scan_node *n = p->node;
    struct buf *out = &n->conn.out;
    struct slice name = scan_name(n);
    size_t len;
    const uint8_t *group = group_name(p, &len);
    (void)resp_add_array(out, b != NULL ? 4 : 6);
    (void)resp_add_str(out, a);
    if (b != NULL)
        (void)resp_add_str(out, b);
    (void)resp_add_bulk(out, name.p, name.n);
    (void)buf_add(out, group, len);
    if (b == NULL) {
        (void)resp_add_str(out, from);
        (void)resp_add_str(out, "+");
        (void)resp_add_num(out, ENTRIES);
    }
    n->ask[n->asked++ & (ASKS - 1)] = ASK_PART;
    p->step = step;
    p->got = 0;
}

static void ask_consumers(struct scan_part *p)
{
    if (p->group_at >= p->names.len)
        p->written = true;
    else
        ask_group(p, STREAM_CONSUMERS, "XINFO", "CONSUMERS", NULL);
}

static void take_consumers(struct scan_part *p, const struct resp_token *t)
{
    struct scan_node *n = p->node;
    if (t->depth == 2 && t->index % 2 == 0 && t->type == '$') {
        p->field[0] = '\0';
    } else if (t->depth == 2 && t->index % 2 == 0 && t->type == 'b') {
        add_text(p->field, sizeof p->field, t);
    } else if (t->depth == 2 && strcmp(p->field, "name") == 0 && t->type == '$') {
        put_head(p, '*', 5);
        put_words(p, 2, (const char *const[]){"XGROUP", "CREATECONSUMER"});
        put_key(p);
        put_group(p);
        put_head(p, '$', (uint64_t)t->n);
    } else if (t->depth == 2 && strcmp(p->field, "name") == 0 && t->type == 'b') {
        key_out_add(&n->out, t->text, t->len);
        if (t->whole)
            key_out_add(&n->out, "\r\n", 2);
    }
    if (t->end)
        ask_group(p, STREAM_PENDING, "XPENDING", NULL, "-");
}

/* [[id, consumer, idle ms, deliveries] …] */
static void take_pending(struct scan_part *p, const struct resp_token *t)
{
    struct scan_node *n = p->node;
    char when[24], count[24], from[64];
    size_t len;
    if (t->depth == 2 && t->index == 0 && t->type == '$') {
        p->entry_id[0] = '\0';
        p->got++;
    } else if (t->depth == 2 && t->index == 0 && t->type == 'b') {
        add_text(p->entry_id, sizeof p->entry_id, t);
    } else if (t->depth == 2 && t->index == 1) {
        if (t->type == '$')
            p->fields.len = 0;
        part_keep(p, t);
    } else if (t->depth == 2 && t->index == 2 && t->type == ':') {
        p->idle = t->n > 0 ? (uint64_t)t->n : 0;
    } else if (t->depth == 2 && t->index == 3 && t->type == ':') {
        snprintf(when, sizeof when, "%llu", (unsigned long long)(now_us() / 1000 - p->idle));
        set_number(count, sizeof count, t);
        put_head(p, '*', 12);
        put_words(p, 1, (const char *const[]){"XCLAIM"});
        put_key(p);
        put_group(p);
        key_out_add(&n->out, p->fields.p, p->fields.len);
        put_words(
            p, 8,
            (const char *const[]){"0", p->entry_id, "TIME", when, "RETRYCOUNT", count, "FORCE", "JUSTID"});
    }
    if (!t->end)
        return;
    if (p->got == ENTRIES) {
        next_id(p->entry_id, from);
        ask_group(p, STREAM_PENDING, "XPENDING", NULL, from);
        return;
    }
    (void)group_name(p, &len);
    p->group_at += len;
    ask_consumers(p);
}

bool stream_token(struct scan_part *p, const struct resp_token *t)
{
    switch (p->step) {
    case STREAM_INFO: take_info(p, t); break;
    case STREAM_ENTRIES: take_entries(p, t); break;
    case STREAM_GROUPS: take_groups(p, t); break;
    case STREAM_CONSUMERS: take_consumers(p, t); break;
    default: take_pending(p, t);
    }
    return p->written;
}
