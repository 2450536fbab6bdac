/* mkrecords: a command stream, or a raw one, from a text, one record a line. A TEST TOOL of df2redis, for
 * streams that no real parser or master would write. mkrecords --help describes the text. */
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "io.h"
#include "meta.h"
#include "record.h"
#include "program.h"
#include "resp.h"
#include "slot.h"

#define WORDS_MAX 4096
#define VALUE_MAX ((size_t)1200 << 20)

static const char help[] =
    "usage: mkrecords [--raw] <text >stream\n"
    "\n"
    "Each line is one record; blanks separate words, # begins a comment. Integers are decimal.\n"
    "\n"
    "  session [name=value ...]    nonce, source, flows (1), journal (1) have defaults\n"
    "  epoch N                     of the records that follow\n"
    "  target [name=value ...]     default: portable 6.2.0\n"
    "  flow F [name=value ...]     default: mode=FULL\n"
    "  set F [option ...] KEY VALUE         a plain SET of the snapshot\n"
    "  req F [option ...] ARG ...           a request of the snapshot that is not idempotent\n"
    "  idem F [option ...] ARG ...          one that is\n"
    "  live F [option ...] ARG ...          one of the journal\n"
    "  program F [option ...] STEP / STEP ...   a live request over several slots; each step's slot is that "
    "of its first key\n"
    "  position F [option ...]     synced F [option ...]\n"
    "  barrier F [option ...] ARG ...       txid=1\n"
    "  probe F [option ...] KIND [KEY]      begin, key, again, own, done or later; KEY is looked for\n"
    "  report F [name=value ...]\n"
    "  data F HEX                           raw streams: these bytes of the flow\n"
    "  entry F [:db=N] [:txid=N] ARG ...    raw streams: DATA with a journal entry, and the SELECT in front "
    "of it\n"
    "  command F ARG ...                    raw streams: DATA with a command of a Redis (PSYNC)\n"
    "  traffic F N                          the same: N commands, SET and INCR in turn, of a million keys\n"
    "  multi F [:db=N] [:txid=N] ARG ...    the same with an entry that waits for the EXEC of txid (old "
    "masters)\n"
    "  end [name=value ...]        default: reason=complete status=0\n"
    "  stream                      a stream header; there is one at the beginning\n"
    "  bytes HEX                   these bytes, as they are\n"
    "  sleep MS                    write what there is, and wait\n"
    "\n"
    "A step is [:if=R] [:unless=R] [:keep=R] [:must] [:ttl] [:always] ARG ..., its slot that of its second\n"
    "argument; $R is what register R holds.\n"
    "\n"
    "Options begin with a colon: :db=N :pos=N :seq=N :class=N :key=N :txid=N :part=N (bytes of payload in a\n"
    "record, default 1 MiB) :only=N (parts that are written, default all), and the flags :more :plainset "
    ":idempotent :first :last :live :multikey :precut :together :held :fresh :oneflow.\n"
    "seq counts by itself. In words %XX is a byte, @{N} stands for N bytes x, and so does a word @N.\n";

struct line {
    char *word[WORDS_MAX];
    unsigned n, at;
};

struct state {
    struct recout out;
    struct rec r;
    size_t part;
    uint64_t only; /* parts that are still written; 0: all */
    uint64_t txid;
    uint16_t epoch;
    uint64_t seq[REC_FLOWS_MAX];
    uint64_t offset[REC_FLOWS_MAX]; /* bytes of each flow in DATA */
    enum rec_kind kind;
    unsigned number; /* of the line */
};

static uint32_t hash_of(const uint8_t *p, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

static uint64_t number(const struct state *s, const char *text)
{
    char *end;
    uint64_t v = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0')
        errx(2, "line %u: %s is no number", s->number, text);
    return v;
}

static unsigned hex(const struct state *s, const char *p)
{
    char two[3] = {p[0], p[0] != '\0' ? p[1] : '\0', '\0'};
    char *end;
    unsigned long v = strtoul(two, &end, 16);
    if (end != two + 2)
        errx(2, "line %u: two hexadecimal digits expected", s->number);
    return (unsigned)v;
}

static void put(struct state *s, const struct rec *r, const void *payload, size_t n)
{
    struct rec copy = *r;
    if (recout_put(&s->out, &copy, payload, n) < 0)
        err(1, "writing");
}

/* N}: so many bytes x. Returns where the brace stands. */
static const char *run(const struct state *s, const char *w, struct buf *b)
{
    char *end;
    unsigned long long n = strtoull(w, &end, 10);
    uint8_t *to = *end == '}' && n <= VALUE_MAX ? buf_room(b, (size_t)n) : NULL;
    if (to == NULL)
        errx(2, "line %u: @{N} expected, N at most %zu", s->number, VALUE_MAX);
    memset(to, 'x', (size_t)n);
    b->len += (size_t)n;
    return end;
}

/* A word as the bytes it stands for. */
static void expand(const struct state *s, const char *w, struct buf *b)
{
    b->len = 0;
    if (w[0] == '@') {
        uint64_t n = number(s, w + 1);
        uint8_t *to = n <= VALUE_MAX ? buf_room(b, (size_t)n) : NULL;
        if (to == NULL)
            errx(2, "line %u: too large", s->number);
        memset(to, 'x', (size_t)n);
        b->len = (size_t)n;
        return;
    }
    for (; *w != '\0'; w++) {
        uint8_t c = (uint8_t)*w;
        if (c == '@' && w[1] == '{') {
            w = run(s, w + 2, b);
            continue;
        }
        if (c == '%') {
            c = (uint8_t)hex(s, w + 1);
            w += 2;
        }
        (void)buf_add(b, &c, 1);
    }
}

static bool option(struct state *s, const char *w)
{
    static const char *const flags[] = {"more",     "plainset", "idempotent", "first", "last",  "live",
                                        "multikey", "precut",   "together",   "held",  "fresh", "oneflow"};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(w, flags[i]) == 0) {
            s->r.flags = (uint16_t)(s->r.flags | 1u << i);
            return true;
        }
    const char *eq = strchr(w, '=');
    if (eq == NULL)
        return false;
    uint64_t v = number(s, eq + 1);
    size_t n = (size_t)(eq - w);
    if (n == 2 && memcmp(w, "db", n) == 0)
        s->r.db = (uint32_t)v;
    else if (n == 3 && memcmp(w, "pos", n) == 0)
        s->r.pos = v;
    else if (n == 3 && memcmp(w, "seq", n) == 0)
        s->seq[s->r.flow] = s->r.seq = v;
    else if (n == 3 && memcmp(w, "key", n) == 0)
        s->r.keyarg = (uint8_t)v;
    else if (n == 5 && memcmp(w, "class", n) == 0)
        s->r.vclass = (uint8_t)v;
    else if (n == 4 && memcmp(w, "txid", n) == 0)
        s->txid = v;
    else if (n == 4 && memcmp(w, "only", n) == 0)
        s->only = v;
    else if (n == 4 && memcmp(w, "part", n) == 0 && v > 0 && v <= REC_PAYLOAD_MAX)
        s->part = (size_t)v;
    else
        return false;
    return true;
}

/* Flow and options of a numbered record. */
static void begin(struct state *s, struct line *l, unsigned type, unsigned flags)
{
    uint64_t flow = l->n > 1 ? number(s, l->word[1]) : UINT64_MAX;
    if (flow >= REC_FLOWS_MAX)
        errx(2, "line %u: no flow", s->number);
    s->r = (struct rec){.type = (uint8_t)type,
                        .flags = (uint16_t)flags,
                        .flow = (uint16_t)flow,
                        .slot = REC_NO_SLOT,
                        .epoch = s->epoch,
                        .keyarg = type == REC_REQUEST,
                        .time = now_us()};
    s->r.seq = ++s->seq[flow];
    s->part = REC_PAYLOAD_MAX;
    s->txid = 1;
    s->only = 0;
    for (l->at = 2; l->at < l->n && l->word[l->at][0] == ':'; l->at++)
        if (option(s, l->word[l->at] + 1))
            continue;
        else if (type == REC_PROGRAM) /* of its first step */
            break;
        else
            errx(2, "line %u: option %s?", s->number, l->word[l->at]);
}

static void request(struct state *s, struct line *l)
{
    static struct buf b = {.max = VALUE_MAX + 65536}, w = {.max = VALUE_MAX};
    b.len = 0;
    if (s->r.type == REC_BARRIER)
        (void)buf_add(&b, &s->txid, sizeof s->txid);
    (void)resp_add_array(&b, l->n - l->at);
    for (unsigned i = l->at; i < l->n; i++) {
        expand(s, l->word[i], &w);
        if (s->r.keyarg > 0 && i - l->at == s->r.keyarg) {
            s->r.hash = hash_of(w.p, w.len);
            s->r.slot = key_slot(w.p, w.len);
        }
        if (resp_add_bulk(&b, w.p, w.len) < 0)
            errx(2, "line %u: too large", s->number);
    }
    unsigned flags = s->r.flags;
    size_t at = 0;
    do {
        size_t n = b.len - at < s->part ? b.len - at : s->part;
        s->r.flags = (uint16_t)(at + n < b.len ? flags | RF_MORE : flags);
        put(s, &s->r, b.p + at, n);
        at += n;
    } while (at < b.len && --s->only != 0);
}

/* DATA of the flow at hand. */
static void data(struct state *s, const uint8_t *p, size_t len)
{
    for (size_t at = 0; at < len;) {
        struct rec r = {
            .type = REC_DATA, .flow = s->r.flow, .slot = REC_NO_SLOT, .epoch = s->epoch, .time = now_us()};
        size_t n = len - at < REC_PAYLOAD_MAX ? len - at : REC_PAYLOAD_MAX;
        r.pos = s->offset[r.flow];
        put(s, &r, p + at, n);
        s->offset[r.flow] += n;
        at += n;
    }
}

static void add_plen(struct buf *b, uint64_t v)
{
    uint8_t t[9] = {0x81};
    for (unsigned i = 0; i < 8; i++)
        t[8 - i] = (uint8_t)(v >> 8 * i);
    (void)buf_add(b, t, sizeof t);
}

/* DATA: SELECT, then a journal COMMAND: txid, one shard, number of arguments, their length, (length, bytes)
 * each. */
static void entry(struct state *s, struct line *l, char op)
{
    static struct buf b = {.max = VALUE_MAX + 65536}, args = {.max = VALUE_MAX + 65536},
                      w = {.max = VALUE_MAX};
    begin(s, l, REC_DATA, 0);
    uint64_t total = 0;
    b.len = args.len = 0;
    for (unsigned i = l->at; i < l->n; i++) {
        expand(s, l->word[i], &w);
        add_plen(&args, w.len);
        (void)buf_add(&args, w.p, w.len);
        total += w.len;
    }
    (void)buf_add(&b, "\006", 1);
    add_plen(&b, s->r.db);
    (void)buf_add(&b, &op, 1);
    add_plen(&b, s->txid);
    add_plen(&b, 1);
    add_plen(&b, l->n - l->at);
    add_plen(&b, total);
    if (buf_add(&b, args.p, args.len) < 0)
        errx(2, "line %u: too large", s->number);
    data(s, b.p, b.len);
}

/* DATA: a request in RESP. */
static void command(struct state *s, struct line *l)
{
    static struct buf b = {.max = VALUE_MAX + 65536}, w = {.max = VALUE_MAX};
    begin(s, l, REC_DATA, 0);
    b.len = 0;
    (void)resp_add_array(&b, l->n - l->at);
    for (unsigned i = l->at; i < l->n; i++) {
        expand(s, l->word[i], &w);
        if (resp_add_bulk(&b, w.p, w.len) < 0)
            errx(2, "line %u: too large", s->number);
    }
    data(s, b.p, b.len);
}

#define TRAFFIC_BYTES ((size_t)256 << 10) /* of a record, as dfreader makes them of a busy flow */

static void traffic(struct state *s, struct line *l)
{
    static struct buf b;
    begin(s, l, REC_DATA, 0);
    uint64_t n = l->at < l->n ? number(s, l->word[l->at]) : 0;
    b.len = 0;
    for (uint64_t i = 0; i < n; i++) {
        char key[16];
        bool set = i % 2 == 0;
        snprintf(key, sizeof key, "key:%07u", (unsigned)(i * 7919 % 1000000));
        (void)resp_add_array(&b, set ? 3 : 2);
        (void)resp_add_str(&b, set ? "SET" : "INCR");
        (void)resp_add_str(&b, key);
        if (set)
            (void)resp_add_str(&b, "0123456789abcdef");
        if (b.len < TRAFFIC_BYTES && i + 1 < n)
            continue;
        data(s, b.p, b.len);
        b.len = 0;
    }
}

static void data_line(struct state *s, struct line *l)
{
    struct buf b = {0};
    begin(s, l, REC_DATA, 0);
    for (; l->at < l->n; l->at++)
        for (const char *p = l->word[l->at]; *p != '\0'; p += 2) {
            uint8_t c = (uint8_t)hex(s, p);
            (void)buf_add(&b, &c, 1);
        }
    data(s, b.p, b.len);
    buf_free(&b);
}

/* What stands before a step's arguments. Returns whether it was such. */
static bool step_option(const struct state *s, const char *w, struct step *st)
{
    if (strncmp(w, ":if=", 4) == 0)
        st->cond = (uint8_t)number(s, w + 4);
    else if (strncmp(w, ":unless=", 8) == 0)
        st->cond = (uint8_t)(STEP_NOT | number(s, w + 8));
    else if (strncmp(w, ":keep=", 6) == 0)
        st->keep = (uint8_t)number(s, w + 6);
    else if (strcmp(w, ":must") == 0)
        st->flags |= STEP_MUST;
    else if (strcmp(w, ":ttl") == 0)
        st->flags |= STEP_TTL;
    else if (strcmp(w, ":always") == 0)
        st->flags |= STEP_ALWAYS;
    else
        return false;
    return true;
}

static void program(struct state *s, struct line *l)
{
    static struct buf b = {.max = REC_PAYLOAD_MAX}, w = {.max = REC_PAYLOAD_MAX};
    struct program p;
    begin(s, l, REC_PROGRAM, RF_LIVE | RF_MULTIKEY);
    s->r.keyarg = 0;
    b.len = 0;
    program_begin(&p, &b);
    for (bool first = true; l->at < l->n; l->at++) {
        struct step st = {0};
        while (l->at < l->n && step_option(s, l->word[l->at], &st))
            l->at++;
        if (l->at + 1 >= l->n)
            errx(2, "line %u: a step without a key", s->number);
        expand(s, l->word[l->at + 1], &w);
        st.slot = key_slot(w.p, w.len);
        if (first) {
            s->r.slot = st.slot;
            s->r.hash = hash_of(w.p, w.len);
        }
        first = false;
        program_step(&p, st.slot, st.cond, st.keep, st.flags);
        for (; l->at < l->n && strcmp(l->word[l->at], "/") != 0; l->at++) {
            if (l->word[l->at][0] == '$') {
                program_reg(&p, (unsigned)number(s, l->word[l->at] + 1));
                continue;
            }
            expand(s, l->word[l->at], &w);
            program_bulk(&p, w.p, w.len);
        }
    }
    if (program_end(&p) < 0)
        errx(2, "line %u: no program", s->number);
    put(s, &s->r, b.p, b.len);
}

static void probe(struct state *s, struct line *l)
{
    static const char *const kinds[PROBE_KINDS] = {"begin", "key", "again", "own", "done", "later"};
    struct buf b = {0};
    begin(s, l, REC_PROBE, RF_LIVE);
    const char *key = l->at + 1 < l->n ? l->word[l->at + 1] : "";
    size_t n = strlen(key);
    struct probe_head h = {.kind = PROBE_KINDS, .n = (uint32_t)n, .db = s->r.db};
    for (uint8_t i = 0; i < PROBE_KINDS && l->at < l->n; i++)
        if (strcmp(l->word[l->at], kinds[i]) == 0)
            h.kind = i;
    if (h.kind == PROBE_KINDS)
        errx(2, "line %u: no kind of probe", s->number);
    (void)buf_add(&b, &h, sizeof h);
    (void)buf_add(&b, key, n);
    if (n > 0) {
        s->r.keyarg = 1;
        s->r.hash = hash_of((const uint8_t *)key, n);
        s->r.slot = key_slot((const uint8_t *)key, n);
        (void)resp_add_array(&b, 2);
        (void)resp_add_str(&b, "EXISTS");
        (void)resp_add_bulk(&b, key, n);
    }
    put(s, &s->r, b.p, b.len);
    buf_free(&b);
}

/* Lines name=value: those of the text, then the defaults that it does not give. */
static void metadata(struct state *s, struct line *l, unsigned type, unsigned from, const char *defaults)
{
    struct buf b = {0};
    struct rec r = {.type = (uint8_t)type, .slot = REC_NO_SLOT, .epoch = s->epoch, .time = now_us()};
    if (from == 2)
        r.flow = (uint16_t)number(s, l->n > 1 ? l->word[1] : "");
    for (unsigned i = from; i < l->n; i++) {
        (void)buf_addstr(&b, l->word[i]);
        (void)buf_addstr(&b, "\n");
    }
    for (const char *p = defaults; *p != '\0'; p = strchr(p, '\n') + 1) {
        char name[32], value[64];
        size_t n = strcspn(p, "=");
        memcpy(name, p, n);
        name[n] = '\0';
        if (meta_get(b.p, b.len, name, value, sizeof value) < 0)
            (void)buf_add(&b, p, strcspn(p, "\n") + 1);
    }
    put(s, &r, b.p, b.len);
    buf_free(&b);
}

static void bytes(struct state *s, const char *text)
{
    for (const char *p = text; *p != '\0'; p += 2) {
        uint8_t c = (uint8_t)hex(s, p);
        (void)buf_add(&s->out.b, &c, 1);
    }
}

static void session(struct state *s, struct line *l)
{
    char text[160];
    snprintf(text, sizeof text, "nonce=%032d\nsource=test\nflows=1\nepoch=%u\njournal=1\n", 7, s->epoch);
    metadata(s, l, REC_SESSION, 1, text);
}

static const struct {
    const char *name;
    unsigned type, flags;
} numbered[] = {
    {"set", REC_REQUEST, RF_PLAINSET | RF_IDEMPOTENT},
    {"req", REC_REQUEST, 0},
    {"idem", REC_REQUEST, RF_IDEMPOTENT},
    {"live", REC_REQUEST, RF_LIVE},
    {"barrier", REC_BARRIER, RF_LIVE},
    {"position", REC_POSITION, 0},
    {"synced", REC_SYNCED, 0},
};

static bool numbered_record(struct state *s, struct line *l)
{
    for (size_t i = 0; i < sizeof numbered / sizeof *numbered; i++) {
        if (strcmp(l->word[0], numbered[i].name) != 0)
            continue;
        begin(s, l, numbered[i].type, numbered[i].flags);
        if (numbered[i].type == REC_POSITION || numbered[i].type == REC_SYNCED) {
            put(s, &s->r, NULL, 0);
            return true;
        }
        bool plain = numbered[i].flags == (RF_PLAINSET | RF_IDEMPOTENT);
        static char set[] = "SET";
        if (plain) {
            s->r.vclass = CLASS_STRING;
            l->word[--l->at] = set;
        }
        request(s, l);
        return true;
    }
    return false;
}

static void record(struct state *s, struct line *l)
{
    const char *w = l->word[0];
    const char *arg = l->n > 1 ? l->word[1] : "";
    if (numbered_record(s, l))
        return;
    if (strcmp(w, "entry") == 0)
        entry(s, l, 10);
    else if (strcmp(w, "multi") == 0)
        entry(s, l, 11);
    else if (strcmp(w, "command") == 0)
        command(s, l);
    else if (strcmp(w, "traffic") == 0)
        traffic(s, l);
    else if (strcmp(w, "data") == 0)
        data_line(s, l);
    else if (strcmp(w, "program") == 0)
        program(s, l);
    else if (strcmp(w, "probe") == 0)
        probe(s, l);
    else if (strcmp(w, "session") == 0)
        session(s, l);
    else if (strcmp(w, "target") == 0)
        metadata(s, l, REC_TARGET, 1, "kind=portable\nversion=6.2.0\ncluster=0\n");
    else if (strcmp(w, "flow") == 0)
        metadata(s, l, REC_FLOW, 2, "mode=FULL\n");
    else if (strcmp(w, "report") == 0)
        metadata(s, l, REC_REPORT, 2, "kind=test\nlost=0\n");
    else if (strcmp(w, "end") == 0)
        metadata(s, l, REC_END, 1, "reason=complete\nstatus=0\n");
    else if (strcmp(w, "stream") == 0) {
        if (recout_stream(&s->out, s->kind) < 0)
            err(1, "writing");
    } else if (strcmp(w, "bytes") == 0)
        bytes(s, arg);
    else if (strcmp(w, "epoch") == 0) {
        s->epoch = (uint16_t)number(s, arg);
        memset(s->seq, 0, sizeof s->seq);
    } else if (strcmp(w, "sleep") == 0) {
        if (recout_flush(&s->out) < 0)
            err(1, "writing");
        usleep((useconds_t)number(s, arg) * 1000);
    } else
        errx(2, "line %u: %s?", s->number, w);
}

int main(int argc, char **argv)
{
    static struct state s = {.epoch = 1, .kind = KIND_COMMAND};
    static struct line l;
    if (argc == 2 && strcmp(argv[1], "--raw") == 0) {
        s.kind = KIND_RAW;
    } else if (argc > 1) {
        bool asked = strcmp(argv[1], "--help") == 0;
        fputs(help, asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    recout_init(&s.out, STDOUT_FILENO, (size_t)256 << 10);
    if (recout_stream(&s.out, s.kind) < 0)
        err(1, "writing");
    char *text = NULL;
    size_t cap = 0;
    while (getline(&text, &cap, stdin) >= 0) {
        s.number++;
        l.n = 0;
        char *save = NULL;
        for (char *w = strtok_r(text, " \t\n", &save); w != NULL && *w != '#';
             w = strtok_r(NULL, " \t\n", &save)) {
            if (l.n == WORDS_MAX)
                errx(2, "line %u: too many words", s.number);
            l.word[l.n++] = w;
        }
        if (l.n > 0)
            record(&s, &l);
    }
    if (recout_flush(&s.out) < 0)
        err(1, "writing");
    free(text);
    recout_free(&s.out);
    return 0;
}
