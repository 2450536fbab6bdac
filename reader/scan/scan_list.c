/* --scan-keys: instead of asking the server for its keys, read only those that a file names. Its lines are a
 * database, a blank and a key, percent-escaped as in metadata (dfrecord(5)). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>

#include "exits.h"
#include "io.h"
#include "meta.h"
#include "scan_source.h"

#define LINE_MAX_BYTES (3 * KEY_NAME_MAX + 32)

struct scan_list {
    FILE *f;
    char *line; /* getline's */
    size_t cap;
    unsigned turn; /* of the server's databases: the file is read once for each, as selecting one takes a
                      round trip */
    bool there;    /* the next key: ... */
    uint32_t db;
    struct buf name;
};

int scan_list_open(struct scan_node *n, struct fault *f)
{
    const char *path = n->source->stream->o->scan_keys;
    n->list = xcalloc(1, sizeof *n->list);
    n->list->name.max = KEY_NAME_MAX;
    n->list->f = fopen(path, "re");
    if (n->list->f != NULL)
        return 0;
    fault_set(f, EXIT_CANNOT, "%s: %s", path, strerror(errno));
    return -1;
}

void scan_list_free(struct scan_node *n)
{
    struct scan_list *l = n->list;
    if (l == NULL)
        return;
    if (l->f != NULL)
        fclose(l->f);
    buf_free(&l->name);
    free(l->line);
    free(l);
    n->list = NULL;
}

static bool unescape(struct buf *to, const char *p, const char *end)
{
    to->len = 0;
    while (p < end) {
        int byte = *p == '%' && end - p >= 3 ? meta_hex(p + 1) : *p == '%' ? -1 : (uint8_t)*p;
        uint8_t c = (uint8_t)byte;
        if (byte < 0 || buf_add(to, &c, 1) < 0)
            return false;
        p += *p == '%' ? 3 : 1;
    }
    return true;
}

static bool parse(struct scan_list *l, char *line, size_t len)
{
    const char *fault;
    char *blank = memchr(line, ' ', len);
    if (blank == NULL || len > LINE_MAX_BYTES)
        return false;
    *blank = '\0';
    l->db = (uint32_t)strtonum(line, 0, UINT32_MAX, &fault);
    return fault == NULL && unescape(&l->name, blank + 1, line + len);
}

/* A server has no key of a database that it does not list, and a node none of another's slots. */
static bool may_have(const struct scan_node *n, const struct scan_list *l)
{
    bool its_turn = n->server.db[l->turn] == l->db;
    if (n->source->stream->o->url.cluster)
        return its_turn && slotset_has(&n->server.slots, key_slot(l->name.p, l->name.len));
    return its_turn;
}

bool scan_list_next(struct scan_node *n, uint32_t *db)
{
    struct scan_list *l = n->list;
    while (!l->there && l->turn < n->server.dbs) {
        ssize_t len = getline(&l->line, &l->cap, l->f);
        if (len <= 0 && (ferror(l->f) || fseek(l->f, 0, SEEK_SET) < 0)) {
            scan_node_lost(n, "the file of --scan-keys cannot be read");
            return false;
        }
        if (len <= 0) {
            l->turn++;
            continue;
        }
        len -= l->line[len - 1] == '\n';
        if (!parse(l, l->line, (size_t)len)) {
            scan_node_lost(n, "SCAN: ERR a line of --scan-keys is no database and key");
            return false;
        }
        l->there = may_have(n, l);
    }
    *db = l->db;
    return l->there;
}

bool scan_list_take(struct scan_node *n)
{
    n->list->there = false;
    return wants_name(&n->wants, n->list->name.p, n->list->name.len) && wants_add(&n->wants, WANT_KEY, false);
}
