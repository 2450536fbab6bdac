#include "position_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "crc64.h"
#include "meta.h"
#include "slotset.h"
#include "../words.h"

#define LIST_MAX    (POSITION_MASTERS * 6 + 1)
#define MASTER_TEXT (IDENTITY_TEXT + sizeof(((struct mark_master *)0)->name))

static const char head[] = "df2redis positions 1\n";

/* ---- the checksum ---- */

static size_t crc_line(const void *body, size_t n, char out[32])
{
    return (size_t)snprintf(out, 32, "crc=%016llx\n", (unsigned long long)crc64(0, body, n));
}

void position_file_seal(struct buf *b)
{
    char line[32];
    size_t n = crc_line(b->p, b->len, line);
    (void)buf_add(b, line, n);
}

const char *position_file_check(const char *text, size_t n, size_t *body)
{
    static const char fault[] = "its checksum does not fit";
    char want[32];
    if (n < sizeof head || memcmp(text, head, sizeof head - 1) != 0 || text[n - 1] != '\n')
        return fault;
    for (*body = n - 1; *body > 0 && text[*body - 1] != '\n'; --*body)
        ;
    size_t k = crc_line(text, *body, want);
    return k == n - *body && memcmp(text + *body, want, k) == 0 ? NULL : fault;
}

/* ---- positions ---- */

void position_file_print(const struct position_file *f, struct buf *b)
{
    const struct saved_vector *v = &f->v;
    char name[FLOW_NAME], text[POSITION_TEXT];
    (void)buf_addstr(b, head);
    meta_adds(b, "task", f->task);
    meta_adds(b, "nonce", f->nonce);
    meta_addu(b, "epoch", f->epoch);
    meta_addu(b, "flows", v->flows);
    meta_adds(b, "replid", v->lineage.replid);
    meta_adds(b, "lineage", v->lineage.top);
    if (v->history[0] != '\0')
        meta_adds(b, "history", v->history);
    meta_addu(b, "whole", v->state == SAVED_WHOLE);
    meta_addu(b, "lost", v->state == SAVED_LOST);
    if (v->began_empty)
        meta_addu(b, "empty", 1);
    if (v->verify)
        meta_addu(b, "verify", 1);
    meta_addu(b, "over", f->over);
    for (unsigned i = 0; i < v->flows; i++) {
        (void)position_flow_name(i, name);
        meta_addu(b, name, v->pos[i]);
        if (f->over && v->quiet[i] > 0) {
            (void)position_quiet_name(i, name);
            meta_addu(b, name, v->quiet[i]);
        }
        if (v->slots[i] != NULL) {
            (void)position_slots_name(i, name);
            meta_adds(b, name, v->slots[i]);
        }
        if (v->own[i].replid[0] == '\0')
            continue;
        (void)position_lineage_name(i, name);
        (void)position_lineage_print(&v->own[i], text);
        meta_adds(b, name, text);
    }
}

/* A value without a NUL. Returns its length, or -1, and then *out is "". */
static long text_of(const char *text, size_t n, const char *name, char *out, size_t cap)
{
    long len = meta_get(text, n, name, out, cap);
    if (len >= 0 && strlen(out) == (size_t)len)
        return len;
    out[0] = '\0';
    return -1;
}

static bool flag(const char *text, size_t n, const char *name)
{
    uint64_t v;
    return meta_getu(text, n, name, &v) && v == 1;
}

/* Whose positions they are; earlier versions did not say so. */
static void parse_session(struct position_file *f, const char *text, size_t n)
{
    uint64_t epoch;
    if (text_of(text, n, "nonce", f->nonce, sizeof f->nonce) > 0 && meta_getu(text, n, "epoch", &epoch) &&
        epoch <= UINT32_MAX)
        f->epoch = (unsigned)epoch;
    else
        f->nonce[0] = '\0';
    f->over = flag(text, n, "over");
}

/* Most flows have none. */
static bool parse_own(struct lineage *own, unsigned flow, const char *text, size_t n)
{
    char name[FLOW_NAME], line[FLOW_NAME + 2], value[POSITION_TEXT];
    (void)position_lineage_name(flow, name);
    size_t k = (size_t)snprintf(line, sizeof line, "\n%s=", name);
    if (memmem(text, n, line, k) == NULL)
        return true;
    return text_of(text, n, name, value, sizeof value) >= 0 && position_lineage_parse(own, value);
}

/* Only what ended in order says that nothing beyond the positions was carried out. */
static void parse_quiet(struct position_file *f, unsigned flow, const char *text, size_t n)
{
    struct saved_vector *v = &f->v;
    char name[FLOW_NAME];
    uint64_t quiet;
    (void)position_quiet_name(flow, name);
    if (f->over && meta_getu(text, n, name, &quiet) && quiet < v->pos[flow])
        v->quiet[flow] = quiet;
}

/* Only flows of a cluster have them, and those of a scan. */
static void parse_slots_held(struct saved_vector *v, unsigned flow, const char *text, size_t n)
{
    char name[FLOW_NAME], line[FLOW_NAME + 2], value[SLOTSET_TEXT];
    (void)position_slots_name(flow, name);
    size_t k = (size_t)snprintf(line, sizeof line, "\n%s=", name);
    if (memmem(text, n, line, k) != NULL && text_of(text, n, name, value, sizeof value) > 0 &&
        position_held_ok(value))
        v->slots[flow] = xstrdup(value);
}

const char *position_file_parse(struct position_file *f, const char *task, const char *text, size_t n)
{
    struct saved_vector *v = &f->v;
    char theirs[128], name[FLOW_NAME];
    uint64_t flows, whole;
    *f = (struct position_file){.task = task};
    if (text_of(text, n, "task", theirs, sizeof theirs) < 0 || strcmp(theirs, task) != 0)
        return "it belongs to another task";
    if (text_of(text, n, "replid", v->lineage.replid, sizeof v->lineage.replid) < 0 ||
        text_of(text, n, "lineage", v->lineage.top, sizeof v->lineage.top) < 0 ||
        !meta_getu(text, n, "flows", &flows) || flows < 1 || flows > REC_FLOWS_MAX ||
        !meta_getu(text, n, "whole", &whole))
        return "fields are missing";
    v->flows = (unsigned)flows;
    v->state = whole == 1 ? SAVED_WHOLE : flag(text, n, "lost") ? SAVED_LOST : SAVED_INCOMPLETE;
    (void)text_of(text, n, "history", v->history,
                  sizeof v->history); /* only those of --exactly-once have it */
    v->began_empty = flag(text, n, "empty");
    v->verify = flag(text, n, "verify");
    parse_session(f, text, n);
    for (unsigned i = 0; i < v->flows; i++) {
        (void)position_flow_name(i, name);
        if (!meta_getu(text, n, name, &v->pos[i]) || (whole == 1 && v->pos[i] == 0))
            return "positions are missing";
        if (!parse_own(&v->own[i], i, text, n))
            return "a lineage is malformed";
        if (whole == 1)
            parse_slots_held(v, i, text, n);
        parse_quiet(f, i, text, n);
    }
    return NULL;
}

/* ---- marks ---- */

void position_marks_print(const struct position_marks *m, struct buf *b)
{
    char text[POSITION_TEXT];
    size_t k = position_pair_print(m->history, m->number, text);
    snprintf(text + k, sizeof text - k, " %d", m->covered);
    meta_adds(b, "marks", text);
    (void)buf_addstr(b, "marked=");
    for (unsigned i = 0; i < m->slots; i++)
        (void)buf_addf(b, "%s%u", i > 0 ? "," : "", m->slot[i]);
    (void)buf_addstr(b, "\n");
}

void position_master_print(unsigned number, const char *name, const struct identity *who, struct buf *b)
{
    char field[16], words[IDENTITY_TEXT], text[MASTER_TEXT];
    identity_print(who, words);
    snprintf(field, sizeof field, "master%u", number);
    snprintf(text, sizeof text, "%s %s", name, words);
    meta_adds(b, field, text);
}

/* "HISTORY NUMBER COVERED" */
static bool parse_head(struct position_marks *m, const char *text)
{
    uint64_t covered;
    if (!words_text(&text, m->history, sizeof m->history) || !words_number(&text, UINT64_MAX, &m->number) ||
        !words_number(&text, UINT64_MAX, &covered))
        return false;
    m->covered = covered == 1;
    return true;
}

static bool add_slot(struct position_marks *m, uint64_t slot)
{
    for (unsigned i = 0; i < m->slots; i++)
        if (m->slot[i] == slot)
            return false;
    if (m->slots == POSITION_MASTERS)
        return false;
    m->slot[m->slots++] = (uint16_t)slot;
    return true;
}

/* Numbers with commas between them; is changed. */
static bool parse_slots(struct position_marks *m, char *list)
{
    uint64_t slot;
    if (*list == '\0' || strchr(list, ' ') != NULL)
        return *list == '\0';
    for (char *p = list; p != NULL;) {
        const char *one = strsep(&p, ",");
        if (!words_number(&one, SLOTS - 1, &slot) || !add_slot(m, slot))
            return false;
    }
    return true;
}

static bool parse_master(struct position_marks *m, const char *text)
{
    struct mark_master one;
    if (!words_text(&text, one.name, sizeof one.name) || !identity_parse(&one.who, text))
        return false;
    m->master = xrealloc(m->master, (m->masters + 1) * sizeof *m->master);
    m->master[m->masters++] = one;
    return true;
}

static bool parse_masters(struct position_marks *m, const char *text, size_t n)
{
    char name[16], line[MASTER_TEXT];
    for (unsigned i = 0; i < POSITION_MASTERS; i++) {
        snprintf(name, sizeof name, "master%u", i);
        if (text_of(text, n, name, line, sizeof line) < 0)
            break;
        if (!parse_master(m, line))
            return false;
    }
    return true;
}

bool position_marks_parse(struct position_marks *m, const char *text, size_t n)
{
    char line[MASTER_TEXT], list[LIST_MAX];
    *m = (struct position_marks){.slots = 0};
    if (text_of(text, n, "marks", line, sizeof line) < 0 || !parse_head(m, line) ||
        text_of(text, n, "marked", list, sizeof list) < 0 || !parse_slots(m, list))
        return false;
    if (parse_masters(m, text, n))
        return true;
    free(m->master);
    m->master = NULL;
    m->masters = 0;
    return false;
}
