/* Redis Cluster hash slots: CRC16 (XMODEM) of the key or of its hash tag, modulo 16384. */
#ifndef DF_SLOT_H
#define DF_SLOT_H

#include <stddef.h>
#include <stdint.h>

uint16_t key_slot(const void *key, size_t n);

#endif
