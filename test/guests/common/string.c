/* The C functions a compiler calls on its own, and the few string functions the guests and lwIP use. */
#include "guest.h"

void *memcpy(void *to, const void *from, size_t n) {
  void *d = to;
  size_t words = n / sizeof(reg), rest = n % sizeof(reg);
  __asm__ volatile("rep movs" W : "+D"(d), "+S"(from), "+c"(words)::"memory");
  __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(rest)::"memory");
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  if ((uintptr_t)to - (uintptr_t)from >= n) return memcpy(to, from, n);
  char *d = (char *)to + n - 1;
  const char *s = (const char *)from + n - 1;
  __asm__ volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(n)::"memory");
  return to;
}

void *memset(void *to, int value, size_t n) {
  void *d = to;
  __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(value) : "memory");
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const unsigned char *x = a, *y = b;
  for (; n; n--, x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}

size_t strlen(const char *s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}

int strcmp(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *(const unsigned char *)a - *(const unsigned char *)b;
}

int strncmp(const char *a, const char *b, size_t n) {
  for (; n; n--, a++, b++)
    if (*a != *b || !*a) return *(const unsigned char *)a - *(const unsigned char *)b;
  return 0;
}
