/* dfreader's output at the bound of its spool: the source is slowed down, what the log and the status say of
 * it, and when. The clock is the test's. */
#include "test.h"

#include "../../common/io.h"
#include "../../common/log.h"

static uint64_t time_us = 1000000000;
static unsigned said;

static uint64_t test_clock(void)
{
    return time_us;
}

__attribute__((format(printf, 3, 4))) static void test_log(enum log_level level, int flow, const char *fmt,
                                                           ...)
{
    (void)level;
    (void)flow;
    said += strstr(fmt, "event=spool_full") != NULL;
}

#define mono_us   test_clock
#define log_event test_log
#include "../../common/loop.c"
#include "../../reader/output.c"
#include "../../common/spool.c"

#define SECOND   ((uint64_t)1000000)
#define SPOOLED  ((uint64_t)1 << 20)
#define BUFFERED ((size_t)256 << 10)

static struct loop loop;
static struct output out;
static int taker; /* what reads the output */

static void begin(void)
{
    int ends[2];
    char path[40];
    CHECK(pipe(ends) == 0);
    taker = ends[0];
    CHECK(fcntl(taker, F_SETFL, O_NONBLOCK) == 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
    const struct options o = {
        .output = path, .buffer = BUFFERED, .spool = "/tmp", .spool_max = SPOOLED, .spill_max = SPOOLED};
    loop_init(&loop);
    EQ_I(output_open(&out, &loop, &o), 0);
    close(ends[1]);
}

static void end(void)
{
    output_free(&out);
    loop_free(&loop);
    close(taker);
}

/* As the owner does: as long as it is not full. */
static void fill(void)
{
    memset(output_room(&out), 'x', DATA_MAX);
    unsigned n = 0;
    while (!output_full(&out) && n++ < 1000)
        EQ_I(output_data(&out, 0, 1, 0, DATA_MAX), 0);
    CHECK(n > (SPOOLED + BUFFERED) / 2 / DATA_MAX && n < 1000);
}

static void take_everything(void)
{
    static uint8_t sink[1 << 20];
    while (!output_flushed(&out) || output_behind(&out)) {
        while (read(taker, sink, sizeof sink) > 0)
            ;
        loop_wait(&loop, 0);
    }
    CHECK(!output_full(&out));
}

static void test_said_once(void)
{
    begin();
    CHECK(!output_spool_full(&out));
    fill();
    EQ(said, 1);
    CHECK(output_spool_full(&out));
    time_us += 600 * SECOND;
    CHECK(output_full(&out)); /* the same one still */
    EQ(said, 1);
    /* Emptied and filled again and again, never well for a minute. */
    for (int i = 0; i < 20; i++) {
        take_everything();
        CHECK(output_spool_full(&out));
        time_us += (i % 2 == 0 ? 59 : 1) * SECOND;
        fill();
        EQ(said, 1);
    }
    take_everything();
    time_us += 9 * SECOND;
    CHECK(output_spool_full(&out));
    time_us += 1 * SECOND;
    CHECK(!output_spool_full(&out));
    EQ(said, 1);
    time_us += 50 * SECOND;
    fill();
    EQ(said, 2);
    end();
}

/* A steady load: the queue is never empty, but short, and nothing of it is on the disk. */
static void test_steady(void)
{
    static uint8_t sink[60000];
    begin();
    fill();
    while (out.q.disk > 0 || spool_len(&out.q) > BUFFERED / 4) {
        CHECK(read(taker, sink, sizeof sink) != 0);
        loop_wait(&loop, 0);
    }
    CHECK(output_spool_full(&out));
    for (int i = 0; i < 100; i++) {
        time_us += SECOND;
        EQ_I(output_data(&out, 0, 1, 0, sizeof sink - REC_HEADER), 0);
        CHECK(read(taker, sink, sizeof sink) != 0);
        loop_wait(&loop, 0);
        CHECK(!output_flushed(&out) && !output_full(&out));
    }
    CHECK(!output_spool_full(&out));
    take_everything();
    end();
}

static void test_read_on(void)
{
    begin();
    fill();
    out.read_on = true;
    CHECK(!output_full(&out));
    EQ_I(output_data(&out, 0, 1, 0, DATA_MAX), 0); /* into the spill */
    CHECK(output_spool_full(&out));
    out.read_on = false;
    take_everything();
    end();
}

int main(void)
{
    test_said_once();
    test_steady();
    test_read_on();
    return test_done();
}
