#include "info.h"

#include <string.h>

void info_field(const char *text, const char *name, char *out, size_t cap)
{
    size_t len = strlen(name);
    out[0] = '\0';
    for (const char *p = text; p != NULL; p = strchr(p, '\n')) {
        if (*p == '\n')
            p++;
        if (strncmp(p, name, len) == 0 && p[len] == ':') {
            size_t n = strcspn(p + len + 1, "\r\n");
            if (n >= cap)
                n = cap - 1;
            memcpy(out, p + len + 1, n);
            out[n] = '\0';
            return;
        }
    }
}
