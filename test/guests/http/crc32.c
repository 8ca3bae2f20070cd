/* CRC-32, reflected polynomial 0xedb88320, eight bytes a step ("slicing by 8", Kounavis and Berry 2005). */
#include "crc32.h"

static uint32_t table[8][256];

void crc32_init(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
    table[0][i] = c;
  }
  for (int slice = 1; slice < 8; slice++)
    for (int i = 0; i < 256; i++) table[slice][i] = table[slice - 1][i] >> 8 ^ table[0][table[slice - 1][i] & 255];
}

uint32_t crc32(uint32_t crc, const void *data, size_t length) {
  const uint8_t *p = data;
  crc = ~crc;
  for (; length >= 8; length -= 8, p += 8) {
    uint64_t v;
    memcpy(&v, p, 8);
    v ^= crc;
    crc = table[7][v & 255] ^ table[6][v >> 8 & 255] ^ table[5][v >> 16 & 255] ^ table[4][v >> 24 & 255] ^
          table[3][v >> 32 & 255] ^ table[2][v >> 40 & 255] ^ table[1][v >> 48 & 255] ^ table[0][v >> 56];
  }
  for (; length; length--) crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
  return ~crc;
}
