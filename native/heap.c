/* The C heap of the process. */
#include "addon.h"

#include <malloc.h>

/* trimHeap() → 1 if memory went back to the kernel, else 0. */
static napi_value trimHeap(napi_env env, napi_callback_info info) {
  (void)info;
#ifdef __GLIBC__
  return number(env, malloc_trim(0));
#else
  return number(env, 0);
#endif
}

const struct function heapFunctions[] = {{"trimHeap", trimHeap}, {0}};
