/* CRC-32 of IEEE 802.3, as zlib's crc32(): begin with 0 and pass on the result. */
#ifndef CRC32_H
#define CRC32_H

#include "guest.h"

void crc32_init(void);
uint32_t crc32(uint32_t crc, const void *data, size_t length);

#endif
