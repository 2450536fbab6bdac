/* The stream of a process over a source that the test makes: the order of its records, whatever is written
 * between the reading of a flow and its record; the end that waits for keys; acknowledgements. */
#include "test.h"

#include "../../reader/output.c"
#include "../../common/spool.c"
#include "../../reader/reply.c"
#include "../../reader/sessinfo.c"
#include "../../reader/stream.c"

static const char *bytes = "";
static unsigned wanted; /* keys that are being read again */
static uint64_t told;

static struct source *make(struct stream *st, struct session *s)
{
    static struct source source = {&source_dragonfly};
    (void)st;
    (void)s;
    return &source;
}

static void nothing(struct source *src)
{
    (void)src;
}

static void open_it(struct flow *f)
{
    memset(f->token, 't', TOKEN_LEN);
    f->partial = f->early = f->from.pos > 0;
    flow_up(f);
}

static void close_it(struct flow *f)
{
    (void)f;
}

static bool has_bytes(const struct flow *f)
{
    (void)f;
    return bytes[0] != '\0';
}

static long read_it(struct flow *f, uint8_t *to, size_t cap)
{
    size_t n = strlen(bytes);
    (void)f;
    CHECK(n <= cap);
    memcpy(to, bytes, n);
    bytes = "";
    return (long)n;
}

static int acknowledge(struct flow *f, uint64_t pos)
{
    (void)f;
    told = pos;
    return 1;
}

static const struct lineage *own; /* of the flow; NULL: the session's */

static const struct lineage *lineage_of(const struct flow *f)
{
    return own != NULL ? own : &f->stream->info.lineage;
}

static unsigned count_wanted(const struct source *src)
{
    (void)src;
    return wanted;
}

const struct source_kind source_dragonfly = {.name = "test",
                                             .live = true,
                                             .create = make,
                                             .free = nothing,
                                             .flow_open = open_it,
                                             .flow_readable = has_bytes,
                                             .flow_read = read_it,
                                             .flow_lineage = lineage_of,
                                             .flow_acknowledge = acknowledge,
                                             .flow_finish = close_it,
                                             .flow_close = close_it,
                                             .rereads = count_wanted,
                                             .close = nothing};

static struct stream st;
static unsigned ups, losses;
static bool answered; /* by the events: FLOW and CHECK records */

static void on_up(void *ctx, struct flow *f)
{
    (void)ctx;
    (void)f;
    ups++;
}

static void on_lost(void *ctx, struct flow *f, const struct fault *why)
{
    (void)ctx;
    (void)f;
    (void)why;
    losses++;
}

static void on_bytes(void *ctx, struct flow *f)
{
    struct buf b = {.max = 64};
    (void)ctx;
    if (!answered)
        return;
    EQ_I(stream_announce_flow(f, FORM_JOURNAL), 0);
    meta_adds(&b, "state", "begin");
    EQ_I(stream_check(&st, f->id, &b), 0);
    buf_free(&b);
}

static const struct stream_events events = {.up = on_up, .lost = on_lost, .bytes = on_bytes};

static int taker;

static void begin_stream(uint64_t from)
{
    static struct options o;
    static char path[40];
    int ends[2];
    CHECK(pipe(ends) == 0);
    taker = ends[0];
    snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
    o = (struct options){.output = path, .buffer = (size_t)256 << 10, .spill_max = (uint64_t)1 << 20};
    st = (struct stream){.info = {.epoch = 1, .lineage = {.replid = "ours"}}};
    ups = losses = 0;
    told = 0;
    stream_open(&st, &o, &source_dragonfly, NULL, &events, false);
    close(ends[1]);
    stream_set_flows(&st, 0, 1);
    const struct flow_from where = {.pos = from};
    stream_open_flow(&st, st.flows, &where);
    EQ(ups, 1);
}

/* Types of the records so far, one letter each, and the payload of DATA. */
static const char *taken(void)
{
    static uint8_t all[1 << 16];
    static char text[256];
    char *to = text;
    size_t at = REC_STREAM;
    ssize_t n = read(taker, all, sizeof all);
    for (; n > 0 && at + REC_HEADER <= (size_t)n;) {
        struct rec r;
        memcpy(&r, all + at, REC_HEADER);
        *to++ = r.type == REC_FLOW ? 'F' : r.type == REC_CHECK ? 'C' : r.type == REC_END ? 'E' : 'D';
        if (r.type == REC_DATA)
            to += snprintf(to, 100, "(%.*s)", (int)r.len, (const char *)all + at + REC_HEADER);
        at += REC_HEADER + r.len;
    }
    *to = '\0';
    return text;
}

static void end_stream(void)
{
    EQ_I(stream_close(&st), EXIT_DONE);
    stream_free(&st);
    close(taker);
}

/* Bytes of a flow that goes on come before its FLOW record: that, and a CHECK record, stand before them, and
 * they are what was read. */
static void test_early(void)
{
    begin_stream(7);
    answered = true;
    bytes = "journal entries";
    stream_turn(&st, 0);
    EQ_S(taken(), "FCD(journal entries)");
    EQ(losses, 0);
    st.status = EXIT_DONE;
    end_stream();
}

static void test_never_announced(void)
{
    begin_stream(7);
    answered = false;
    bytes = "x";
    stream_turn(&st, 0);
    EQ(losses, 1);
    end_stream();
}

/* The first record's payload after the stream's header. */
static const char *first_payload(void)
{
    static uint8_t all[4096];
    struct rec r;
    ssize_t n = read(taker, all, sizeof all - 1);
    if (!CHECK(n >= (ssize_t)(REC_STREAM + REC_HEADER)))
        return "";
    memcpy(&r, all + REC_STREAM, REC_HEADER);
    all[REC_STREAM + REC_HEADER + r.len] = '\0';
    return (const char *)all + REC_STREAM + REC_HEADER;
}

/* A FLOW record names a lineage where the flow has one of its own, be it the same as the session's. */
static void test_lineage(void)
{
    static const struct lineage same = {.replid = "ours"}, other = {.replid = "a b", .top = "c"};
    static const struct lineage *const each[] = {NULL, &same, &other};
    static const char *const want[] = {"", "replid=ours\n", "replid=a%20b\nlineage=c\n"};
    for (size_t i = 0; i < 3; i++) {
        char text[200], token[TOKEN_LEN + 1] = "";
        own = each[i];
        begin_stream(0);
        memset(token, 't', TOKEN_LEN);
        snprintf(text, sizeof text, "flow=0\nmode=FULL\ntoken=%s\n%sdb=0\n", token, want[i]);
        stream_turn(&st, 0);
        EQ_S(first_payload(), text);
        end_stream();
    }
    own = NULL;
}

/* END waits for keys that are being read again; what is applied is acknowledged before the connection is
 * closed. */
static void test_end(void)
{
    begin_stream(0);
    bytes = "snapshot";
    stream_turn(&st, 0);
    st.flows[0].applied = 12;
    wanted = 1;
    stream_stop(&st, "stop", EXIT_DONE);
    stream_turn(&st, 0);
    CHECK(!stream_ending(&st));
    EQ_S(taken(), "FD(snapshot)");
    wanted = 0;
    stream_turn(&st, 0);
    CHECK(st.state == STREAM_ENDED);
    stream_finish(&st);
    stream_turn(&st, 0);
    EQ(told, 12);
    CHECK(st.state == STREAM_LINGER);
    end_stream();
}

int main(void)
{
    test_early();
    test_never_announced();
    test_lineage();
    test_end();
    return test_done();
}
