/* The record format: dfrecord(5). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#include "../../common/record.h"

static int file_of(const uint8_t *p, size_t n)
{
    int fd = memfd_create("records", MFD_CLOEXEC);
    if (fd < 0 || pwrite(fd, p, n, 0) != (ssize_t)n)
        abort();
    return fd;
}

/* What reading gives, a letter each: S stream header, R record, E end, C cut short, D damaged. */
static void read_all(const uint8_t *p, size_t n, enum rec_kind want, char *out, struct recin *in)
{
    int fd = file_of(p, n);
    struct rec r;
    const uint8_t *payload;
    size_t k = 0;
    recin_init(in, fd, want);
    for (bool more = true; more && k < 100;) {
        switch (recin_next(in, &r, &payload)) {
        case RECIN_MORE:
            if (recin_fill(in) < 0)
                abort();
            break;
        case RECIN_RECORD: out[k++] = 'R'; break;
        case RECIN_STREAM: out[k++] = 'S'; break;
        case RECIN_END: out[k++] = 'E', more = false; break;
        case RECIN_CUT: out[k++] = 'C', more = false; break;
        case RECIN_DAMAGED: out[k++] = 'D', more = false; break;
        }
    }
    out[k] = '\0';
    close(fd);
}

static void reads(const struct buf *b, enum rec_kind want, const char *letters, const char *error)
{
    char got[128];
    struct recin in;
    read_all(b->p, b->len, want, got, &in);
    EQ_S(got, letters);
    if (error != NULL && !CHECK(strstr(in.error, error) != NULL))
        printf("  got: %s\n  want: %s\n", in.error, error);
    recin_free(&in);
}

static void add_header(struct buf *b, enum rec_kind kind)
{
    uint8_t *to = buf_room(b, REC_STREAM);
    rec_stream_header(to, kind);
    b->len += REC_STREAM;
}

static void add_record(struct buf *b, struct rec r, const void *payload, size_t n)
{
    r.len = (uint32_t)n;
    if (r.epoch == 0)
        r.epoch = 1;
    uint8_t h[REC_HEADER];
    rec_encode(h, &r);
    (void)buf_add(b, h, sizeof h);
    (void)buf_add(b, payload, n);
}

/* header, SESSION, DATA, END */
static struct buf sample(void)
{
    struct buf b = {0};
    add_header(&b, KIND_RAW);
    add_record(&b, (struct rec){.type = REC_SESSION}, "flows=1\n", 8);
    add_record(&b, (struct rec){.type = REC_DATA, .pos = 0}, "hello", 5);
    add_record(&b, (struct rec){.type = REC_END}, "reason=complete\n", 16);
    return b;
}

static void examples(void)
{
    uint8_t h[REC_STREAM], e[REC_HEADER];
    rec_stream_header(h, KIND_COMMAND);
    EQ_HEX(h, sizeof h, "44 46 52 45 43 0d 0a 1a 01 00 43 00 00 00 00 00 00 00 00 00 00 00 00 00");
    struct buf b = hex("00 00 00 00 22 00 20 00 01 00 ff ff 01 00 00 00 00 00 00 00 00 00 00 00 "
                       "4d 00 00 00 00 00 00 00 d4 04 00 00 00 00 00 00 00 d0 6d 8a 1f 44 06 00");
    struct rec r;
    memcpy(&r, b.p, sizeof r);
    EQ(r.type, REC_POSITION);
    EQ(r.flow, 1);
    EQ(r.slot, REC_NO_SLOT);
    EQ(r.epoch, 1);
    EQ(r.flags, RF_LIVE);
    EQ(r.seq, 77);
    EQ(r.pos, 1236);
    rec_encode(e, &r);
    EQ_B(e, sizeof e, b.p, b.len);
    buf_free(&b);
}

static void whole_and_cut(void)
{
    struct buf b = sample();
    char got[128];
    struct recin in;
    reads(&b, KIND_RAW, "SRRRE", NULL);
    const size_t seams[] = {24, 24 + 56, 24 + 56 + 53, b.len};
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *p = exact(b.p, n);
        read_all(p, n, KIND_RAW, got, &in);
        /* nothing after the cut is handed out, and never is it taken for an end */
        const char *want = n == 0         ? "C"
                           : n < 4        ? "C"
                           : n < seams[0] ? "D"
                           : n < seams[1] ? "SC"
                           : n < seams[2] ? "SRC"
                                          : "SRRC";
        if (!EQ_S(got, want))
            printf("  cut at %zu\n", n);
        CHECK(in.error[0] != '\0');
        recin_free(&in);
        free(p);
    }
    buf_free(&b);
}

static void concatenation(void)
{
    struct buf b = sample(), c = sample();
    (void)buf_add(&b, c.p, c.len);
    reads(&b, KIND_RAW, "SRRRSRRRE", NULL);
    buf_free(&b);
    b = (struct buf){0}; /* the first has no END */
    (void)buf_add(&b, c.p, c.len - 64);
    (void)buf_add(&b, c.p, c.len);
    reads(&b, KIND_RAW, "SRRC", "no END record");
    buf_free(&b);
    b = sample(); /* a record behind the end */
    add_record(&b, (struct rec){.type = REC_DATA}, "x", 1);
    reads(&b, KIND_RAW, "SRRRD", "after the END record");
    buf_free(&b);
    b = sample();
    (void)buf_addstr(&b, "junk");
    reads(&b, KIND_RAW, "SRRRC", NULL);
    buf_free(&b);
    buf_free(&c);
}

/* Change one byte of the sample. */
static void altered(size_t at, unsigned value, const char *letters, const char *error)
{
    struct buf b = sample();
    b.p[at] = (uint8_t)value;
    reads(&b, KIND_RAW, letters, error);
    buf_free(&b);
}

static void damage(void)
{
    struct buf b = sample();
    reads(&b, KIND_COMMAND, "D", "a raw stream where a command stream is needed");
    buf_free(&b);
    for (size_t i = 0; i < 8; i++)
        altered(i, 'x', "D", "wrong magic");
    altered(8, 2, "D", "version is not 1");
    altered(9, 1, "D", "version is not 1");
    altered(10, 'X', "D", "unknown kind");
    altered(10, 'C', "D", "a command stream where a raw one is needed");
    for (size_t i = 11; i < 24; i++)
        altered(i, 1, "D", "unknown fields");
    altered(24 + 3, 1, "SD", "longer than 1 MiB at byte 24");
    static const unsigned bad_types[] = {0, 4, 15, 31, 32, 33, 34, 35, 36, 37, 38, 39, 41, 255};
    for (size_t i = 0; i < sizeof bad_types / sizeof bad_types[0]; i++)
        altered(24 + 4, bad_types[i], "SD", "unknown record type");
    altered(24 + 5, CLASS_COUNT, "SD", "unknown value class");
    altered(24 + 7, 0x10, "SD", "unknown flags");
    altered(24 + 7, 0x80, "SD", "unknown flags");
    altered(24 + 9, 0x04, "SD", "above 1023");
    altered(24 + 12, 0, "SD", "epoch 0");
    altered(24 + 15, 1, "SD", "unknown flags");
    altered(24 + 11, 0x40, "SD", "slot"); /* 16384 */
    altered(80 + 4, 33, "SRD", "unknown record type at byte 80");
}

static void command_records(void)
{
    struct buf b = {0};
    static const char set[] = "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n";
    add_header(&b, KIND_COMMAND);
    for (unsigned type = REC_TARGET; type <= REC_SYNCED; type++)
        add_record(&b, (struct rec){.type = (uint8_t)type, .flags = RF_ALL & ~RF_PLAINSET}, "x", 1);
    add_record(&b, (struct rec){.type = REC_REQUEST, .flags = RF_PLAINSET, .slot = 16383}, set,
               sizeof set - 1);
    add_record(&b, (struct rec){.type = REC_REQUEST, .slot = REC_NO_SLOT}, "", 0);
    add_record(&b, (struct rec){.type = REC_END}, "", 0);
    reads(&b, KIND_COMMAND, "SRRRRRRRRRE", NULL);
    buf_free(&b);
    b = (struct buf){0};
    add_header(&b, KIND_COMMAND);
    add_record(&b, (struct rec){.type = REC_DATA}, "", 0);
    reads(&b, KIND_COMMAND, "SD", "unknown record type");
    buf_free(&b);
    b = (struct buf){0};
    add_header(&b, KIND_COMMAND);
    add_record(&b, (struct rec){.type = REC_REQUEST, .flags = RF_PLAINSET}, set, PLAINSET_PREFIX + 7);
    reads(&b, KIND_COMMAND, "SD", "plain SET too short");
    buf_free(&b);
}

/* Payloads of all sizes come back as they were, also when they arrive byte by byte through a pipe. */
static void payloads(void)
{
    static const size_t sizes[] = {0, 1, 47, 48, 49, 4096, 131071, 131072, 131073, REC_PAYLOAD_MAX};
    struct buf b = {.max = (size_t)64 << 20};
    uint8_t *data = malloc(REC_PAYLOAD_MAX);
    for (size_t i = 0; i < REC_PAYLOAD_MAX; i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    add_header(&b, KIND_RAW);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        add_record(&b, (struct rec){.type = REC_DATA, .pos = i}, data, sizes[i]);
    add_record(&b, (struct rec){.type = REC_END}, "", 0);
    int fd = file_of(b.p, b.len);
    struct recin in;
    struct rec r;
    const uint8_t *payload;
    recin_init(&in, fd, KIND_RAW);
    size_t i = 0;
    for (enum recin_result got = RECIN_MORE; got != RECIN_END;) {
        got = recin_next(&in, &r, &payload);
        if (got == RECIN_MORE && recin_fill(&in) < 0)
            break;
        if (got == RECIN_RECORD && r.type == REC_DATA) {
            EQ(r.pos, i);
            EQ_B(payload, r.len, data, sizes[i]);
            i++;
        }
        CHECK(got != RECIN_CUT && got != RECIN_DAMAGED);
        if (got == RECIN_CUT || got == RECIN_DAMAGED)
            break;
    }
    EQ(i, sizeof sizes / sizeof sizes[0]);
    EQ(in.offset, b.len);
    CHECK(in.b.cap <= REC_PAYLOAD_MAX + 48 + 131072);
    recin_free(&in);
    close(fd);
    free(data);
    buf_free(&b);
}

static void byte_by_byte(void)
{
    struct buf b = sample();
    int p[2];
    struct recin in;
    struct rec r;
    const uint8_t *payload;
    char got[16];
    size_t k = 0;
    if (pipe2(p, O_CLOEXEC) != 0)
        abort();
    recin_init(&in, p[0], KIND_RAW);
    for (size_t i = 0; i < b.len; i++) {
        CHECK(!recin_ready(&in));
        if (write(p[1], b.p + i, 1) != 1 || recin_fill(&in) != 1)
            abort();
        bool ready = recin_ready(&in);
        enum recin_result res = recin_next(&in, &r, &payload);
        CHECK(ready == (res != RECIN_MORE));
        if (res != RECIN_MORE)
            got[k++] = res == RECIN_STREAM ? 'S' : res == RECIN_RECORD ? 'R' : '?';
    }
    close(p[1]);
    got[k] = '\0';
    EQ_S(got, "SRRR");
    EQ_I(recin_next(&in, &r, &payload), RECIN_MORE);
    EQ_I(recin_fill(&in), 0);
    EQ_I(recin_next(&in, &r, &payload), RECIN_END);
    recin_free(&in);
    close(p[0]);
    buf_free(&b);
}

static void writing(void)
{
    int fd = memfd_create("out", MFD_CLOEXEC);
    struct recout o;
    struct rec r = {.type = REC_DATA, .epoch = 1, .flow = 2, .pos = 7};
    recout_init(&o, fd, 100);
    EQ_I(recout_stream(&o, KIND_RAW), 0);
    EQ_I(recout_put(&o, &r, "hello", 5), 0);
    EQ(o.bytes, 0); /* still gathered */
    EQ_I(recout_put(&o, &r, "again", 5), 0);
    EQ(o.bytes, 24 + 53); /* the second did not fit */
    EQ_I(recout_flush(&o), 0);
    EQ(o.bytes, 24 + 53 + 53);
    uint8_t got[24 + 53 + 53 + 1];
    EQ_I(pread(fd, got, sizeof got, 0), 24 + 53 + 53);
    EQ_HEX(got + 24, 53,
           "05000000 10 00 0000 0200 0000 0100 00 00 00000000 00000000 0000000000000000 0700000000000000 "
           "0000000000000000 'hello'");
    recout_free(&o);
    close(fd);
}

/* A reader that goes while we wait for it, and leaves something unread, resets the connection: it has gone
 * like any other. */
static void reader_gone(void)
{
    static uint8_t much[4096];
    struct rec r = {.type = REC_DATA, .epoch = 1, .pos = 7};
    struct recout o;
    int sv[2];
    EQ_I(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    pid_t reader = fork();
    if (reader == 0) {
        close(sv[0]);
        usleep(50000);
        _exit(0);
    }
    close(sv[1]);
    while (send(sv[0], much, 4096, MSG_DONTWAIT) >
           0) /* what waits before its first byte gets to know of the reset */
        continue;
    recout_init(&o, sv[0], 100);
    EQ_I(recout_put(&o, &r, much, 10), 0);
    errno = 0;
    EQ_I(recout_flush(&o), -1);
    EQ(errno, EPIPE);
    recout_free(&o);
    close(sv[0]);
    EQ_I(waitpid(reader, NULL, 0), reader);
}

int main(void)
{
    examples();
    whole_and_cut();
    concatenation();
    damage();
    command_records();
    payloads();
    byte_by_byte();
    writing();
    signal(SIGPIPE, SIG_IGN);
    reader_gone();
    return test_done();
}
