#include "json.h"

#include <stdio.h>
#include <string.h>

void json_add(struct buf *b, const void *p, size_t n)
{
    const unsigned char *c = p;
    (void)buf_add(b, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        char esc[8];
        if (c[i] == '"' || c[i] == '\\') {
            esc[0] = '\\';
            esc[1] = (char)c[i];
            (void)buf_add(b, esc, 2);
        } else if (c[i] >= 0x20 && c[i] < 0x7f) {
            (void)buf_add(b, c + i, 1);
        } else {
            int k = snprintf(esc, sizeof esc, "\\u%04x", c[i]);
            (void)buf_add(b, esc, (size_t)k);
        }
    }
    (void)buf_add(b, "\"", 1);
}

void json_adds(struct buf *b, const char *s)
{
    json_add(b, s, strlen(s));
}
