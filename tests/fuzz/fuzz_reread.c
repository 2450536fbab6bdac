/* Keys read again, with answers that fit and others: whatever comes, what is written is well-formed,
 * positions never go back, nothing is kept beyond the bound, and at the end nothing is left. First byte:
 * target; then steps of a byte and what it needs: entries of a few keys, answers, arbitrary KEY records. */
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

#include "../unit/canon.h"
#include "../../common/crc64.h"
#include "../../parser/session.h"

struct input {
    const uint8_t *p, *end;
};

static unsigned take(struct input *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static struct parser *parser;
static uint64_t at; /* in the flow */

static int record(unsigned type, unsigned flags, uint64_t pos, const void *p, size_t n)
{
    struct rec r = {.type = (uint8_t)type,
                    .flags = (uint16_t)flags,
                    .epoch = 1,
                    .len = (uint32_t)n,
                    .pos = pos,
                    .time = NOW_MS * 1000};
    uint8_t *copy = fuzz_exact(p, n);
    int rc = parser_record(parser, &r, copy);
    free(copy);
    return rc;
}

static void plen(struct buf *b, size_t v)
{
    uint8_t c[2] = {(uint8_t)(0x40 | v >> 8), (uint8_t)v};
    (void)buf_add(b, c, 2);
}

/* Words of a line, as a journal entry. */
static int entry(const char *line)
{
    struct buf b = {0};
    size_t argc = 1, total = strlen(line);
    for (const char *p = line; *p != '\0'; p++)
        argc += *p == ' ';
    (void)buf_add(&b, "\x0a\x07\x01", 3);
    plen(&b, argc);
    plen(&b, total - (argc - 1));
    for (const char *p = line; argc > 0; argc--) {
        size_t n = strcspn(p, " ");
        plen(&b, n);
        (void)buf_add(&b, p, n);
        p += n + 1;
    }
    int rc = record(REC_DATA, 0, at, b.p, b.len);
    at += b.len;
    buf_free(&b);
    return rc;
}

static int command(struct input *in, unsigned op)
{
    static const char *const forms[] = {"CL.THROTTLE k%u 1 1 1",
                                        "APPEND k%u x",
                                        "DEL k%u k%u",
                                        "MSET k%u 1 k%u 2",
                                        "RENAME k%u k%u",
                                        "MOVE k%u %u",
                                        "FLUSHALL",
                                        "NOSUCH k%u k%u",
                                        "COPY k%u k%u DB 1",
                                        "SORT k%u STORE k%u",
                                        "SUNIONSTORE k%u k%u o",
                                        "FLUSHDB",
                                        "EXPIRE k%u 100",
                                        "DELEX k%u IFDEQ 0",
                                        "SET k%u v KEEPTTL",
                                        "PING"};
    char line[80], number[4] = "0";
    unsigned keys = take(in), n = 0;
    for (const char *p = forms[op & 15]; *p != '\0'; p++) {
        if (*p != '%') {
            line[n++] = *p;
            continue;
        }
        number[0] = (char)('0' + (keys & 3));
        line[n++] = number[0];
        keys >>= 2;
        p++;
    }
    line[n] = '\0';
    return entry(line);
}

/* About where the flow is; state and value as the bytes say. */
static int answer(struct input *in)
{
    static const char *const states[] = {"value", "value", "missing", "error"};
    struct buf b = {0};
    unsigned what = take(in), place = take(in), type = take(in);
    uint64_t from = parser->flows[0]->to.next_lsn + (place & 15) - 8, to = from + (place >> 4 & 3);
    (void)buf_addf(&b, "key=k%u\ndb=%u\nstate=%s\nttl=%d\nfrom=%llu\nto=%llu\n\n", what & 3, what >> 2 & 1,
                   states[what >> 3 & 3], (int)(what >> 5) - 2, (unsigned long long)from,
                   (unsigned long long)to);
    size_t start = b.len, n = take(in) % 32;
    uint8_t c = (uint8_t)type;
    (void)buf_add(&b, &c, 1);
    for (size_t i = 0; i < n; i++) {
        c = (uint8_t)take(in);
        (void)buf_add(&b, &c, 1);
    }
    (void)buf_add(&b, "\x09\0", 2);
    uint64_t crc = crc64(0, b.p + start, b.len - start);
    (void)buf_add(&b, &crc, 8);
    size_t half = (place >> 6) * b.len / 4;
    int rc = record(REC_KEY, RF_MORE, 0, b.p, half);
    if (rc == 0)
        rc = record(REC_KEY, 0, 0, b.p + half, b.len - half);
    buf_free(&b);
    return rc;
}

static int step(struct input *in)
{
    unsigned op = take(in);
    if (op < 0xa0)
        return command(in, op);
    if (op < 0xf0)
        return answer(in);
    if (op < 0xf8) {
        parser->rereads.ctl->fd = op == 0xf7 ? -1 : parser->rereads.ctl->fd;
        parser_poll(parser);
        return 0;
    }
    size_t n = take(in);
    if (n > (size_t)(in->end - in->p))
        n = (size_t)(in->end - in->p);
    int rc = record(REC_KEY, op & 1 ? RF_MORE : 0, 0, in->p, n);
    in->p += n;
    return rc;
}

static void begin(unsigned choice, int fds[2])
{
    static const char session[] =
        "nonce=00000000000000000000000000000000\nsource=dragonfly\nflows=2\nepoch=1\njournal=1\n";
    static const char flow[] = "flow=0\nmode=PARTIAL\nlsn=100\n";
    static struct options opt;
    opt = (struct options){.have_target = true, .restore_limit = 65536, .part_size = 65536};
    fuzz_target(&opt.target, choice, 0);
    opt.target.cluster = (choice & 8) != 0;
    parser = calloc(1, sizeof *parser);
    HOLDS(parser != NULL && socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    parser_init(parser, &opt, -1);
    emit_free(&parser->e);
    struct target t = opt.target;
    fuzz_emit(&parser->e, (uint8_t)(choice & 7), 0);
    parser->e.target = t;
    parser->in_stream = true;
    HOLDS(record(REC_SESSION, 0, 0, session, sizeof session - 1) == 0);
    ctl_init(&parser->ctl, fds[0]);
    at = 0;
    HOLDS(record(REC_FLOW, 0, 0, flow, sizeof flow - 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buf text;
    char sink[8192];
    int fds[2];
    struct input in = {data, data + size};
    unsigned choice = take(&in);
    begin(choice, fds);
    uint64_t before = 0;
    for (int rc = 0; rc == 0 && in.p < in.end;) {
        rc = step(&in);
        uint64_t reached = sink_reached(&parser->flows[0]->to);
        HOLDS(reached >= before && reached <= parser->flows[0]->to.next_lsn);
        HOLDS(parser->rereads.bytes <= REREAD_BYTES && parser->rereads.count <= REREAD_KEYS);
        before = reached;
        while (recv(fds[1], sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
    }
    parser_end_rereads(parser);
    HOLDS(parser->rereads.count == 0);
    /* Nothing is under way; what was left to the run that resumes is all that holds a position. */
    const struct sink *to = &parser->flows[0]->to;
    HOLDS(to->hold == to->left_at && to->due == UINT64_MAX);
    HOLDS(to->left_at == UINT64_MAX || to->left_at <= to->next_lsn);
    buf_free(&parser->flows[0]->to.answer);
    fuzz_canon(&parser->e, &text);
    parser->e = (struct emit){0};
    if (parser->ctl.fd < 0)
        close(fds[0]);
    parser_free(parser);
    free(parser);
    close(fds[1]);
    return 0;
}
