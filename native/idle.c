/*
 * Idling: ppoll(2) in the place of the event loop's own wait. libuv runs `prepare` handles last before the loop waits:
 * only there does it know, and tell by uv_backend_timeout, whether anything is left to do. So it is there that we wait.
 * An `idle` handle keeps the loop from waiting on the way there.
 */
#include "addon.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* libuv is part of every Node process; its ABI is stable, so its header is not needed. */
struct uv_loop_s;
struct uv_handle_s; /* any kind of handle */
enum { UV_IDLE = 6, UV_PREPARE = 9 };
extern size_t uv_handle_size(int type);
extern int uv_backend_fd(const struct uv_loop_s *);
extern int uv_backend_timeout(const struct uv_loop_s *);
extern void uv_update_time(struct uv_loop_s *);
extern int uv_idle_init(struct uv_loop_s *, struct uv_handle_s *);
extern int uv_idle_start(struct uv_handle_s *, void (*)(struct uv_handle_s *));
extern int uv_idle_stop(struct uv_handle_s *);
extern int uv_prepare_init(struct uv_loop_s *, struct uv_handle_s *);
extern int uv_prepare_start(struct uv_handle_s *, void (*)(struct uv_handle_s *));
extern int uv_prepare_stop(struct uv_handle_s *);
extern void uv_handle_set_data(struct uv_handle_s *, void *);
extern void *uv_handle_get_data(const struct uv_handle_s *);

enum { MAX_FDS = 30 };

struct idling {
  napi_env env;
  struct uv_loop_s *loop;
  struct uv_handle_s *prepare, *idle;
  napi_ref fds, step, done; /* NULL when nobody idles */
};

static void onIdle(struct uv_handle_s *handle) { (void)handle; }

static napi_value dereference(napi_env env, napi_ref reference) {
  napi_value value = NULL;
  napi_get_reference_value(env, reference, &value);
  return value;
}

/*
 * Calls a function with `count` arguments, and then what it left to process.nextTick and promises; an exception is an
 * uncaught one. `this` must be some object.
 */
static bool call(napi_env env, napi_value this, napi_ref function, size_t count, const napi_value *args, napi_value *result) {
  napi_value exception;
  if (napi_make_callback(env, NULL, this, dereference(env, function), count, args, result) == napi_ok) return true;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
  return false;
}

enum event { LOOP, READABLE, TIME };

/* Waits for `fds` and the event loop, for `timeout` ns. Returns what came first; LOOP goes before the others. */
static enum event waitFor(struct uv_loop_s *loop, const int32_t *fds, size_t count, double timeout) {
  struct pollfd polled[MAX_FDS + 1];
  uv_update_time(loop);
  int loopTimeout = uv_backend_timeout(loop); /* ms; -1: for ever */
  if (loopTimeout == 0) return LOOP;
  bool loopFirst = loopTimeout > 0 && loopTimeout * 1e6 < timeout;
  if (loopFirst) timeout = loopTimeout * 1e6;
  /* A guest's timer may be centuries away; beyond 2^53 ns (104 days) the difference does not matter. */
  if (timeout > 9007199254740991.0) timeout = 9007199254740991.0;
  struct timespec time = {.tv_sec = (time_t)(timeout / 1e9), .tv_nsec = (long)fmod(timeout, 1e9)};
  for (size_t i = 0; i <= count; i++)
    polled[i] = (struct pollfd){.fd = i < count ? fds[i] : uv_backend_fd(loop), .events = POLLIN};
  int ready = ppoll(polled, count + 1, &time, NULL);
  if (ready < 0) return LOOP; /* EINTR: a signal, which the event loop will serve. */
  if (ready == 0) return loopFirst ? LOOP : TIME;
  return polled[count].revents == 0 ? READABLE : LOOP;
}

/* One step and the wait after it. Takes what the wait before it ended with, and returns that of this one; LOOP: no more. */
static enum event idleOnce(struct idling *idling, enum event last) {
  napi_env env = idling->env;
  napi_value list = dereference(env, idling->fds), quiet, result;
  void *fds;
  size_t count;
  double timeout;
  if (napi_get_boolean(env, last == TIME, &quiet) != napi_ok || !call(env, list, idling->step, 1, &quiet, &result) ||
      napi_get_value_double(env, result, &timeout) != napi_ok || !(timeout > 0) ||
      !typedArray(env, list, napi_int32_array, &fds, &count) || count > MAX_FDS)
    return LOOP;
  return waitFor(idling->loop, fds, count, timeout);
}

static void onPrepare(struct uv_handle_s *handle) {
  struct idling *idling = uv_handle_get_data(handle);
  napi_env env = idling->env;
  napi_handle_scope scope;
  napi_value list;
  napi_ref done;
  enum event last = LOOP;
  uv_idle_stop(idling->idle);
  do {
    if (napi_open_handle_scope(env, &scope) != napi_ok) return;
    last = idleOnce(idling, last);
    napi_close_handle_scope(env, scope);
  } while (last != LOOP);
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  uv_prepare_stop(handle);
  list = dereference(env, idling->fds);
  napi_delete_reference(env, idling->fds);
  napi_delete_reference(env, idling->step);
  /* From here on, and so within done, somebody may idle again. */
  done = idling->done;
  idling->done = NULL;
  call(env, list, done, 0, NULL, NULL);
  napi_delete_reference(env, done);
  napi_close_handle_scope(env, scope);
}

static struct idling *idlingOf(napi_env env) {
  struct idling *idling = NULL;
  if (napi_get_instance_data(env, (void **)&idling) != napi_ok || idling != NULL) return idling;
  idling = calloc(1, sizeof *idling);
  if (idling == NULL) return NULL;
  idling->env = env;
  idling->prepare = calloc(1, uv_handle_size(UV_PREPARE));
  idling->idle = calloc(1, uv_handle_size(UV_IDLE));
  if (idling->prepare == NULL || idling->idle == NULL || napi_get_uv_event_loop(env, &idling->loop) != napi_ok ||
      uv_prepare_init(idling->loop, idling->prepare) != 0 || uv_idle_init(idling->loop, idling->idle) != 0 ||
      napi_set_instance_data(env, idling, NULL, NULL) != napi_ok)
    return NULL; /* Out of memory; what was allocated is lost, once. */
  uv_handle_set_data(idling->prepare, idling);
  return idling;
}

/*
 * idle(fds: Int32Array, step, done) → 0: once the event loop has served all there is, calls step(quiet) → ns, waits as
 * long for `fds` and the loop's own descriptor, and so on; until step returns 0 or the event loop has something to do:
 * then calls done(). `quiet`: since the last step only time has passed. -EBUSY: only one at a time. At most 30
 * descriptors, which step may change.
 */
static napi_value idle(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  napi_valuetype step, done;
  void *data;
  size_t count;
  arguments(env, info, args);
  struct idling *idling = idlingOf(env);
  if (idling == NULL) return number(env, -ENOMEM);
  if (idling->done != NULL) return number(env, -EBUSY);
  if (!typedArray(env, args[0], napi_int32_array, &data, &count) || count > MAX_FDS ||
      napi_typeof(env, args[1], &step) != napi_ok || step != napi_function ||
      napi_typeof(env, args[2], &done) != napi_ok || done != napi_function)
    return number(env, -EINVAL);
  napi_create_reference(env, args[0], 1, &idling->fds);
  napi_create_reference(env, args[1], 1, &idling->step);
  napi_create_reference(env, args[2], 1, &idling->done);
  uv_idle_start(idling->idle, onIdle);
  uv_prepare_start(idling->prepare, onPrepare);
  return number(env, 0);
}

const struct function idleFunctions[] = {{"idle", idle}, {0}};
