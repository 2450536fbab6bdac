#include "psync_scan.h"

#include <string.h>
#include <strings.h>

#define NUMBER_MAX ((uint64_t)1 << 40) /* no length is larger */
#define HEADER_MAX 16

void psync_scan_begin(struct psync_scan *s, uint64_t offset)
{
    *s = (struct psync_scan){.offset = offset, .begun = offset};
}

static bool is(const struct psync_scan *s, unsigned word, const char *text)
{
    return s->len[word] == strlen(text) && strncasecmp(s->words[word], text, s->len[word]) == 0;
}

/* A command has ended. */
static void end_command(struct psync_scan *s)
{
    if (is(s, 0, "REPLCONF") && is(s, 1, "GETACK")) {
        s->asked = s->begun;
        s->asks = true;
    } else if (is(s, 0, "CLUSTER") && is(s, 1, "SETSLOT")) {
        s->setslot = s->offset;
        s->asks = true;
    }
    s->begun = s->offset;
}

/* A header is complete. */
static void end_line(struct psync_scan *s)
{
    if (s->type == '*') {
        s->args = s->number;
        s->word = 0;
        memset(s->len, 0, sizeof s->len);
        if (s->args == 0)
            end_command(s);
    } else {
        s->left = s->number + 2;
        if (s->word < SCAN_WORDS) /* longer words are none that count */
            s->len[s->word] = (uint8_t)(s->number < UINT8_MAX ? s->number : UINT8_MAX);
    }
    s->line = 0;
}

/* One byte of a header: '*' between commands, '$' within one. */
static void take_line(struct psync_scan *s, uint8_t c)
{
    bool digit = c >= '0' && c <= '9';
    s->offset++;
    if (s->line == 0 && c == '\n' && s->args == 0) { /* a newline between commands keeps a connection alive */
        s->begun = s->offset;
    } else if (s->line == 0) {
        s->lost = c != (s->args == 0 ? '*' : '$');
        s->type = (char)c;
        s->number = 0;
        s->line = 1;
    } else if (c == '\n') {
        end_line(s);
    } else {
        s->lost = (!digit && c != '\r') || s->number > NUMBER_MAX || s->line == HEADER_MAX;
        s->number = digit ? s->number * 10 + (uint64_t)(c - '0') : s->number;
        s->line++;
    }
}

/* Bytes of an argument. Returns how many of them. */
static size_t take_argument(struct psync_scan *s, const uint8_t *p, size_t n)
{
    size_t k = s->left < n ? (size_t)s->left : n;
    if (s->word < SCAN_WORDS && s->len[s->word] <= SCAN_WORD) {
        size_t at = (size_t)(s->len[s->word] + 2 - s->left);
        for (size_t i = 0; i < k && at + i < s->len[s->word]; i++)
            s->words[s->word][at + i] = (char)p[i];
    }
    s->left -= k;
    s->offset += k;
    if (s->left > 0)
        return k;
    s->word++;
    s->args--;
    if (s->args == 0)
        end_command(s);
    return k;
}

void psync_scan(struct psync_scan *s, const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n && !s->lost) {
        if (s->left > 0)
            i += take_argument(s, p + i, n - i);
        else
            take_line(s, p[i++]);
    }
    s->offset += n - i; /* bytes are counted in any case */
}
