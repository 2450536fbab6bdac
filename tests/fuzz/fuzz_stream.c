/* A raw record stream through the whole parser, in every form of output. First byte: form, whether the
 * rest is the stream itself or the bytes of a flow that are put into records here, and the target. */
#include "fuzz.h"

#include <errno.h>
#include <unistd.h>

#include "../../common/record.h"
#include "../../parser/session.h"

static void add(struct buf *b, unsigned type, const void *payload, size_t n, uint64_t pos)
{
    struct rec r = {.type = (uint8_t)type, .epoch = 1, .pos = pos, .len = (uint32_t)n, .time = NOW_MS * 1000};
    uint8_t h[REC_HEADER];
    rec_encode(h, &r);
    (void)buf_add(b, h, sizeof h);
    (void)buf_add(b, payload, n);
}

static void add_text(struct buf *b, unsigned type, const char *text)
{
    add(b, type, text, strlen(text), 0);
}

static void wrap(struct buf *b, const uint8_t *p, size_t n, bool file)
{
    uint8_t h[REC_STREAM];
    rec_stream_header(h, KIND_RAW);
    (void)buf_add(b, h, sizeof h);
    add_text(b, REC_SESSION,
             file ? "nonce=0123\nsource=file\nflows=1\nepoch=1\njournal=0\n"
                  : "nonce=0123\nsource=dragonfly\nflows=1\nepoch=1\njournal=1\n");
    add_text(b, REC_FLOW, file ? "flow=0\nmode=FILE\n" : "flow=0\nmode=FULL\n");
    for (size_t at = 0; at < n;) {
        size_t step = n - at < 700 ? n - at : 700;
        add(b, REC_DATA, p + at, step, at);
        at += step;
    }
    add_text(b, REC_END, "reason=complete\nstatus=0\n");
}

static void run(struct parser *p, int fd)
{
    struct recin in;
    struct rec r;
    const uint8_t *payload;
    recin_init(&in, fd, KIND_RAW);
    for (bool more = true; more;) {
        switch (recin_next(&in, &r, &payload)) {
        case RECIN_RECORD: more = parser_record(p, &r, payload) == 0; break;
        case RECIN_MORE: more = recin_fill(&in) >= 0; break;
        case RECIN_STREAM: break;
        case RECIN_END: more = false; break;
        case RECIN_CUT:
        case RECIN_DAMAGED:
            parser_fault(p, 4, "error", in.error);
            more = false;
            break;
        }
    }
    recin_free(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct options opt = {.restore_limit = 64, .part_size = 64, .target_timeout = 0};
    struct buf b = {0};
    if (size < 1)
        return 0;
    opt.mode = (enum emit_mode)(data[0] & 3);
    opt.have_target = (data[0] & 4) != 0;
    unsigned more = (data[0] & 64) != 0 ? 9 | data[0] >> 1 : 0;
    fuzz_target(&opt.target, more != 0 ? data[0] >> 4 & 7 : 4 + (data[0] >> 5 & 3), more);
    opt.hints = (more & 8) != 0;
    if ((data[0] & 128) != 0)
        opt.filter = *fuzz_filter(data[0] >> 4 | 2); /* shares its texts */
    if ((data[0] & 8) != 0)
        (void)buf_add(&b, data + 1, size - 1);
    else
        wrap(&b, data + 1, size - 1, (data[0] & 16) != 0);
    /* A control socket is none of this test's business. */
    for (size_t i = 0; i + 8 <= b.len; i++)
        if (memcmp(b.p + i, "control=", 8) == 0)
            b.p[i] = 'C';
    int fd = fuzz_file(b.p, b.len), out = fuzz_file("", 0);
    struct parser *p = xcalloc(1, sizeof *p);
    parser_init(p, &opt, out);
    run(p, fd);
    int status = parser_end(p);
    HOLDS(status >= 0 && (status <= 5 || status == 75));
    HOLDS(!p->e.failed || (p->e.fault == EPROTO && status != 0)); /* flows that disagree on a FLUSH */
    parser_free(p);
    free(p);
    buf_free(&b);
    close(fd);
    close(out);
    return 0;
}
