/*
 * The system calls that Node lacks, as a Node-API addon (NAPI_VERSION 8, so that one build serves every later Node).
 * Nothing throws; a call with wrong arguments gives -EINVAL.
 */
#include "addon.h"

#include <errno.h>

napi_value number(napi_env env, double value) {
  napi_value made = NULL;
  napi_create_double(env, value, &made);
  return made;
}

napi_value result(napi_env env, long value) {
  return number(env, value < 0 ? -errno : (double)value);
}

void arguments(napi_env env, napi_callback_info info, napi_value *args) {
  size_t count = MAX_ARGS;
  napi_get_cb_info(env, info, &count, args, NULL, NULL);
}

int typedArray(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length) {
  napi_typedarray_type type;
  return napi_get_typedarray_info(env, value, &type, length, data, NULL, NULL) == napi_ok && type == wanted;
}

NAPI_MODULE_INIT() {
  const struct function *const files[] = {tapFunctions, tapWriterFunctions, idleFunctions, diskFunctions, fileFunctions, memoryFunctions,
                                           sandboxFunctions};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    for (const struct function *f = files[i]; f->name; f++) {
      napi_value function;
      if (napi_create_function(env, f->name, NAPI_AUTO_LENGTH, f->callback, NULL, &function) != napi_ok ||
          napi_set_named_property(env, exports, f->name, function) != napi_ok)
        return NULL;
    }
  }
  return exports;
}
