/* The memory of the process. */
#include "addon.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* trimHeap() → 1 if memory went back to the kernel, else 0. */
static napi_value trimHeap(napi_env env, napi_callback_info info) {
  (void)info;
#ifdef __GLIBC__
  return number(env, malloc_trim(0));
#else
  return number(env, 0);
#endif
}

/* Where V8 wants new memory: random addresses below 2^46 (v8::PageAllocator::GetRandomMmapAddr). */
#define RANDOM_FIRST (1ul << 30)
#define RANDOM_END (1ul << 46)
/* Gaps between what is there already that are not worth closing: few addresses fall into them. */
#define LEAST_GAP (1ul << 36)

/* Occupies the free addresses in [first, end). → 0, or -1 when the kernel does not let it. */
static int occupy(uintptr_t first, uintptr_t end) {
  void *got = mmap((void *)first, end - first, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
                   -1, 0);
  if (got == (void *)first) return 0;
  if (got != MAP_FAILED) {
    munmap(got, end - first);
    errno = EEXIST;
    return -1;
  }
  if (errno != EEXIST) return -1;
  if (end - first <= LEAST_GAP) return 0;
  uintptr_t middle = first + (end - first) / 2;
  return occupy(first, middle) || occupy(middle, end) ? -1 : 0;
}

/*
 * gatherMemory() → 0, or -errno. From now on V8 gets new memory side by side. It asks for the code of each WebAssembly
 * module at a random address, so that each is found by page tables of its own, and going from one to another costs a
 * walk that nothing is cached of. With those addresses taken (none of that is ever memory) the kernel chooses.
 */
static napi_value gatherMemory(napi_env env, napi_callback_info info) {
  (void)info;
  return result(env, occupy(RANDOM_FIRST, RANDOM_END));
}

const struct function memoryFunctions[] = {{"trimHeap", trimHeap}, {"gatherMemory", gatherMemory}, {0}};
