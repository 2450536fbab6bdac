/* An outlet for keys: an RDB file of the version that the target has. dfparse(1), RDB FILES. */
#ifndef DFP_EXPORT_EXPORT_H
#define DFP_EXPORT_EXPORT_H

#include "../outlet.h"
#include "../target.h"

struct export;

/* Begin a file, "-" for standard output. NULL with errno: it cannot be made (EEXIST: there is something that
 * is no file). */
struct export *export_open(const char *path, const struct target *t);

struct outlet *export_outlet(struct export *x);

/* All keys were written: end the file, and give it its name. Returns 0, or -1 with errno. live: they came
 * from a server, and not from a file, which has each key once. */
int export_finish(struct export *x, struct emit *e, bool live);

/* An unfinished file is removed. */
void export_free(struct export *x);

#endif
