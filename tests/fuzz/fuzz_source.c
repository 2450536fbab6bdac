/* What dfreader gets from a server and on its control socket: replies of the handshake, of DFLY FLOW and
 * INFO; lines of a writer and of a session; the first bytes of a file. First byte: what the rest
 * is. */
#include "fuzz.h"

#include <hiredis/hiredis.h>

#include "../../common/exits.h"
#include "../../common/log.h"
#include "../../reader/file/file_kind.h"
#include "../../reader/resume.h"
#include "../../reader/reply.c"
#include "../../reader/dragonfly/handshake.c"

/* No connection here. */
int conn_auth(struct conn *l, const struct url *u)
{
    (void)l;
    (void)u;
    return 0;
}

int conn_request(struct conn *l, int n, const char *const *args)
{
    (void)l;
    (void)n;
    (void)args;
    return 0;
}

/* It can stand in a line of the log, in quotes. */
static void harmless(const char *text)
{
    for (; *text != '\0'; text++)
        HOLDS(*text >= ' ' && *text <= '~' && *text != '"');
}

static void check_fault(const struct fault *f)
{
    HOLDS(f->status == EXIT_CANNOT || f->status == EXIT_RETRY);
    HOLDS(f->text[0] != '\0');
    harmless(f->text);
}

static void one_reply(const struct reply *r, unsigned choice)
{
    static const char own[] = "0123456789012345678901234567890123456789";
    struct sessinfo s = {.flows = 0}, again;
    struct fault f = {.status = 0};
    char token[TOKEN_LEN + 1];
    bool partial;
    if (handshake_session(own, r, &s, &f) < 0) {
        check_fault(&f);
    } else {
        struct buf b = {.max = 4096};
        HOLDS(s.flows >= 1 && s.flows <= REC_FLOWS_MAX && strlen(s.lineage.replid) == REPLID_LEN);
        HOLDS(meta_is_word(s.session) && meta_is_word(s.lineage.top));
        /* The line to flow processes is read back as it was. */
        s.epoch = 1;
        memset(s.nonce, 'a', 32);
        memcpy(s.source, "dragonfly", 10);
        memcpy(s.control, "/x", 3);
        sessinfo_format(&s, &b, ' ');
        (void)buf_add(&b, "", 1);
        HOLDS(sessinfo_parse(&again, (const char *)b.p));
        HOLDS(memcmp(&s, &again, sizeof s) == 0);
        buf_free(&b);
    }
    if (handshake_flow(r, (choice & 1) != 0, &partial, token, &f) < 0)
        check_fault(&f);
    else
        HOLDS(strlen(token) == TOKEN_LEN && (!partial || (choice & 1) != 0));
    fault_reply(&f, (choice & 2) != 0 ? "DFLY SYNC" : "AUTH", r);
    check_fault(&f);
}

static void replies(const uint8_t *p, size_t n, unsigned choice)
{
    struct reply r;
    struct buf whole = {.max = REPLY_MAX};
    uint64_t numbers[8] = {0};
    memset(&r, 0, sizeof r);
    redisReader *reader = reply_reader(&r);
    HOLDS(reader != NULL);
    r.whole = (choice & 4) != 0 ? &whole : NULL;
    r.numbers = (choice & 8) != 0 ? numbers : NULL;
    r.numbers_cap = 8;
    for (size_t at = 0; at < n;) {
        size_t step = n - at < 1 + choice ? n - at : 1 + choice;
        void *object = NULL;
        if (redisReaderFeed(reader, (const char *)p + at, step) != REDIS_OK)
            break;
        at += step;
        if (redisReaderGetReply(reader, &object) != REDIS_OK)
            break;
        if (object != NULL)
            one_reply(&r, choice);
    }
    redisReaderFree(reader);
    buf_free(&whole);
}

static void keyspace(const uint8_t *p, size_t n)
{
    struct sessinfo s = {.flows = 0};
    handshake_keyspace((const char *)p, n, &s);
    HOLDS(strspn(s.dbs, "0123456789,") == strlen(s.dbs));
    HOLDS(s.dbs_known || s.dbs[0] == '\0');
}

/* What was understood of a "start" line is passed on as it was. */
static void passed_on(const struct sessinfo *s)
{
    struct sessinfo again;
    struct buf b = {.max = 8192};
    HOLDS(s->flows >= 1 && s->flows <= REC_FLOWS_MAX && s->epoch >= 1);
    sessinfo_format(s, &b, ' ');
    HOLDS(memchr(b.p, '\n', b.len) == NULL && buf_add(&b, "", 1) == 0);
    HOLDS(sessinfo_parse(&again, (const char *)b.p) && again.flows == s->flows && again.epoch == s->epoch);
    HOLDS(again.resume == s->resume && again.protocol == s->protocol && again.dbs_known == s->dbs_known);
    HOLDS(strcmp(again.nonce, s->nonce) == 0 && lineage_same(&again.lineage, &s->lineage));
    HOLDS(strcmp(again.session, s->session) == 0 && strcmp(again.refused, s->refused) == 0);
    buf_free(&b);
}

static bool sane(const struct lineage *l)
{
    return strlen(l->replid) == REPLID_LEN && meta_is_word(l->replid) && meta_is_word(l->top);
}

/* What was understood is passed on to another process as it was. */
static void passed_on_again(const struct resume *r)
{
    struct resume again = {.state = RESUME_UNKNOWN};
    struct buf b = {.max = 8192};
    resume_say(r, &b);
    HOLDS(buf_add(&b, "", 1) == 0 && !resume_line(&again, (const char *)b.p));
    for (unsigned i = 0; i < r->flows; i++) {
        b.len = 0;
        resume_say_flow(r, i, &b);
        HOLDS(memchr(b.p, '\n', b.len) == NULL && buf_add(&b, "", 1) == 0);
        HOLDS(resume_line(&again, (const char *)b.p) == (i + 1 == r->flows));
    }
    for (unsigned i = 0; i < r->flows; i++)
        HOLDS(again.flow[i].pos == r->flow[i].pos &&
              lineage_same(&again.flow[i].lineage, &r->flow[i].lineage));
    resume_free(&again);
    buf_free(&b);
}

/* All positions are known, one of each flow. */
static void resumable(struct resume *r)
{
    const char *text = resume_vector(r);
    unsigned numbers = 1;
    HOLDS(r->flows >= 1 && r->flows <= REC_FLOWS_MAX && r->got == r->flows);
    for (unsigned i = 0; i < r->flows; i++)
        HOLDS(r->flow[i].pos > 0 && sane(&r->flow[i].lineage));
    HOLDS(strspn(text, "0123456789-") == strlen(text));
    for (; *text != '\0'; text++)
        numbers += *text == '-';
    HOLDS(numbers == r->flows);
    passed_on_again(r);
}

static void lines(const uint8_t *p, size_t n)
{
    struct resume r = {.state = RESUME_UNKNOWN};
    struct sessinfo s;
    char *text = malloc(n + 1);
    memcpy(text, p, n);
    text[n] = '\0';
    for (char *line = text, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (sessinfo_parse(&s, line))
            passed_on(&s);
        if (resume_line(&r, line) && r.state == RESUME_SAVED)
            resumable(&r);
        HOLDS(r.flow == NULL || r.got <= r.flows);
    }
    resume_free(&r);
    free(text);
}

static void kind(const uint8_t *p, size_t n)
{
    int status;
    const char *fault = file_kind_fault(p, n, &status);
    HOLDS((fault == NULL) == (status == EXIT_DONE));
    if (n >= 9 && (memcmp(p, "REDIS", 5) == 0 || memcmp(p, "VALKEY", 6) == 0))
        HOLDS(fault == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *p = fuzz_exact(data + 1, size - 1);
    switch (data[0] >> 6) {
    case 0: replies(p, size - 1, data[0] & 63); break;
    case 1: keyspace(p, size - 1); break;
    case 2: lines(p, size - 1); break;
    default: kind(p, size - 1); break;
    }
    free(p);
    return 0;
}
