/* What differs between versions of hiredis, 0.14 to 1.2. */
#ifndef DF_HIREDIS_KIND_H
#define DF_HIREDIS_KIND_H

#include <hiredis/hiredis.h>

/* How createArray is told how many elements there are. */
#if HIREDIS_MAJOR >= 1
typedef size_t hiredis_count;
#else
typedef int hiredis_count;
#endif

/* The version that this was built with, for --version: the library itself does not say. */
#define HIREDIS_TEXT_OF(n) #n
#define HIREDIS_TEXT(n)    HIREDIS_TEXT_OF(n)

static inline const char *hiredis_version(void)
{
    return HIREDIS_TEXT(HIREDIS_MAJOR) "." HIREDIS_TEXT(HIREDIS_MINOR) "." HIREDIS_TEXT(HIREDIS_PATCH);
}

#endif
