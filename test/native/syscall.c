/* For tests of confinement: any system call, as something hostile in our process would make it. */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <node_api.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ARGS = 7, TEXT_MAX = 256 };

/* syscall(nr, ...) → result or -errno; strings and typed arrays are passed by address. */
static napi_value makeCall(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS], made;
  static char texts[MAX_ARGS][TEXT_MAX];
  long values[MAX_ARGS] = {0};
  size_t count = MAX_ARGS;
  napi_get_cb_info(env, info, &count, args, NULL, NULL);
  for (size_t i = 0; i < count && i < MAX_ARGS; i++) {
    size_t length;
    int64_t number;
    void *data;
    if (napi_get_value_int64(env, args[i], &number) == napi_ok) {
      values[i] = number;
    } else if (napi_get_value_string_utf8(env, args[i], texts[i], TEXT_MAX, &length) == napi_ok) {
      values[i] = (long)(intptr_t)texts[i];
    } else if (napi_get_typedarray_info(env, args[i], NULL, NULL, &data, NULL, NULL) == napi_ok) {
      values[i] = (long)(intptr_t)data;
    }
  }
  long result = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
  napi_create_double(env, result < 0 ? -errno : (double)result, &made);
  return made;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "syscall", NAPI_AUTO_LENGTH, makeCall, NULL, &function);
  napi_set_named_property(env, exports, "syscall", function);
  return exports;
}
