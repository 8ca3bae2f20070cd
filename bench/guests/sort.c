/* Quicksort as a C library has it: the element size is a parameter, the order a function pointer. */
#include "kernels.h"

typedef int comparison(const void *a, const void *b);

static void swap(char *a, char *b, size_t size) {
  for (; size; size--, a++, b++) {
    char t = *a;
    *a = *b;
    *b = t;
  }
}

static void quicksort(char *base, size_t count, size_t size, comparison *compare) {
  while (count > 1) {
    char *last = base + (count - 1) * size, *low = base, *high = last;
    swap(base + count / 2 * size, last, size);
    for (;;) {
      while (low < last && compare(low, last) < 0) low += size;
      while (high > low && compare(high - size, last) > 0) high -= size;
      if (high <= low + size) break;
      swap(low, high - size, size);
      low += size;
      high -= size;
    }
    swap(low, last, size);
    size_t left = (size_t)(low - base) / size, right = count - left - 1;
    if (left < right) {
      quicksort(base, left, size, compare);
      base = low + size;
      count = right;
    } else {
      quicksort(low + size, right, size, compare);
      count = left;
    }
  }
}

struct record { uint32_t key, value; };

static int by_key(const void *a, const void *b) {
  uint32_t x = ((const struct record *)a)->key, y = ((const struct record *)b)->key;
  return (x > y) - (x < y);
}

#define RECORDS 4096
static struct record records[RECORDS];

uint32_t sort(void) {
  uint32_t state = 3, sum = 0;
  for (uint32_t i = 0; i < RECORDS; i++) records[i] = (struct record){next_random(&state) >> 8, i};
  quicksort((char *)records, RECORDS, sizeof *records, by_key);
  for (uint32_t i = 0; i < RECORDS; i++) {
    if (i && records[i - 1].key > records[i].key) panic("sort: record %u is out of order", i);
    sum = fold(sum, records[i].value);
  }
  return sum;
}
