#include "named.h"

#include <fcntl.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "meta.h"
#include "names.h"

static void open_file(struct named *n)
{
    int fd = io_tmpfile(NULL);
    if (fd < 0 || (n->f = fdopen(fd, "w+")) == NULL)
        fatal_errno(EXIT_CANNOT, "keys to be looked at again cannot be kept in a file");
}

void named_add(struct named *n, uint32_t db, struct slice name)
{
    if (n->f == NULL)
        open_file(n);
    n->line.len = 0;
    (void)buf_addf(&n->line, "%u ", db);
    meta_escape(&n->line, name.p, name.n, 0);
    (void)buf_addstr(&n->line, "\n");
    if (fwrite(n->line.p, 1, n->line.len, n->f) != n->line.len)
        fatal_errno(EXIT_CANNOT, "keys to be looked at again cannot be kept in a file");
}

void named_add_source(struct named *n, const struct filter *f, uint32_t db, struct slice name,
                      struct buf *scratch)
{
    for (unsigned i = 0; i <= f->renames.n; i++) {
        scratch->len = 0;
        if (names_to_source(f, i, name.p, name.n, scratch) <= 0)
            continue;
        for (uint32_t from = 0; from < NAMES_DBS; from++)
            if (filter_db(f, from) == db)
                named_add(n, from, (struct slice){scratch->p, scratch->len});
        if (db >= NAMES_DBS && filter_db(f, db) == db)
            named_add(n, db, (struct slice){scratch->p, scratch->len});
    }
}

int named_end(struct named *n)
{
    if (n->f == NULL)
        open_file(n);
    int fd = fcntl(fileno(n->f), F_DUPFD_CLOEXEC, 3);
    if (fclose(n->f) != 0 || fd < 0)
        fatal_errno(EXIT_CANNOT, "keys to be looked at again cannot be kept in a file");
    n->f = NULL;
    buf_free(&n->line);
    return fd;
}
