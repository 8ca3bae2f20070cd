/* Integer work in registers and small tables. */
#include "kernels.h"

/* Long dependent chains of 64-bit arithmetic: multiply, rotate, add, shift. */
uint32_t alu(void) {
  uint64_t a = 0x9e3779b97f4a7c15, b = 0xbf58476d1ce4e5b9, c = 0x94d049bb133111eb;
  for (int i = 0; i < 600000; i++) {
    a += b ^ (c >> 7);
    b = (b << 13 | b >> 51) + i;
    c ^= a << 3;
    c *= 0xd6e8feb86659fd93;
    a -= c >> 32;
    b ^= a & ~c;
  }
  uint64_t all = a ^ b ^ c;
  return (uint32_t)(all >> 32) ^ (uint32_t)all;
}

/* Steps of the Collatz sequence: a branch that no predictor knows, 32-bit arithmetic. */
uint32_t branches(void) {
  uint32_t sum = 0;
  for (uint32_t start = 1; start < 6000; start++) {
    uint32_t steps = 0;
    for (uint32_t n = start; n != 1; steps++) {
      if (n & 1) n = n * 3 + 1;
      else n >>= 1;
      if ((n & 0xff) == 0x55) sum += n;
    }
    sum = fold(sum, steps);
  }
  return sum;
}

/* A hash table with open addressing: inserts, look-ups that hit and miss, removals. */
#define SLOTS 16384
static struct { uint32_t key, value; } slots[SLOTS];

static inline uint32_t slot_of(uint32_t key) { return key * 2654435761u >> 18; }

static void insert(uint32_t key, uint32_t value) {
  uint32_t at = slot_of(key);
  while (slots[at].key && slots[at].key != key) at = (at + 1) & (SLOTS - 1);
  slots[at].key = key;
  slots[at].value += value;
}

static uint32_t look_up(uint32_t key) {
  for (uint32_t at = slot_of(key); slots[at].key; at = (at + 1) & (SLOTS - 1))
    if (slots[at].key == key) return slots[at].value;
  return 1;
}

uint32_t hash(void) {
  for (int i = 0; i < SLOTS; i++) slots[i].key = slots[i].value = 0;
  uint32_t state = 1, sum = 0;
  for (int i = 0; i < 8000; i++) {
    uint32_t key = next_random(&state) | 1;
    insert(key, i);
  }
  for (int turn = 0; turn < 4; turn++) {
    state = 1;
    for (int i = 0; i < 8000; i++) {
      uint32_t key = next_random(&state) | 1;
      sum = fold(sum, look_up(key) + look_up(key ^ 0x5a5a0));
    }
  }
  return sum;
}

/* The checksum of IP and TCP (RFC 1071) as lwIP computes it, over packets of all sizes. */
static uint8_t packets[65536] __attribute__((aligned(16)));

static uint16_t checksum_of(const uint8_t *data, int length) {
  uint32_t sum = 0;
  for (; length > 1; length -= 2, data += 2) sum += data[0] | data[1] << 8;
  if (length) sum += *data;
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return ~sum;
}

uint32_t internet_checksum(void) {
  uint32_t state = 7, sum = 0;
  if (!packets[0])
    for (size_t i = 0; i < sizeof packets; i++) packets[i] = next_random(&state) >> 24 | !i;
  for (int i = 0; i < 1000; i++) sum = fold(sum, checksum_of(packets + i * 41, 40 + i * 17 % 1461));
  return sum;
}
