#include "sent_file.h"

#include <stdbool.h>
#include <string.h>
#include <bsd/string.h>

#include "buf.h"

static const char magic[] = "df2redis sent 1\n";

size_t sent_file_size(unsigned flows)
{
    return sizeof(struct sent_file) + flows * sizeof(struct sent_flow);
}

struct sent_file *sent_file_new(const char *boot, const char *id, unsigned flows)
{
    struct sent_file *f = xcalloc(1, sent_file_size(flows));
    memcpy(f->magic, magic, sizeof magic);
    strlcpy(f->boot, boot, sizeof f->boot);
    strlcpy(f->id, id, sizeof f->id);
    f->flows = flows;
    return f;
}

const char *sent_file_unfit(const struct sent_file *old, size_t n, const struct sent_file *now,
                            const char *from)
{
    if (n != sent_file_size((unsigned)now->flows) || memcmp(old->magic, magic, sizeof magic) != 0)
        return "damaged";
    if (now->boot[0] == '\0' || memcmp(old->boot, now->boot, sizeof old->boot) != 0)
        return "machine";
    bool its = strncmp(old->id, from, SENT_ID) == 0 || strncmp(old->before, from, SENT_ID) == 0;
    return old->flows == now->flows && from[0] != '\0' && its ? NULL : "session";
}
