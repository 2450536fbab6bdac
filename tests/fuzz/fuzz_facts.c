/* What rediswriter believes of a server: INFO, identities in position keys and files, lines of CLIENT LIST;
 * and what dfreader takes from a writer's health message. First byte: what the rest is. */
#include "fuzz.h"

#include "../../reader/target_health.c"
#include "../../writer/target/identity.c"
#include "../../writer/target/info.c"
#include "../../writer/target/rival.c"

/* Words that get into a line of a file, or into a list of names. */
static void one_words(const struct identity *id)
{
    const char *const all[] = {id->run_id, id->replid, id->replid2, id->pid};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (const char *p = all[i]; *p != '\0'; p++)
            HOLDS(*p > ' ' && *p <= '~');
}

static void info(const char *text)
{
    struct identity id = {0}, back;
    char line[IDENTITY_TEXT], field[32];
    identity_learn(&id, text);
    one_words(&id);
    identity_print(&id, line);
    HOLDS(strchr(line, '\n') == NULL && identity_parse(&back, line));
    HOLDS(strcmp(back.run_id, id.run_id) == 0 || strcmp(id.run_id, "-") == 0);
    info_field(text, "redis_version", field, sizeof field);
    HOLDS(strlen(field) < sizeof field && strchr(field, '\n') == NULL);
}

static void identity(const char *text)
{
    struct identity id;
    if (!identity_parse(&id, text))
        return;
    struct identity same = id, zero = {0};
    char line[IDENTITY_TEXT];
    HOLDS(identity_same(&id, &same) || id.run_id[0] == '\0');
    HOLDS(!identity_same(&id, &zero));
    identity_print(&id, line);
    HOLDS(identity_parse(&same, line) && memcmp(&same, &id, sizeof id) == 0);
}

static bool nobody(long pid)
{
    (void)pid;
    return false;
}

static void client(const uint8_t *p, size_t n)
{
    static const struct rival_self self = {.task = "t", .host = "h", .pid = 5, .ns = 9, .runs = nobody};
    char who[RIVAL_NAME];
    long long id;
    enum rival r = rival_of(&self, (const char *)p, n, &id, who);
    HOLDS(r == RIVAL_NONE || (id > 0 && memmem(p, n, " name=df2redis:t:", 17) != NULL));
}

static void health(const char *text)
{
    struct target_health c = {.since = 1}, sum = {.target = ""};
    struct buf b = {.max = 4096};
    bool any = false;
    target_health_take(&c, text, 2);
    target_health_join(&sum, &c);
    target_health_alarms(&sum, &b, &any);
    HOLDS(any == (b.len > 0));
    (void)buf_addstr(&b, " ");
    target_health_fields(&sum, &b, 3);
    HOLDS(memchr(b.p, '\n', b.len) == NULL);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *raw = fuzz_exact(data + 1, size - 1);
    char *text = calloc(size, 1);
    HOLDS(text != NULL);
    memcpy(text, data + 1, size - 1);
    switch (data[0] >> 6) {
    case 0: info(text); break;
    case 1: identity(text); break;
    case 2: client(raw, size - 1); break;
    default: health(text); break;
    }
    free(text);
    free(raw);
    return 0;
}
