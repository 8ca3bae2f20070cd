/* What the files of the addon share. Every function of theirs returns a number: the result, or -errno. */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>

struct function {
  const char *name;
  napi_callback callback;
};

/* The functions that each file has, ended by an empty entry. */
extern const struct function tapFunctions[], tapWriterFunctions[], idleFunctions[], diskFunctions[], fileFunctions[], memoryFunctions[],
  sandboxFunctions[];

enum { MAX_ARGS = 5 };

napi_value number(napi_env env, double value);
/* A result of a system call: itself, or -errno. */
napi_value result(napi_env env, long value);
/* Unpacks MAX_ARGS arguments; missing ones arrive as undefined and fail their own check. */
void arguments(napi_env env, napi_callback_info info, napi_value *args);
int typedArray(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length);
