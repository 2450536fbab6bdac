/* What dfreader gets from a Redis or Valkey server: the lines that answer PSYNC, INFO and error texts, and
 * the stream in which it looks for requests of acknowledgement. First byte: what the rest is, and how it is
 * split.
 */
#include "fuzz.h"

#include "../../common/exits.h"
#include "../../reader/redis/psync_reply.c"
#include "../../reader/redis/psync_scan.c"
#include "../../reader/reply.c"

static void lines(const uint8_t *p, size_t n)
{
    struct psync_line_value v = {.offset = 0};
    size_t at = 0, used;
    for (;;) {
        enum psync_line kind = psync_line(p + at, n - at, &used, &v);
        HOLDS(used <= n - at && used <= PSYNC_LINE_MAX);
        HOLDS(kind != PSYNC_MORE || (used == 0 && n - at < PSYNC_LINE_MAX));
        if (kind == PSYNC_FULL || (kind == PSYNC_CONTINUE && v.replid[0] != '\0'))
            HOLDS(strlen(v.replid) == REPLID_LEN && meta_is_word(v.replid));
        HOLDS(kind != PSYNC_FULL || v.offset <= PSYNC_OFFSET_MAX);
        HOLDS(kind != PSYNC_MARK || (strlen(v.mark) == TOKEN_LEN && meta_is_word(v.mark)));
        HOLDS((kind != PSYNC_ERROR && kind != PSYNC_STRANGE) || memchr(v.text, '\0', sizeof v.text) != NULL);
        if (used == 0)
            return;
        at += used;
    }
}

static void texts(const uint8_t *p, size_t n)
{
    char *text = malloc(n + 1), version[48];
    struct fault f;
    uint64_t number;
    memcpy(text, p, n);
    text[n] = '\0';
    info_version(text, version, sizeof version);
    HOLDS(version[0] == '\0' || (meta_is_word(version) && strchr(version, ':') != NULL));
    (void)psync_wants_version(version);
    (void)info_number(text, "master_repl_offset", &number);
    psync_refused(&f, "PSYNC", text);
    HOLDS(f.status == EXIT_CANNOT || f.status == EXIT_RETRY);
    for (const char *c = f.text; *c != '\0'; c++) /* it can stand in a line of the log, in quotes */
        HOLDS(*c >= ' ' && *c <= '~' && *c != '"');
    free(text);
}

/* However it is split, the same is noticed. */
static void stream(const uint8_t *p, size_t n, size_t step)
{
    struct psync_scan whole, parts;
    psync_scan_begin(&whole, 7);
    psync_scan_begin(&parts, 7);
    psync_scan(&whole, p, n);
    for (size_t at = 0; at < n; at += step)
        psync_scan(&parts, p + at, step < n - at ? step : n - at);
    HOLDS(whole.offset == 7 + n && parts.offset == whole.offset && parts.begun == whole.begun);
    HOLDS(parts.asks == whole.asks && parts.asked == whole.asked && parts.setslot == whole.setslot);
    HOLDS(parts.lost == whole.lost && whole.asked <= whole.offset && whole.setslot <= whole.offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *p = fuzz_exact(data + 1, size - 1);
    switch (data[0] >> 6) {
    case 0: lines(p, size - 1); break;
    case 1: texts(p, size - 1); break;
    default: stream(p, size - 1, 1 + (data[0] & 63)); break;
    }
    free(p);
    return 0;
}
