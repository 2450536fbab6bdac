/* Redis Cluster hash slots: CRC16 (XMODEM) of the key or of its hash tag, modulo 16384. */
#ifndef DF_SLOT_H
#define DF_SLOT_H

#include <stddef.h>
#include <stdint.h>

#define SLOTS 16384u

uint16_t key_slot(const void *key, size_t n);

/* A short text that lies in the slot: for names of keys that have to live beside another one. */
#define SLOT_TAG_MAX 8
void slot_tag(unsigned slot, char out[SLOT_TAG_MAX]);

#endif
