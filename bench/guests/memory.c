/* Memory: streams of bytes and of 64-bit words, dependent loads, and the string instructions. */
#include "kernels.h"

#define SIZE (256 * 1024)
static uint8_t area[SIZE] __attribute__((aligned(64)));
static uint8_t other[SIZE + 64] __attribute__((aligned(64)));

/* A histogram and a substitution cipher: a load, a dependent load and a store for each byte. */
uint32_t bytes(void) {
  static uint32_t counts[256];
  uint32_t sum = 0;
  for (int i = 0; i < 256; i++) counts[i] = 0;
  for (uint32_t i = 0; i < SIZE; i++) area[i] = i * 167 >> 3;
  for (uint32_t i = 0; i < SIZE; i++) {
    uint8_t value = area[i];
    counts[value]++;
    area[i] = value ^ counts[value];
  }
  for (uint32_t i = 0; i < SIZE; i += 61) sum = fold(sum, area[i]);
  return sum;
}

/* Reads, multiplies and writes 64-bit words: SSE2 has no such product, so they stay scalar. */
uint32_t qwords(void) {
  uint64_t *from = (uint64_t *)other, *to = (uint64_t *)area, sum = 0;
  for (uint32_t i = 0; i < SIZE / 8; i++) from[i] = i * 0x9e3779b97f4a7c15u;
  for (uint64_t turn = 1; turn <= 4; turn++)
    for (uint32_t i = 0; i < SIZE / 8; i++) {
      to[i] = from[i] * (turn | 1) + sum;
      sum ^= to[i];
    }
  return (uint32_t)(sum >> 32) ^ (uint32_t)sum;
}

/* A linked list in an order that no prefetcher knows. */
uint32_t chase(void) {
  uint32_t *next = (uint32_t *)area, count = SIZE / 4, state = 9, at = 0, sum = 0;
  for (uint32_t i = 0; i < count; i++) next[i] = i;
  /* Sattolo's shuffle makes one cycle of all. */
  for (uint32_t i = count - 1; i > 0; i--) {
    uint32_t j = next_random(&state) % i, t = next[i];
    next[i] = next[j];
    next[j] = t;
  }
  for (uint32_t i = 0; i < 4 * count; i++) {
    sum += at ^ i;
    at = next[at];
  }
  return sum;
}

/* REP MOVS and REP STOS, by bytes and by words, of the sizes that programs have: few bytes to 64 KiB. */
uint32_t copy(void) {
  static const uint32_t sizes[] = {7, 24, 64, 200, 1460, 4096, 65536};
  uint32_t sum = 0;
  for (uint32_t i = 0; i < SIZE; i++) other[i] = i >> 4;
  memset(area, 0, sizeof area);
  for (uint32_t turn = 0; turn < 800; turn++) {
    uint32_t size = sizes[turn % 7], at = turn * 61 & 0xffff;
    memcpy(area + at, other + (at ^ 3), size);
    memset(area + at + (size >> 1), (int)turn, size >> 2);
    memmove(area + at + 8, area + at, size < 300 ? size : 300);
    sum = fold(sum, area[at + 9]);
  }
  for (uint32_t i = 0; i < SIZE; i += 127) sum = fold(sum, area[i]);
  return sum;
}

/* REPNE SCASB and REPE CMPSB: the length of strings and the first difference of blocks. */
uint32_t scan(void) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 65536; i++) area[i] = other[i] = (uint8_t)(i * 13) | 1;
  for (uint32_t i = 1; i < 60; i++) area[i * 1000 + i] = other[i * 1000 + i] = 0;
  other[60001] ^= 2;
  for (uint32_t turn = 0; turn < 300; turn++) {
    const uint8_t *at = area + turn * 150, *a = area + turn * 193, *b = other + turn * 193;
    reg left = 65536, same = 500 + turn * 4;
    __asm__ volatile("repne scasb" : "+D"(at), "+c"(left) : "a"(0) : "memory", "cc");
    __asm__ volatile("repe cmpsb" : "+S"(a), "+D"(b), "+c"(same)::"memory", "cc");
    sum = fold(sum, (uint32_t)(at - area) + (uint32_t)same);
  }
  return sum;
}
