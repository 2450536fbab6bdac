/* A full sync that lost keys is verified while runs are killed and stopped, against a model: a source that
 * goes on, a reader that asks for its keys, and a writer that carries records out one by one, with the
 * position and the place that they reach. A kill cuts the records off anywhere; the next run begins where the
 * target says. In the end both hold the same. */

#define TIME UINT64_C(1700000000000000)
#include "parsed.h"

#define STRINGS 4
#define KEYS    7 /* k0 to k3 are strings, k4 to k6 lists */
#define TEXT    2048
#define ENTRIES 80
#define FIRST   100 /* LSN of the first entry */
#define WORDS   300

struct store {
    bool there[KEYS];
    char text[KEYS][TEXT]; /* of a list: its elements, each with a comma behind it */
};

/* ---- the source ---- */

struct pending_answer {
    unsigned key, due; /* when as many entries have been parsed */
    uint64_t from, to;
    bool there;
    char text[TEXT];
};

static struct store source;
static char line[ENTRIES][80]; /* the journal */
static unsigned executed;
static struct pending_answer answers[65536];
static unsigned nanswers, taken;
static uint64_t rng;

static unsigned draw(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 33) % n;
}

static unsigned key_of(const char *word)
{
    return (unsigned)(word[1] - '0') % KEYS;
}

static void put(struct store *s, unsigned k, const char *text)
{
    s->there[k] = true;
    strcpy(s->text[k], text);
}

static void take(struct store *s, unsigned k)
{
    char *comma = strchr(s->text[k], ',');
    if (!s->there[k] || comma == NULL)
        return;
    memmove(s->text[k], comma + 1, strlen(comma + 1) + 1);
    s->there[k] = s->text[k][0] != '\0';
}

static void copy(struct store *s, unsigned k, unsigned to, bool renames)
{
    if (!s->there[k] || k == to)
        return;
    put(s, to, s->text[k]);
    s->there[k] = !renames;
}

static bool is(const char *word, const char *name)
{
    return strcmp(word, name) == 0;
}

static void run(struct store *s, char **w, unsigned n)
{
    unsigned k = n > 1 ? key_of(w[1]) : 0;
    if (is(w[0], "FLUSHALL")) {
        memset(s, 0, sizeof *s);
    } else if (is(w[0], "DEL")) {
        for (unsigned i = 1; i < n; i++)
            s->there[key_of(w[i])] = false;
    } else if (is(w[0], "MSET")) {
        for (unsigned i = 1; i + 1 < n; i += 2)
            put(s, key_of(w[i]), w[i + 1]);
    } else if (is(w[0], "RENAME")) {
        copy(s, k, key_of(w[2]), true);
    } else if (is(w[0], "RENAMENX")) {
        if (!s->there[key_of(w[2])])
            copy(s, k, key_of(w[2]), true);
    } else if (is(w[0], "COPY")) {
        copy(s, k, key_of(w[2]), false);
    } else if (is(w[0], "LPOP")) {
        take(s, k);
    } else if (is(w[0], "SET")) {
        put(s, k, w[2]);
    } else if (CHECK(is(w[0], "APPEND") || is(w[0], "RPUSH") || is(w[0], "CL.THROTTLE"))) {
        if (!s->there[k])
            put(s, k, "");
        for (unsigned i = 2; i < n; i++) {
            strcat(s->text[k], w[i]);
            strcat(s->text[k], is(w[0], "RPUSH") ? "," : "");
        }
    } else {
        printf("  %s\n", w[0]);
    }
}

static void run_line(struct store *s, const char *l)
{
    char text[80], *rest = text, *w[8], *p;
    unsigned n = 0;
    strcpy(text, l);
    while (n < 8 && (p = strsep(&rest, " ")) != NULL)
        w[n++] = p;
    run(s, w, n);
}

static void source_does_something(void)
{
    char *l = line[executed];
    unsigned a = draw(STRINGS), b = draw(STRINGS), c = STRINGS + draw(KEYS - STRINGS),
             d = STRINGS + draw(KEYS - STRINGS), x = executed;
    snprintf(l, 80, draw(2) == 0 ? "APPEND k%u a%u" : "SET k%u s%u", a, x);
    switch (draw(20)) {
    case 0:
    case 1:
    case 2: snprintf(l, 80, "RPUSH k%u e%u", c, x); break;
    case 3: snprintf(l, 80, "DEL k%u k%u", a, b); break;
    case 4: snprintf(l, 80, "MSET k%u m%u k%u n%u", a, x, b, x); break;
    case 5:
    case 6:
        if (source.there[a] && a != b)
            snprintf(l, 80, "RENAME k%u k%u", a, b);
        break;
    case 7:
        if (source.there[a] && a != b)
            snprintf(l, 80, "COPY k%u k%u REPLACE", a, b);
        break;
    case 8:
        if (source.there[a] && !source.there[b])
            snprintf(l, 80, "RENAMENX k%u k%u", a, b);
        break;
    case 9:
        if (source.there[c] && c != d)
            snprintf(l, 80, "RENAME k%u k%u", c, d);
        break;
    case 10:
        if (source.there[c])
            snprintf(l, 80, "LPOP k%u", c);
        break;
    case 11: snprintf(l, 80, "CL.THROTTLE k%u t%u", a, x); break;
    case 12: snprintf(l, 80, "DEL k%u k%u", a, c); break;
    case 13: snprintf(l, 80, draw(20) == 0 ? "FLUSHALL" : "SET k%u p%u KEEPTTL", a, x); break;
    default: break;
    }
    run_line(&source, l);
    executed++;
}

/* Between the two offsets around the value more may happen at the source. */
static void source_reads(unsigned key)
{
    struct pending_answer *a = &answers[nanswers++ % (sizeof answers / sizeof *answers)];
    unsigned parsed = (unsigned)(parser->flows[0]->to.next_lsn - FIRST);
    a->key = key;
    a->from = FIRST + executed;
    for (unsigned i = draw(3); i > 0 && executed < ENTRIES && draw(3) == 0; i--)
        source_does_something();
    a->there = source.there[key];
    strcpy(a->text, source.text[key]);
    for (unsigned i = draw(3); i > 0 && executed < ENTRIES && draw(3) == 0; i--)
        source_does_something();
    a->to = FIRST + executed;
    a->due = parsed + draw(8);
}

static void source_is_asked(void)
{
    char text[8192];
    ssize_t n = recv(peer, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    for (char *p = text; (p = strstr(p, "key=k")) != NULL; p += 5)
        source_reads((unsigned)(p[5] - '0'));
}

/* ---- the reader ---- */

static struct {
    bool on, ends, closes, done; /* keys are looked for; all were; what was missing was told; it is over */
    unsigned cursor, asked, again, later;
    unsigned answered, again_answered, later_answered, found, pass_found;
    unsigned missing[64], nmissing, nown;
    bool own[64];
} verify;

static void check(const char *text)
{
    EQ_I(record(REC_CHECK, 0, text, strlen(text)), 0);
}

static void miss(unsigned key, bool own)
{
    if (!CHECK(verify.nmissing < 64))
        return;
    verify.missing[verify.nmissing] = key;
    verify.own[verify.nmissing++] = own;
    verify.nown += own;
}

static void ask_again(void)
{
    char text[80];
    unsigned i = draw(verify.nmissing);
    bool own = verify.own[i];
    snprintf(text, sizeof text, "state=again\ndb=0\n%skey=k%u\n", own ? "own=1\n" : "", verify.missing[i]);
    verify.missing[i] = verify.missing[--verify.nmissing];
    verify.own[i] = verify.own[verify.nmissing];
    verify.nown -= own;
    verify.later += own;
    verify.again += !own;
    check(text);
}

static void scan(void)
{
    char text[80];
    unsigned key = verify.cursor++;
    if (!source.there[key])
        return;
    snprintf(text, sizeof text, "state=key\ndb=0\nat=%u\nkey=k%u\n", FIRST + executed, key);
    verify.asked++;
    check(text);
}

static void reader_works(void)
{
    bool waits = verify.answered < verify.asked || verify.again_answered < verify.again;
    if (!verify.on)
        return;
    if (verify.nmissing > 0 && draw(2) == 0) {
        ask_again();
    } else if (!verify.ends && verify.cursor < KEYS) {
        scan();
    } else if (waits || verify.nmissing > verify.nown || verify.done) {
        return;
    } else if (!verify.ends && verify.found > verify.pass_found) {
        verify.pass_found = verify.found;
        verify.cursor = 0;
    } else if (!verify.ends ||
               (!verify.closes && verify.nmissing == 0 && verify.later_answered == verify.later)) {
        verify.closes = verify.ends;
        verify.ends = true;
        verify.asked++;
        check("state=ends\n");
    } else if (verify.closes && verify.nmissing == 0 && verify.later_answered == verify.later) {
        verify.done = true;
        check("state=done\n");
    }
}

/* ---- the writer and its target ---- */

static struct {
    struct store store;
    uint64_t pos;               /* where a run resumes */
    uint64_t place, place_part; /* what was carried out */
    bool owed;                  /* the flow is to be verified */
} target;

static struct { /* of the run */
    struct buf out;
    size_t at;
    uint64_t place, place_part; /* of the run before */
    uint64_t pos;
    uint32_t part;
} writer;

/* What the parser has written goes into the pipe. */
static void flush(void)
{
    (void)emit_flush(&parser->e);
    struct buf b = capture_bytes(&cap);
    (void)buf_add(&writer.out, b.p + writer.out.len, b.len - writer.out.len);
    buf_free(&b);
}

/* The words of a request, which ends them with zeros. */
static unsigned words_of(char *p, size_t len, char **w)
{
    unsigned n = 0;
    for (char *end = p + len, *nl = memchr(p, '\n', len); nl != NULL && nl + 1 < end && n < WORDS;) {
        size_t bytes = strtoul(nl + 2, NULL, 10);
        w[n] = (char *)memchr(nl + 1, '\n', (size_t)(end - nl - 1)) + 1;
        nl = w[n] + bytes + 1;
        w[n++][bytes] = '\0';
    }
    return n;
}

static void execute(char *p, size_t len)
{
    char *w[WORDS], **inner = w;
    unsigned n = words_of(p, len, w);
    if (is(w[0], "EVAL")) {
        unsigned keys = (unsigned)(w[2][0] - '0');
        if (!target.store.there[key_of(w[3])]) {
            if (keys == 2)
                target.store.there[key_of(w[4])] = false;
            return;
        }
        inner = w + 3 + keys;
        n -= 3 + keys;
    }
    run(&target.store, inner, n);
}

static void probe(const struct rec *r, const uint8_t *p)
{
    struct probe_head h;
    memcpy(&h, p, sizeof h);
    bool asks = r->len > sizeof h + h.n;
    char name[8] = "";
    memcpy(name, p + sizeof h, h.n < 8 ? h.n : 7);
    const char *asked = asks ? memrchr(p, 'k', r->len) : NULL;
    bool there = asked != NULL && target.store.there[key_of(asked)];
    if (h.kind == PROBE_BEGIN || h.kind == PROBE_DONE)
        target.owed = h.kind == PROBE_BEGIN;
    verify.answered += h.kind == PROBE_KEY;
    verify.again_answered += h.kind == PROBE_AGAIN;
    verify.found += h.kind == PROBE_AGAIN && there;
    verify.later_answered += h.kind == PROBE_LATER;
    if (asks && !there && (h.kind == PROBE_KEY || h.kind == PROBE_OWN))
        miss(key_of(name), h.kind == PROBE_OWN);
}

static bool is_after(uint64_t pos, uint64_t part, uint64_t than, uint64_t than_part)
{
    return pos > than || (pos == than && part > than_part);
}

/* One record is carried out, with its position and its place. */
static void carry_out(void)
{
    struct rec r;
    uint8_t *p = writer.out.p + writer.at + REC_HEADER;
    memcpy(&r, writer.out.p + writer.at, sizeof r);
    writer.at += REC_HEADER + r.len;
    CHECK(r.type != REC_REPORT);
    if (r.type == REC_REPORT)
        printf("%.*s\n", (int)r.len, (const char *)p);
    bool request = r.type == REC_REQUEST || r.type == REC_BARRIER, fresh = (r.flags & RF_FRESH) != 0;
    bool counts = request && !fresh && (r.flags & RF_LIVE) != 0 && r.pos > 0;
    if (counts)
        writer.part = writer.pos == r.pos ? writer.part + 1 : 1;
    if (counts)
        writer.pos = r.pos;
    uint64_t part = counts ? writer.part : UINT32_MAX;
    bool done = counts && !is_after(r.pos, part, writer.place, writer.place_part);
    if (request && !done) {
        size_t skip = r.type == REC_BARRIER ? 8 : 0;
        execute((char *)p + skip, r.len - skip);
        if (r.pos > 0 && is_after(r.pos, part, target.place, target.place_part)) {
            target.place = r.pos;
            target.place_part = part;
        }
    }
    if ((r.flags & RF_HELD) == 0 && r.pos > 0) {
        CHECK(r.pos >= target.pos && r.pos <= FIRST + executed);
        target.pos = r.pos;
    }
    if (r.type == REC_PROBE)
        probe(&r, p);
}

/* ---- runs ---- */

static unsigned parsed;

static void begin_run(void)
{
    char flow[64];
    snprintf(flow, sizeof flow, "flow=0\nmode=PARTIAL\nlsn=%llu\n", (unsigned long long)target.pos);
    begin_flow("portable", flow);
    parser->rereads.writer = true;
    parsed = (unsigned)(target.pos - FIRST);
    memset(&verify, 0, sizeof verify);
    verify.on = target.owed;
    nanswers = taken = 0;
    buf_free(&writer.out);
    struct buf b = capture_bytes(&cap); /* what does not count */
    writer.out = b;
    writer.at = b.len;
    writer.place = target.place;
    writer.place_part = target.place_part;
    writer.pos = writer.part = 0;
    if (verify.on)
        check("state=begin\n");
}

static void end_run(bool killed)
{
    if (!killed)
        parser_end_rereads(parser);
    flush();
    while (writer.at < writer.out.len && (!killed || draw(6) != 0))
        carry_out();
    parser_drop_flows(parser);
    close_parser();
}

static void deliver(const struct pending_answer *a)
{
    struct buf b = {0}, v = {0};
    (void)buf_addf(&b, "key=k%u\ndb=0\nstate=%s\nttl=-1\nfrom=%llu\nto=%llu\n\n", a->key,
                   a->there ? "value" : "missing", (unsigned long long)a->from, (unsigned long long)a->to);
    if (a->there && a->key < STRINGS) {
        add_le(&v, 0, 1);
        add_pstr(&v, a->text, strlen(a->text));
    } else if (a->there) {
        unsigned n = 0;
        for (const char *p = a->text; (p = strchr(p, ',')) != NULL; p++)
            n++;
        add_le(&v, 1, 1);
        add_plen(&v, n);
        for (const char *p = a->text, *end; (end = strchr(p, ',')) != NULL; p = end + 1)
            add_pstr(&v, p, (size_t)(end - p));
    }
    if (a->there) {
        add_le(&v, 9, 2);
        add_le(&v, crc64(0, v.p, v.len), 8);
        (void)buf_add(&b, v.p, v.len);
    }
    EQ_I(record(REC_KEY, 0, b.p, b.len), 0);
    buf_free(&b);
    buf_free(&v);
}

static void parse_one(void)
{
    struct buf b = {0};
    add_command(&b, 7, line[parsed++]);
    EQ_I(record(REC_DATA, at, b.p, b.len), 0);
    at += b.len;
    buf_free(&b);
}

static void step(void)
{
    const struct pending_answer *next = &answers[taken % (sizeof answers / sizeof *answers)];
    bool ready = taken < nanswers && (next->due <= parsed || parsed == executed);
    switch (draw(5)) {
    case 0:
        if (executed < ENTRIES)
            source_does_something();
        break;
    case 1: reader_works(); break;
    case 2:
        if (writer.at < writer.out.len)
            carry_out();
        break;
    default:
        if (ready && draw(2) == 0) {
            taken++;
            deliver(next);
        } else if (parsed < executed) {
            parse_one();
        }
    }
    flush();
    source_is_asked();
}

static bool over(void)
{
    return executed == ENTRIES && parsed == executed && taken == nanswers && writer.at == writer.out.len &&
           (!verify.on || verify.done) && verify.nmissing == 0 &&
           parser->rereads.count + parser->rereads.checks == 0;
}

static void begin_model(uint64_t seed)
{
    rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    memset(&source, 0, sizeof source);
    memset(&target, 0, sizeof target);
    executed = 0;
    for (unsigned k = 0; k < KEYS; k++)
        if (draw(3) != 0)
            put(&source, k, k < STRINGS ? "old" : "first,second,");
    target.store = source;
    for (unsigned k = 0; k < STRINGS; k++)
        target.store.there[k] &= draw(2) == 0; /* the full sync has lost it */
    target.pos = FIRST;
    target.owed = true;
}

static void same(uint64_t seed, unsigned runs)
{
    for (unsigned k = 0; k < KEYS; k++) {
        const struct store *s = &source, *t = &target.store;
        if (!CHECK(s->there[k] == t->there[k] && (!s->there[k] || is(s->text[k], t->text[k]))))
            printf("  seed %llu, %u runs, k%u: %s, not %s\n", (unsigned long long)seed, runs, k,
                   t->there[k] ? t->text[k] : "missing", s->there[k] ? s->text[k] : "missing");
    }
}

int main(void)
{
    uint64_t reread = 0, all = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        unsigned runs = 1, left, steps = 0;
        begin_model(seed);
        left = draw(8);
        for (begin_run(); steps < 20000 && !over(); steps++) {
            step();
            if (left == 0 || draw(40) != 0)
                continue;
            reread += parser->e.stats.reread;
            end_run(!verify.on || verify.done || draw(3) != 0); /* what a stop leaves then is reported */
            begin_run();
            left--;
            runs++;
        }
        CHECK(steps < 20000);
        reread += parser->e.stats.reread;
        all += runs;
        same(seed, runs);
        EQ(target.pos, FIRST + ENTRIES);
        CHECK(!target.owed);
        end_run(true);
    }
    buf_free(&writer.out);
    CHECK(reread > 1000 && all > 3000); /* it was worth it */
    printf("%llu runs, %llu keys read again\n", (unsigned long long)all, (unsigned long long)reread);
    return test_done();
}
