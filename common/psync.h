/* Positions of flows of Redis and Valkey: dfrecord(5), Sequence and position. One number holds the offset up
 * to which everything is contained and the database that is selected there, so that the two are never saved
 * apart. Positions grow with every command. Only what opens and acknowledges a flow (dfreader), and what
 * decodes its commands (dfparse), knows how they are made. */
#ifndef DF_PSYNC_H
#define DF_PSYNC_H

#include <stdbool.h>
#include <stdint.h>

#define PSYNC_DB_MAX     255u
#define PSYNC_OFFSET_MAX (((uint64_t)1 << 54) - 1)

/* Both have to be within their bounds. */
static inline uint64_t psync_position(uint64_t offset, uint32_t db)
{
    return (offset + 1) << 8 | db;
}

/* Is it one that psync_position makes? */
static inline bool psync_is_position(uint64_t position)
{
    return position >= 256 && (position >> 8) - 1 <= PSYNC_OFFSET_MAX;
}

/* The offset that was reached: PSYNC asks for the one behind it. */
static inline uint64_t psync_offset(uint64_t position)
{
    return (position >> 8) - 1;
}

static inline uint32_t psync_db(uint64_t position)
{
    return (uint32_t)(position & PSYNC_DB_MAX);
}

#endif
