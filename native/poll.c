/* Waiting: ppoll(2), and the event loop's own descriptor so that it wakes for the loop's events too. */
#include "addon.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdint.h>

/* libuv is part of every Node process; its embedding API is stable, so its header is not needed. */
struct uv_loop_s;
extern int uv_backend_fd(const struct uv_loop_s *);
extern int uv_backend_timeout(const struct uv_loop_s *);
extern void uv_update_time(struct uv_loop_s *);

enum { MAX_POLL_FDS = 31 };

/*
 * poll(fds: Int32Array, timeoutNs) → bit i set when fds[i] is readable or broken; 0 after the timeout (negative:
 * none); -EINTR when a signal came. At most 31 descriptors; negative ones are skipped.
 */
static napi_value pollFds(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  struct pollfd polled[MAX_POLL_FDS];
  void *fds;
  size_t count;
  double timeout;
  int ready = 0;
  arguments(env, info, args);
  if (!typedArray(env, args[0], napi_int32_array, &fds, &count) || count > MAX_POLL_FDS ||
      napi_get_value_double(env, args[1], &timeout) != napi_ok || isnan(timeout))
    return number(env, -EINVAL);
  for (size_t i = 0; i < count; i++) {
    polled[i].fd = ((int32_t *)fds)[i];
    polled[i].events = POLLIN;
    polled[i].revents = 0;
  }
  /* A guest's timer may be centuries away; beyond 2^53 ns (104 days) the difference does not matter. */
  if (timeout > 9007199254740991.0) timeout = 9007199254740991.0;
  struct timespec time = {.tv_sec = (time_t)(timeout / 1e9), .tv_nsec = (long)fmod(timeout, 1e9)};
  if (ppoll(polled, count, timeout >= 0 ? &time : NULL, NULL) < 0) return number(env, -errno);
  for (size_t i = 0; i < count; i++)
    if (polled[i].revents != 0) ready |= 1 << i;
  return number(env, ready);
}

/* loopFd() → the descriptor that becomes readable when the event loop has something to do. */
static napi_value loopFd(napi_env env, napi_callback_info info) {
  struct uv_loop_s *loop;
  (void)info;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return number(env, -EINVAL);
  return number(env, uv_backend_fd(loop));
}

/* loopTimeout() → ms until the event loop's next timer; 0 when it wants a turn now; -1 when it has no timer. */
static napi_value loopTimeout(napi_env env, napi_callback_info info) {
  struct uv_loop_s *loop;
  (void)info;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return number(env, 0);
  uv_update_time(loop);
  return number(env, uv_backend_timeout(loop));
}

const struct function pollFunctions[] = {
  {"poll", pollFds}, {"loopFd", loopFd}, {"loopTimeout", loopTimeout}, {0},
};
