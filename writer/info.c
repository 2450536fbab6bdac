#include "info.h"

#include <string.h>

/* What a server says of itself goes into messages: one word, of which nothing can be taken for another. */
static char plain(char c)
{
    return c > ' ' && c <= '~' && c != '"' && c != '\\' ? c : '?';
}

void info_field(const char *text, const char *name, char *out, size_t cap)
{
    size_t len = strlen(name);
    out[0] = '\0';
    for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
        if (*p == '\n')
            p++;
        if (strncmp(p, name, len) != 0 || p[len] != ':')
            continue;
        size_t n = strcspn(p + len + 1, "\r\n");
        if (n >= cap)
            n = cap - 1;
        for (size_t i = 0; i < n; i++)
            out[i] = plain(p[len + 1 + i]);
        out[n] = '\0';
        return;
    }
}
