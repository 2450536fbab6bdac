/* Keys read again, against a model: a source whose commands a parser cannot always carry over, answers that
 * come early and late, and a target that does what the parser writes. Whatever the interleaving, both hold
 * the same in the end, and no position is claimed behind a command whose effect the target lacks. */

#define TIME UINT64_C(1700000000000000)
#include "parsed.h"

#define KEYS    4
#define TEXT    2048
#define ENTRIES 60
#define FIRST   100 /* LSN of the first entry */

struct store {
    bool there[KEYS];
    char text[KEYS][TEXT];
};

struct pending_answer {
    unsigned key, due; /* when as many entries have been parsed */
    uint64_t from, to;
    bool there;
    char text[TEXT];
};

static struct store source, target;
static char line[ENTRIES * 4][80]; /* the journal */
static unsigned executed, parsed;
static struct pending_answer answers[4096];
static unsigned nanswers, taken;
static uint64_t rng;

static unsigned draw(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 33) % n;
}

/* ---- both sides ---- */

static void run(struct store *s, const char *command)
{
    char word[8][80] = {{0}};
    int n = sscanf(command, "%79s %79s %79s %79s %79s %79s %79s %79s", word[0], word[1], word[2], word[3],
                   word[4], word[5], word[6], word[7]);
    unsigned k = (unsigned)(word[1][1] - '0') % KEYS;
    if (strcmp(word[0], "FLUSHALL") == 0) {
        memset(s, 0, sizeof *s);
    } else if (strcmp(word[0], "DEL") == 0) {
        for (int i = 1; i < n; i++)
            s->there[word[i][1] - '0'] = false;
    } else if (strcmp(word[0], "MSET") == 0) {
        for (int i = 1; i + 1 < n; i += 2) {
            s->there[word[i][1] - '0'] = true;
            strcpy(s->text[word[i][1] - '0'], word[i + 1]);
        }
    } else if (strcmp(word[0], "RENAME") == 0) {
        unsigned to = (unsigned)(word[2][1] - '0');
        if (s->there[k] && k != to) {
            s->there[to] = true;
            memcpy(s->text[to], s->text[k], TEXT);
            s->there[k] = false;
        }
    } else {
        if (strcmp(word[0], "SET") == 0 || !s->there[k])
            s->text[k][0] = '\0';
        s->there[k] = true;
        if (strcmp(word[0], "CL.THROTTLE") == 0)
            strcat(s->text[k], "!");
        strcat(s->text[k], word[2]);
    }
}

static void source_does_something(void)
{
    char *l = line[executed];
    unsigned a = draw(KEYS), b = draw(KEYS), x = executed;
    switch (draw(12)) {
    case 0:
    case 1:
    case 2: snprintf(l, 80, "CL.THROTTLE k%u t%u", a, x); break;
    case 3: snprintf(l, 80, "SET k%u s%u", a, x); break;
    case 4: snprintf(l, 80, "DEL k%u", a); break;
    case 5: snprintf(l, 80, "DEL k%u k%u", a, b); break;
    case 6: snprintf(l, 80, "MSET k%u m%u k%u n%u", a, x, b, x); break;
    case 7:
        if (source.there[a] && a != b) {
            snprintf(l, 80, "RENAME k%u k%u", a, b);
            break;
        }
        snprintf(l, 80, "APPEND k%u r%u", a, x);
        break;
    case 8: snprintf(l, 80, draw(8) == 0 ? "FLUSHALL" : "APPEND k%u f%u", a, x); break;
    default: snprintf(l, 80, "APPEND k%u a%u", a, x); break;
    }
    run(&source, l);
    executed++;
}

/* ---- the parser between them ---- */

/* What was written is done at the target; a position behind what was not is noticed at the end of each step.
 */
static void target_follows(void)
{
    (void)emit_flush(&parser->e);
    char *text = strdup(capture_text(&cap)), *rest = text, *l;
    while ((l = strsep(&rest, "\n")) != NULL) {
        unsigned long long seq, pos;
        char *bar = strstr(l, " | ");
        CHECK(strncmp(l, "LOST", 4) != 0);
        if (sscanf(l, "%llu pos=%llu", &seq, &pos) == 2)
            CHECK(pos <= FIRST + parsed);
        if (bar != NULL)
            run(&target, bar + 3);
        if (l[0] != '\0' && bar == NULL && strstr(l, "position") == NULL)
            printf("%s\n", l);
    }
    free(text);
}

/* Between the two offsets around the value more may happen at the source. */
static void source_reads(unsigned key)
{
    struct pending_answer *a = &answers[nanswers++];
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

static void deliver(const struct pending_answer *a)
{
    struct buf b = {0}, v = {0};
    (void)buf_addf(&b, "key=k%u\ndb=0\nstate=%s\nttl=-1\nfrom=%llu\nto=%llu\n\n", a->key,
                   a->there ? "value" : "missing", (unsigned long long)a->from, (unsigned long long)a->to);
    if (a->there) {
        add_le(&v, 0, 1);
        add_pstr(&v, a->text, strlen(a->text));
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

/* Answers come in the order of the requests, each not before it is due. */
static void step(void)
{
    bool ready = taken < nanswers && (answers[taken].due <= parsed || parsed == executed);
    if (executed < ENTRIES && draw(3) != 0)
        source_does_something();
    else if (ready)
        deliver(&answers[taken++]);
    else if (parsed < executed)
        parse_one();
    else if (executed < ENTRIES)
        source_does_something();
    target_follows();
    source_is_asked();
}

static void begin_model(uint64_t seed)
{
    rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    memset(&source, 0, sizeof source);
    memset(&target, 0, sizeof target);
    executed = parsed = nanswers = taken = 0;
    begin("portable");
}

static void same(uint64_t seed)
{
    for (unsigned k = 0; k < KEYS; k++) {
        bool alike = source.there[k] == target.there[k] &&
                     (!source.there[k] || strcmp(source.text[k], target.text[k]) == 0);
        if (!CHECK(alike))
            printf("  seed %llu, k%u: %s, not %s\n", (unsigned long long)seed, k,
                   target.there[k] ? target.text[k] : "missing",
                   source.there[k] ? source.text[k] : "missing");
    }
}

int main(void)
{
    uint64_t reread = 0, asked = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        begin_model(seed);
        for (unsigned i = 0; i < 10000 && (executed < ENTRIES || parsed < executed || taken < nanswers); i++)
            step();
        EQ(parser->rereads.count, 0);
        EQ(parser->rereads.bytes, 0);
        EQ(parsed, ENTRIES);
        same(seed);
        EQ(sink_reached(&parser->flows[0]->to), FIRST + ENTRIES);
        reread += parser->e.stats.reread;
        asked += nanswers;
        (void)parser_end(parser);
        close_parser();
    }
    CHECK(reread > 1000 && asked > reread); /* it was worth it; some had to be asked for more than once */
    printf("%llu keys read again, asked for %llu times\n", (unsigned long long)reread,
           (unsigned long long)asked);
    return test_done();
}
