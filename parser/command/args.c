#include "args.h"

#include <stdlib.h>

bool arg_is(const struct slice *s, const char *word)
{
    size_t n = strlen(word);
    if (s->n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((s->p[i] >= 'a' && s->p[i] <= 'z' ? s->p[i] - 32 : s->p[i]) != word[i])
            return false;
    return true;
}

bool arg_number(const struct slice *s, int64_t *v)
{
    char text[24];
    char *end;
    if (s->n == 0 || s->n >= sizeof text)
        return false;
    memcpy(text, s->p, s->n);
    text[s->n] = '\0';
    *v = strtoll(text, &end, 10);
    return *end == '\0';
}

uint64_t arg_from_now(const struct slice *s, int64_t unit, uint64_t now_ms)
{
    int64_t v;
    if (!arg_number(s, &v) || v <= 0 || v > INT64_MAX / 1000 / unit)
        return 0;
    return now_ms + (uint64_t)(v * unit);
}

uint64_t arg_from_epoch(const struct slice *s, int64_t unit)
{
    int64_t v;
    if (!arg_number(s, &v) || v > INT64_MAX / 1000 / unit)
        return 0;
    return v > 0 ? (uint64_t)(v * unit) : 1;
}

bool arg_expiry(const struct slice *a, size_t n, uint64_t now_ms, uint64_t *ms, bool *at)
{
    bool milli = arg_is(a, "PX") || arg_is(a, "PXAT");
    *at = arg_is(a, "EXAT") || arg_is(a, "PXAT");
    if (n < 2 || (!milli && !*at && !arg_is(a, "EX")))
        return false;
    *ms = *at ? arg_from_epoch(a + 1, milli ? 1 : 1000) : arg_from_now(a + 1, milli ? 1 : 1000, now_ms);
    return true;
}

bool args_restore(const struct slice *argv, size_t argc, uint64_t now_ms, uint64_t *ms)
{
    int64_t ttl;
    bool absolute = false;
    if (argc < 4 || !arg_number(&argv[2], &ttl) || ttl < 0)
        return false;
    for (size_t i = 4; i < argc; i++)
        absolute |= arg_is(&argv[i], "ABSTTL");
    *ms = (uint64_t)ttl + (ttl != 0 && !absolute ? now_ms : 0);
    return true;
}

int args_keep(struct buf *b, const struct slice *argv, size_t argc)
{
    int rc = 0;
    for (size_t i = 0; i < argc && rc == 0; i++) {
        uint64_t n = argv[i].n;
        rc = buf_add(b, &n, sizeof n);
        if (rc == 0)
            rc = buf_add(b, argv[i].p, argv[i].n);
    }
    return rc;
}

const uint8_t *args_kept(const uint8_t *p, struct slice *argv, size_t argc)
{
    for (size_t i = 0; i < argc; i++) {
        uint64_t n;
        memcpy(&n, p, sizeof n);
        argv[i] = (struct slice){p + sizeof n, n};
        p += sizeof n + n;
    }
    return p;
}
