/* What df2redis-monitor is sent and shows. First byte: a header Host, which is accepted only if it is one of
 * the names; or a line of a log, which becomes words that a terminal does not obey, or one JSON object. */
#include "fuzz.h"

#include <string.h>

#include "../../monitor/address.c"
#include "../../common/log_form.h"

/* The name in front of a port, without brackets. */
static bool begins_with(const char *text, const char *name)
{
    size_t n = strlen(name);
    bool brackets = text[0] == '[';
    const char *p = text + brackets;
    if (strncasecmp(p, name, n) != 0)
        return false;
    p += n;
    if (brackets && *p++ != ']')
        return false;
    return *p == '\0' || (*p == ':' && strspn(p + 1, "0123456789") == strlen(p + 1));
}

static void host(const char *text)
{
    static const char *const names[] = {"proxy.example"};
    bool one = begins_with(text, "localhost") || begins_with(text, "127.0.0.1") || begins_with(text, "::1") ||
               begins_with(text, "proxy.example");
    HOLDS(!address_host(text, names, 1) || one);
}

static void line(enum log_form form, const char *text, size_t n)
{
    struct buf b = {.max = 1 << 20};
    log_form_line(form, text, n, &b);
    if (form == LOG_FORM_JSON)
        HOLDS(b.len >= 2 && b.p[0] == '{' && b.p[b.len - 1] == '}');
    for (size_t i = 0; i < b.len && form == LOG_FORM_JSON; i++)
        HOLDS(b.p[i] >= 0x20 && b.p[i] < 0x7f);
    if (form == LOG_FORM_LOGFMT)
        HOLDS(b.len == n && (n == 0 || memcmp(b.p, text, n) == 0));
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = malloc(size); /* of exactly that size, so that a read behind it is seen */
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 4 == 0)
        host(text);
    else
        line((enum log_form)(data[0] % 4), text, size - 1);
    free(text);
    return 0;
}
