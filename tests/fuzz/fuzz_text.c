/* Text from outside: control lines, metadata, URLs, sizes, versions. */
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "../../common/ctl.h"
#include "../../common/meta.h"
#include "../../common/size.h"
#include "../../common/url.h"
#include "../../common/filter.h"
#include "../../parser/target.h"

/* Any value survives being written and read. */
static void round_trip(const uint8_t *p, size_t n)
{
    struct buf b = {0};
    char *back = malloc(n + 1);
    meta_add(&b, "name", p, n, ' ');
    HOLDS(meta_get(b.p, b.len, "name", back, n + 1) == (long)n);
    HOLDS(memcmp(back, p, n) == 0);
    for (size_t i = 0; i + 1 < b.len; i++)
        HOLDS(b.p[i] > 0x20 && b.p[i] < 0x7f);
    free(back);
    buf_free(&b);
}

static void lines(const uint8_t *p, size_t n)
{
    struct ctl c;
    int sv[2];
    uint64_t u;
    char v[64];
    struct target t;
    HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
    ctl_init(&c, sv[0]);
    for (size_t at = 0; at < n;) {
        size_t step = n - at < 777 ? n - at : 777;
        HOLDS(write(sv[1], p + at, step) == (ssize_t)step);
        at += step;
        if (ctl_fill(&c) < 0)
            break;
        for (const char *line; (line = ctl_line(&c)) != NULL;) {
            (void)ctl_is(line, "target");
            (void)ctl_get(line, "kind", v, sizeof v);
            (void)ctl_getu(line, "rdb", &u);
            if (target_read(&t, line, strlen(line)))
                HOLDS(t.version != 0);
        }
    }
    ctl_close(&c);
    close(sv[1]);
}

static void words(const char *text)
{
    struct url u;
    struct target t;
    uint64_t size;
    char shown[400];
    if (url_parse(&u, text) == NULL) {
        HOLDS(u.scheme[0] != '\0' && u.seeds > 0);
        HOLDS(u.host[0] != '\0' ? atoi(u.port) > 0 : u.seed[0].host[0] == '/'); /* a Unix socket */
        url_show(&u, shown, sizeof shown);
        const char *once = strstr(text, u.password); /* twice: what is shown may be the other one */
        if (strlen(u.password) > 8 && (once == NULL || strstr(once + 1, u.password) == NULL))
            HOLDS(strstr(shown, u.password) == NULL);
    }
    char *copy = (char *)fuzz_exact(text, strlen(text) + 1);
    url_hide_argument(copy);
    HOLDS(strlen(copy) == strlen(text));
    free(copy);
    (void)size_parse(text, &size);
    if (target_parse(&t, text))
        HOLDS(t.kind == SERVER_PORTABLE || t.rdb > 0);
    const uint8_t *p = (const uint8_t *)text;
    size_t n = strlen(text), half = n / 2;
    (void)glob_match(p, half, p + half, n - half);
    HOLDS(glob_match((const uint8_t *)"*", 1, p, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char v[16];
    uint64_t u;
    uint8_t *p = fuzz_exact(data, size);
    (void)meta_get(p, size, "flows", v, sizeof v);
    (void)meta_getu(p, size, "epoch", &u);
    free(p);
    round_trip(data, size);
    lines(data, size);
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    words(text);
    free(text);
    return 0;
}
