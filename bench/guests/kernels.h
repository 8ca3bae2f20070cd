/*
 * The kernels of the benchmark. A kernel is a function that does one round of fixed work, the same each time, and returns
 * a checksum of what it computed: so every round, every scale and every monitor must give the same number.
 * Only types of fixed width count, because the 32-bit image must compute the same as the 64-bit one.
 */
#ifndef BENCH_KERNELS_H
#define BENCH_KERNELS_H

#include "guest.h"

typedef uint32_t kernel_function(void);

/* integer.c */
kernel_function alu, branches, hash, internet_checksum;
/* sort.c */
kernel_function sort;
/* calls.c */
kernel_function fibonacci, indirect;
/* bytecode.c */
kernel_function bytecode;
/* digest.c */
kernel_function sha256, crc32;
/* memory.c */
kernel_function bytes, qwords, chase, copy, scan;
/* float.c */
kernel_function matrix, nbody;
/* simd.c */
kernel_function simd;
/* traps.c */
kernel_function exceptions, syscalls;
/* port.c */
kernel_function port;
/* paging.c: these leave paging on in the 32-bit image, so they come last */
kernel_function tlb, remap;

/* Numerical Recipes' generator: inputs that no compiler can foresee. */
static inline uint32_t next_random(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }

static inline uint32_t rotate_left(uint32_t x, int n) { return x << n | x >> (32 - n); }

/* Folds a value into a checksum; the multiplication keeps equal values from cancelling each other. */
static inline uint32_t fold(uint32_t sum, uint32_t value) { return (rotate_left(sum, 5) ^ value) * 2654435761u; }

#endif
