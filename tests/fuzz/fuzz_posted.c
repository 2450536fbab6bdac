/* What is posted to df2redis-monitor. First byte: what the request is for, and whether files may be named;
 * then its bytes. A configuration that comes out says to df2redis what was checked and nothing else: read
 * again by its parser each line is one entry of the section, with a name of the list, and no path but in the
 * directory of files. */
#include "fuzz.h"

#include "../../monitor/posted.c"
#include "../../monitor/posted_names.c"

#define FILES "/files"

static void check_why(bool ok, const char *why)
{
    size_t n = strlen(why);
    HOLDS(ok || (n > 0 && n < 200));
    for (size_t i = 0; i < n && !ok; i++)
        HOLDS(why[i] >= 0x20 && why[i] <= 0x7e);
}

struct again {
    bool files; /* may be named */
    unsigned entries;
    char kind[32], source[256], target[256];
};

static int entry(void *user, const char *section, const char *name, const char *value)
{
    struct again *a = user;
    unsigned side;
    const struct posted_name *row = posted_name_find(name, &side);
    HOLDS(strcmp(section, "df2redis") == 0 && row != NULL);
    a->entries++;
    if (row->form == POSTED_FILE)
        HOLDS(a->files && strncmp(value, FILES "/", sizeof FILES) == 0 && is_task_name(value + sizeof FILES));
    if (strcmp(name, "kind") == 0)
        strlcpy(a->kind, value, sizeof a->kind);
    if (row->form == POSTED_END)
        strlcpy(strcmp(name, "source") == 0 ? a->source : a->target, value, sizeof a->source);
    return 1;
}

static void check_end(const struct again *a, const char *value, bool file)
{
    if (file)
        HOLDS(a->files && strncmp(value, FILES "/", sizeof FILES) == 0 && is_task_name(value + sizeof FILES));
    else
        HOLDS(is_server(value) && strstr(value, "unix") != value);
}

static void check_config(struct posted *p, bool files)
{
    struct again a = {.files = files};
    unsigned lines = 0;
    HOLDS(is_task_name(p->name));
    for (size_t i = 0; i < p->config.len; i++) {
        HOLDS(p->config.p[i] >= 0x20 || p->config.p[i] == '\n');
        lines += p->config.p[i] == '\n';
    }
    HOLDS(buf_add(&p->config, "", 1) == 0);
    HOLDS(ini_parse_string((const char *)p->config.p, entry, &a) == 0);
    HOLDS(a.entries + 1 == lines);
    check_end(&a, a.source, strcmp(a.kind, "import") == 0);
    check_end(&a, a.target, strcmp(a.kind, "export") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[200] = "";
    struct posted p = {.final = false};
    if (size == 0)
        return 0;
    uint8_t *body = fuzz_exact(data + 1, size - 1);
    bool ok, files = (data[0] & 4) != 0;
    switch (data[0] & 3) {
    case 0:
        ok = posted_task(body, size - 1, files ? FILES : NULL, &p, why, sizeof why);
        if (ok)
            check_config(&p, files);
        break;
    case 1: ok = posted_stop(body, size - 1, &p, why, sizeof why); break;
    case 2:
        ok = posted_limit(body, size - 1, &p, why, sizeof why);
        HOLDS(!ok || strspn(p.max_ops, "0123456789") == strlen(p.max_ops));
        HOLDS(!ok || strspn(p.max_bytes, "0123456789") == strlen(p.max_bytes));
        break;
    default: ok = posted_nothing(body, size - 1, why, sizeof why); break;
    }
    check_why(ok, why);
    buf_free(&p.config);
    free(body);
    return 0;
}
