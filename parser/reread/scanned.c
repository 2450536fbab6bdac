#include "scanned.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "../command/command.h"
#include "meta.h"

#define NAME_MAX_BYTES ((uint64_t)16 << 20)
#define STRING_TYPE    0u

void scanned_free(struct scanned *s)
{
    carry_free(&s->carry);
    requests_free(&s->requests);
    buf_free(&s->name);
    held_free(&s->held);
    repeats_free(&s->before);
}

/* "dragonfly:1.40.1" */
static struct dialect dialect_of(const char *version)
{
    unsigned a, b;
    if (strncmp(version, "dragonfly:", 10) != 0)
        return dialect_redis();
    return dialect_dragonfly(sscanf(version + 10, "%u.%u", &a, &b) == 2 ? VERSION(a, b) : VERSION(1, 40));
}

void scanned_begin(struct scanned *s, const char *version, uint64_t position)
{
    struct sink *to = s->to;
    scanned_free(s);
    *s = (struct scanned){.to = to};
    carry_init(&s->carry);
    s->held.to = to;
    held_init(&s->held);
    to->dialect = dialect_of(version);
    to->rereads = NULL;    /* dfreader reads what has changed again by itself */
    to->o.journal = false; /* an expiry is that of the key as it was read */
    to->cut = to->synced = to->goes_on = false;
    to->counting = true;
    to->next_lsn = to->before = position > 0 ? position : 1;
    to->o.pos = 0;
}

/* ---- what comes of a key ---- */

/* Behind the first pass, and of what has changed: by itself, whatever the policy about existing keys. */
static void go_live(const struct scanned *s)
{
    struct sink *to = s->to;
    to->o.live = s->live;
    to->o.fresh = s->live;
    to->o.pos = s->live ? sink_reached(to) : 0;
    to->o.time = s->time;
}

static void done(struct scanned *s)
{
    struct sink *to = s->to;
    to->o.live = to->o.fresh = false;
    to->o.pos = 0;
}

/* A command of the source, as it is to be written. */
static void apply(const struct scanned *s, const struct slice *argv, size_t argc)
{
    struct sink *to = s->to;
    struct change ch = {.db = s->db,
                        .argv = argv,
                        .argc = argc,
                        .lsn = to->before,
                        .after = sink_reached(to),
                        .time = s->time};
    go_live(s);
    to->o.db = sink_db(to, s->db);
    change_write(to, &ch);
}

static struct slice name_of(const struct scanned *s)
{
    return (struct slice){s->name.p, s->name.len};
}

static bool passes(const struct scanned *s)
{
    struct sink *to = s->to;
    return to->filter != NULL ? filter_passes(to->filter, s->name.p, s->name.len, 0, s->db)
                              : !key_is_ours(s->name.p, s->name.len);
}

/* It is not there any more: of a first pass nothing was written. */
static void take_missing(struct scanned *s)
{
    struct sink *to = s->to;
    struct slice del[2] = {SLICE("DEL"), name_of(s)};
    if (s->error[0] != '\0' && passes(s)) {
        emit_report(to->e, &to->o, true, "scan-key", s->name.p, s->name.len, s->error);
        return;
    }
    if (s->live)
        apply(s, del, 2);
}

static void open_change(struct scanned *s, unsigned type)
{
    struct sink *to = s->to;
    struct change *ch = &s->change;
    change_clear(ch);
    ch->db = s->db;
    ch->type = type;
    ch->prefixed = s->expire_ms != 0;
    ch->expire_ms = s->expire_ms;
    ch->templates = NULL;
    ch->at = AT_UNKNOWN;
    key_set(to->e, &ch->key, s->name.p, s->name.len);
    to->o.time = s->time;
    change_open(to, ch, value_class(type));
}

static void refuse(struct scanned *s, const char *why)
{
    struct sink *to = s->to;
    if (passes(s))
        emit_report(to->e, &to->o, true, "scan-key", s->name.p, s->name.len, why);
}

/* A value as DUMP gives it: type, value, RDB version, checksum. */
static void take_dump(struct scanned *s, const uint8_t *p, size_t n)
{
    struct sink *to = s->to;
    struct slice payload = {p, n};
    if (n < DUMP_FOOTER + 2 || !restore_footer_fits(to->e, &payload)) {
        refuse(s, "a DUMP with a wrong checksum");
        return;
    }
    if (s->live) {
        uint8_t ms[20];
        struct slice argv[6] = {SLICE("RESTORE"),       name_of(s),       {ms, dec_u64(ms, s->expire_ms)},
                                {payload.p, payload.n}, SLICE("REPLACE"), SLICE("ABSTTL")};
        apply(s, argv, s->expire_ms != 0 ? 6 : 5);
        return;
    }
    unsigned type = held_dump_type(&to->dialect, p, n);
    if (type != STRING_TYPE && value_class(type) == 0) {
        refuse(s, "a value of an unknown type");
        return;
    }
    struct cur value = {p + 1, p + n - DUMP_FOOTER, 0, NULL}, c = value;
    open_change(s, type);
    enum got g = change_key(to, &s->change, &c, &value);
    if (g == GOT && !to->in_value)
        return;
    if (to->in_value || g != GOT)
        refuse(s, "a DUMP that is no whole value");
    to->in_value = false;
}

/* ---- elements ---- */

static const struct {
    const char *name;
    unsigned type;
} elements[] = {{"string", STRING_TYPE}, {"list", 1}, {"set", 2}, {"zset", 3}, {"hash", T_VALKEY + 22}};

static void begin_elements(struct scanned *s)
{
    struct sink *to = s->to;
    open_change(s, s->type);
    go_live(s);
    value_begin(&to->value, to->e, &to->o, &to->s, s->type, &s->change.key, s->expire_ms);
    to->value.counted = true;
    to->value.left = s->type == STRING_TYPE ? s->length : UINT64_MAX;
    s->begun = true;
}

/* A string that is all there, as a snapshot's. */
static bool take_string(struct scanned *s, const uint8_t *p, size_t n)
{
    struct sink *to = s->to;
    if (s->type != STRING_TYPE || s->length != n || n + s->name.len >= REC_PAYLOAD_MAX - 512)
        return false;
    open_change(s, STRING_TYPE);
    go_live(s);
    uint64_t ms = s->expire_ms;
    if (s->change.key.excluded)
        to->e->stats.filtered++;
    else if (ms == 0 || (ms = emit_expiry(to->e, &to->o, ms)) != 0) {
        to->e->stats.keys[CLASS_STRING] += !s->live;
        emit_set(to->e, &to->o, &s->change.key, p, n, ms, 0);
    }
    s->begun = s->over = true;
    return true;
}

/* Returns how many bytes were used; *bad: they are none of such a value. */
static size_t feed_elements(struct scanned *s, const uint8_t *p, size_t n, uint64_t *need, bool *bad)
{
    struct sink *to = s->to;
    struct cur c = {p, p + n, 0, NULL};
    if (s->over)
        return n;
    go_live(s);
    enum got g = value_feed(&to->value, &c);
    *bad = g == BAD;
    s->over = g == GOT;
    *need = g == NEED ? c.want : 0;
    return (size_t)(c.p - p);
}

static bool end_elements(struct scanned *s)
{
    struct sink *to = s->to;
    struct cur c = {NULL, NULL, 0, NULL};
    if (s->over)
        return true;
    to->value.left = 0;
    go_live(s);
    return value_feed(&to->value, &c) == GOT;
}

/* ---- commands ---- */

static size_t feed_commands(struct scanned *s, const uint8_t *p, size_t n, uint64_t *need, bool *bad)
{
    struct cur c = {p, p + n, 0, NULL};
    const struct slice *argv;
    size_t argc;
    enum got g;
    while ((g = request_take(&s->requests, &c, &argv, &argc)) == GOT)
        if (!s->refused)
            apply(s, argv, argc);
    *bad = g == BAD;
    *need = c.want;
    return (size_t)(c.p - p);
}

static void begin_commands(struct scanned *s)
{
    struct slice del[2] = {SLICE("DEL"), name_of(s)};
    const struct sink *to = s->to;
    s->refused = !s->live && emit_guarded(to->e, &to->o);
    if (s->refused)
        refuse(s, s->fresh ? "a stream that is read by commands would replace a key of the target that is to "
                             "be kept (--on-existing skip, fail)"
                           : "its fields would expire at a target that may have kept its own value "
                             "(--on-existing skip, fail)");
    s->live = s->begun = true; /* none of them may be repeated alone */
    if (s->fresh && !s->refused)
        apply(s, del, 2);
}

static void end_commands(struct scanned *s)
{
    uint8_t ms[20];
    struct slice expire[3] = {SLICE("PEXPIREAT"), name_of(s), {ms, dec_u64(ms, s->expire_ms)}};
    if (s->fresh && s->expire_ms != 0 && !s->refused)
        apply(s, expire, 3);
}

/* ---- KEY records ---- */

static const char *read_form(struct scanned *s, const char *text, size_t n)
{
    char state[16], word[16];
    if (meta_get(text, n, "state", state, sizeof state) <= 0)
        return "a KEY record without state";
    if (strcmp(state, "value") != 0) {
        s->form = SCANNED_MISSING;
        if (meta_get(text, n, "error", s->error, sizeof s->error) < 0)
            strlcpy(s->error, strcmp(state, "error") == 0 ? "it could not be read" : "", sizeof s->error);
        return NULL;
    }
    s->form = SCANNED_DUMP;
    if (meta_get(text, n, "elements", word, sizeof word) <= 0)
        return NULL;
    s->form = SCANNED_COMMANDS;
    s->fresh = strcmp(word, "commands") == 0;
    if (s->fresh || strcmp(word, "after") == 0)
        return NULL;
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (strcmp(word, elements[i].name) == 0) {
            s->form = SCANNED_ELEMENTS;
            s->type = elements[i].type;
        }
    bool has_length = meta_getu(text, n, "length", &s->length);
    return s->form == SCANNED_ELEMENTS && (s->type != STRING_TYPE || has_length)
               ? NULL
               : "a KEY record with unknown elements, or a string without its length";
}

static const char *read_head(struct scanned *s, const struct rec *r, const char *text, size_t n)
{
    struct sink *to = s->to;
    uint64_t db, ttl, live = 0;
    if (!meta_getu(text, n, "name", &s->name_len) || s->name_len > NAME_MAX_BYTES ||
        !meta_getu(text, n, "db", &db) || db > UINT32_MAX)
        return "a KEY record without name or db";
    s->db = (uint32_t)db;
    s->time = r->time;
    s->begun = s->over = s->fresh = s->refused = s->known = false;
    s->expire_ms = s->length = 0;
    s->error[0] = '\0';
    s->name.len = 0;
    s->name.max = NAME_MAX_BYTES;
    (void)meta_getu(text, n, "live", &live);
    s->live = live != 0 || to->synced;
    if (meta_getu(text, n, "expire", &s->expire_ms) && s->expire_ms == 0)
        s->expire_ms = 1;
    else if (meta_getu(text, n, "ttl", &ttl) && ttl < UINT64_MAX / 2)
        s->expire_ms = r->time / 1000 + (ttl > 0 ? ttl : 1);
    return read_form(s, text, n);
}

/* SCAN may return a key several times. Where keys of the target are kept, the second reading would find the
 * first one's: it is left out, and so is what follows it. Later changes come by themselves. */
static void look_back(struct scanned *s)
{
    struct sink *to = s->to;
    s->known = true;
    if (s->form == SCANNED_COMMANDS && !s->fresh)
        return; /* as the value before it */
    s->repeated = false;
    if (s->live || s->form == SCANNED_MISSING || !emit_guarded(to->e, &to->o))
        return;
    s->repeated = !repeats_first(&s->before, khash_of(s->db, s->name.p, s->name.len));
    if (s->repeated && passes(s))
        emit_report(to->e, &to->o, false, "duplicate-key", s->name.p, s->name.len,
                    "SCAN returned this key twice: the first value is written");
}

/* As much of what has come as can be used. Returns the number of bytes. */
static size_t use(struct scanned *s, const uint8_t *p, size_t n, bool last, uint64_t *need,
                  const char **fault)
{
    size_t used = 0;
    bool bad = false;
    *need = 0;
    if (s->name.len < s->name_len) {
        used = s->name_len - s->name.len < n ? (size_t)(s->name_len - s->name.len) : n;
        (void)buf_add(&s->name, p, used);
    }
    if (s->name.len < s->name_len)
        return used;
    uint64_t more = 0;
    if (!s->known)
        look_back(s);
    if (s->repeated) {
        used = n;
    } else if (s->form == SCANNED_ELEMENTS) {
        if (last && !s->begun && take_string(s, p + used, n - used))
            used = n;
        if (!s->begun)
            begin_elements(s);
        used += feed_elements(s, p + used, n - used, &more, &bad);
    } else if (s->form == SCANNED_COMMANDS) {
        if (!s->begun)
            begin_commands(s);
        used += feed_commands(s, p + used, n - used, &more, &bad);
    } else if (last && s->form == SCANNED_DUMP) {
        take_dump(s, p + used, n - used);
        used = n;
    } else if (last) {
        take_missing(s);
        used = n;
    } else {
        more = 1;
    }
    *need = n - used + more;
    if (bad)
        *fault = "elements or commands of a value in a KEY record";
    return used;
}

static const char *end_key(struct scanned *s, bool rest)
{
    bool whole = !rest && s->name.len == s->name_len;
    if (s->form == SCANNED_ELEMENTS && s->begun)
        whole = end_elements(s) && whole;
    else if (s->form == SCANNED_COMMANDS && s->begun)
        end_commands(s);
    s->form = SCANNED_NONE;
    done(s);
    if (s->before.fault != 0)
        return "room for a temporary file";
    return whole ? NULL : "a KEY record that is whole";
}

/* ---- to an outlet ---- */

static const char *hold(struct scanned *s)
{
    struct slice name = name_of(s);
    struct held_head head = {.type = s->type, .live = s->live, .db = s->db, .expire_ms = s->expire_ms};
    switch (s->form) {
    case SCANNED_DUMP: head.form = HELD_DUMP; break;
    case SCANNED_ELEMENTS: head.form = HELD_ELEMENTS; break;
    case SCANNED_COMMANDS:
        head.form = s->fresh ? HELD_REPORT : HELD_FIELDS;
        head.why = "a stream that is read by commands cannot be written into a file, or measured";
        break;
    default: head.form = s->error[0] != '\0' ? HELD_REPORT : HELD_GONE; head.why = s->error;
    }
    s->known = true;
    return held_begin(&s->held, &head, &name);
}

static const char *hold_bytes(struct scanned *s, const uint8_t *p, size_t n, bool last)
{
    size_t rest = (size_t)(s->name_len - s->name.len), used = rest < n ? rest : n;
    const char *fault = NULL;
    (void)buf_add(&s->name, p, used);
    if (s->name.len == s->name_len && !s->known)
        fault = hold(s);
    if (fault == NULL && s->known)
        fault = held_add(&s->held, p + used, n - used);
    if (!last || fault != NULL)
        return fault;
    s->form = SCANNED_NONE;
    return s->known ? NULL : "a KEY record that is whole";
}

/* Bytes of the key at hand, which may lie in a file. */
static const char *take_bytes(struct scanned *s, const uint8_t *p, size_t n, bool last)
{
    struct sink *to = s->to;
    uint64_t need;
    const char *fault = NULL;
    size_t used;
    if (s->carry.len == 0) { /* straight from the record */
        used = use(s, p, n, last, &need, &fault);
        s->carry.need = need;
        if (fault == NULL && used < n && !last && carry_add(&s->carry, p + used, n - used) < 0)
            return "room for a temporary file";
        return last && fault == NULL ? end_key(s, used < n) : fault;
    }
    if (s->form == SCANNED_DUMP)
        s->carry.need = s->carry.len + n + 1; /* more than memory goes to a file */
    if (carry_add(&s->carry, p, n) < 0)
        return "room for a temporary file";
    if (!last && s->carry.len < s->carry.need)
        return NULL;
    const uint8_t *all = carry_bytes(&s->carry);
    if (all == NULL)
        return "a temporary file that can be mapped";
    size_t len = (size_t)s->carry.len;
    to->e->pages = (struct pages){s->carry.map, s->carry.mapped};
    to->s.pages = &to->e->pages;
    used = use(s, all, len, last, &need, &fault);
    to->e->pages.p = NULL;
    if (fault == NULL && last)
        fault = end_key(s, used < len);
    return carry_keep(&s->carry, last ? len : used, last ? 0 : need) < 0 ? "room for a temporary file"
                                                                         : fault;
}

const char *scanned_key(struct scanned *s, const struct rec *r, const uint8_t *payload)
{
    const uint8_t *p = payload;
    size_t n = r->len;
    s->to->e->stats.bytes_in += n;
    if (s->form == SCANNED_NONE) {
        const uint8_t *blank = n > 0 ? memmem(p, n, "\n\n", 2) : NULL;
        if (blank == NULL)
            return "a KEY record without an empty line";
        size_t head = (size_t)(blank - p) + 2;
        const char *fault = read_head(s, r, (const char *)p, head - 1);
        if (fault != NULL)
            return fault;
        p += head;
        n -= head;
    }
    bool last = (r->flags & RF_MORE) == 0;
    return s->to->outlet != NULL ? hold_bytes(s, p, n, last) : take_bytes(s, p, n, last);
}

/* ---- SCAN records ---- */

/* What goes with the position: HOLDS, dfrecord(5). */
const char *scanned_place(struct scanned *s, const uint8_t *payload, size_t n)
{
    struct sink *to = s->to;
    char op[8], place[64];
    uint64_t pos;
    struct buf b = {.max = 256};
    if (meta_get(payload, n, "op", op, sizeof op) <= 0 || !meta_getu(payload, n, "pos", &pos) ||
        meta_get(payload, n, "place", place, sizeof place) <= 0 || !meta_is_word(place) ||
        pos < to->next_lsn || pos > LSN_MAX)
        return "a SCAN record without op, place, or a position that grows";
    const char *fault = held_write(&s->held);
    if (fault != NULL)
        return fault;
    to->before = to->next_lsn;
    to->next_lsn = pos;
    to->o.pos = pos;
    to->o.live = true;
    meta_addu(&b, "n", 0);
    meta_adds(&b, "held", place);
    emit_holds(to->e, &to->o, b.p, b.len);
    buf_free(&b);
    if (strcmp(op, "done") == 0 && !to->synced) {
        to->o.live = false;
        emit_synced(to->e, &to->o);
        to->cut = to->synced = true;
    }
    done(s);
    return NULL;
}
