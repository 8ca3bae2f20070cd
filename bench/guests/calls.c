/* Calls and returns, direct and through pointers. */
#include "kernels.h"

/* noipa, or gcc would turn most of the recursion into loops. */
static uint32_t __attribute__((noipa, optimize("no-optimize-sibling-calls", "no-inline"))) fib(uint32_t n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint32_t fibonacci(void) { return fib(22); }

/* An object with a method table, as C programs write them; the kinds follow each other in no order. */
struct shape { uint32_t (*area)(const struct shape *); uint32_t a, b; };

static uint32_t square(const struct shape *s) { return s->a * s->a; }
static uint32_t rectangle(const struct shape *s) { return s->a * s->b; }
static uint32_t triangle(const struct shape *s) { return s->a * s->b >> 1; }
static uint32_t ring(const struct shape *s) { return 3 * (s->a * s->a - s->b * s->b); }

#define SHAPES 1024
static struct shape shapes[SHAPES];

uint32_t indirect(void) {
  static uint32_t (*const kinds[])(const struct shape *) = {square, rectangle, triangle, ring};
  uint32_t state = 5, sum = 0;
  for (int i = 0; i < SHAPES; i++) {
    uint32_t kind = next_random(&state) >> 30;
    shapes[i] = (struct shape){kinds[kind], next_random(&state) >> 16, next_random(&state) >> 16};
  }
  for (int turn = 0; turn < 40; turn++)
    for (int i = 0; i < SHAPES; i++) sum = sum * 31 + shapes[i].area(&shapes[i]);
  return sum;
}
