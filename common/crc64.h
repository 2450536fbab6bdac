/* CRC64 "Jones", as in RDB files and DUMP payloads. rdb(5), CHECKSUM. */
#ifndef DF_CRC64_H
#define DF_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Continue crc (0 to begin) over n bytes. */
uint64_t crc64(uint64_t crc, const void *data, size_t n);

#endif
