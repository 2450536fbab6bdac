/* The version of hiredis that this was built with, for --version: the library itself does not say. */
#ifndef DF_HIREDIS_VERSION_H
#define DF_HIREDIS_VERSION_H

#include <hiredis/hiredis.h>

#define HIREDIS_TEXT_OF(n) #n
#define HIREDIS_TEXT(n)    HIREDIS_TEXT_OF(n)

static inline const char *hiredis_version(void)
{
    return HIREDIS_TEXT(HIREDIS_MAJOR) "." HIREDIS_TEXT(HIREDIS_MINOR) "." HIREDIS_TEXT(HIREDIS_PATCH);
}

#endif
