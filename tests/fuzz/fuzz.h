/* What the fuzz targets share. A property that does not hold ends the process, so that the fuzzer keeps the
 * input. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../parser/emit.h"
#include "../../common/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS UINT64_C(1700000000000)

#define HOLDS(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            fuzz_failed(#cond, __FILE__, __LINE__);                                                          \
    } while (0)

_Noreturn void fuzz_failed(const char *what, const char *file, int line);

/* An emitter that writes to an anonymous file which is emptied first, for one of some targets and sizes of
 * parts, chosen by a byte and four bits: 1 other targets, 8 modules and hints. */
void fuzz_emit(struct emit *e, uint8_t choice, unsigned more);

/* Rules and new names, chosen by bits 2 and 4 of the same; NULL: all keys as they are. */
const struct filter *fuzz_filter(unsigned more);

/* One of the targets. */
void fuzz_target(struct target *t, unsigned choice, unsigned more);

/* Everything written by it as canonical text (tests/unit/canon.h), which must be well-formed. Ends the
 * emitter. */
void fuzz_canon(struct emit *e, struct buf *out);

/* An anonymous file with these bytes, at its start. The caller closes it. */
int fuzz_file(const void *data, size_t n);

/* A copy of exactly n bytes on the heap, so that ASan sees what lies behind. */
uint8_t *fuzz_exact(const void *p, size_t n);

#endif
