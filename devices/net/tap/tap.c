/*
 * The system calls that Node lacks, as a Node-API addon (NAPI_VERSION 8, so that one build serves every later Node):
 * attaching to a TAP interface (Linux Documentation/networking/tuntap.rst, linux/if_tun.h), scatter-gather reads and
 * writes straight into guest RAM, ppoll(2), and the event loop's own descriptor so that ppoll wakes for it too.
 *
 * Every function returns a number: the result, or -errno. Nothing throws; a call with wrong arguments gives -EINVAL.
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <math.h>
#include <net/if.h>
#include <node_api.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

/* libuv is part of every Node process; its embedding API is stable, so its header is not needed. */
struct uv_loop_s;
extern int uv_backend_fd(const struct uv_loop_s *);
extern int uv_backend_timeout(const struct uv_loop_s *);
extern void uv_update_time(struct uv_loop_s *);

enum { MAX_PIECES = 1023, MAX_POLL_FDS = 31, MAX_ARGS = 5 };

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

/* Unpacks exactly `count` arguments; missing ones arrive as undefined and fail their own check. */
static void arguments(napi_env env, napi_callback_info info, napi_value *args) {
  size_t count = MAX_ARGS;
  napi_get_cb_info(env, info, &count, args, NULL, NULL);
}

static int typedArray(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length) {
  napi_typedarray_type type;
  return napi_get_typedarray_info(env, value, &type, length, data, NULL, NULL) == napi_ok && type == wanted;
}

/* The 12-byte header of virtio 1.x in front of every packet, whatever the last owner of the interface had set. */
static int useVnetHeader(int fd) {
  int size = 12;
  return ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ? -errno : 0;
}

/* tapOpen(ifname, multiQueue) → fd. An interface that is not there is -ENODEV: it is never made by accident. */
static napi_value tapOpen(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  struct ifreq request = {0};
  char name[IFNAMSIZ + 1];
  size_t length;
  bool multiQueue;
  arguments(env, info, args);
  if (napi_get_value_string_utf8(env, args[0], name, sizeof name, &length) != napi_ok || length == 0 ||
      length >= IFNAMSIZ || napi_get_value_bool(env, args[1], &multiQueue) != napi_ok)
    return number(env, -EINVAL);
  if (if_nametoindex(name) == 0) return number(env, -ENODEV);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return number(env, -errno);
  memcpy(request.ifr_name, name, length);
  request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multiQueue ? IFF_MULTI_QUEUE : 0));
  int error = ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : useVnetHeader(fd);
  if (error < 0) close(fd);
  return number(env, error < 0 ? error : fd);
}

/* tapAdopt(fd) → fd: a TAP descriptor opened by whoever started us; -EMEDIUMTYPE when it has no vnet header. */
static napi_value tapAdopt(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  struct ifreq request = {0};
  int32_t fd;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok) return number(env, -EINVAL);
  if (ioctl(fd, TUNGETIFF, &request) < 0) return number(env, -errno);
  if (!(request.ifr_flags & IFF_TAP) || !(request.ifr_flags & IFF_VNET_HDR)) return number(env, -EMEDIUMTYPE);
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return number(env, -errno);
  int error = useVnetHeader(fd);
  return number(env, error < 0 ? error : fd);
}

/* setOffload(fd, TUN_F_*) → 0: the kinds of packet the kernel may hand out unsegmented or without a checksum. */
static napi_value setOffload(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t fd;
  uint32_t flags;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok || napi_get_value_uint32(env, args[1], &flags) != napi_ok)
    return number(env, -EINVAL);
  return number(env, ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags) < 0 ? -errno : 0);
}

/*
 * The arguments (fd, ram: Uint8Array, addresses: Float64Array, lengths: Uint32Array, count) as an iovec, each piece
 * checked against RAM. Returns the number of pieces or -errno; *total is the sum of the lengths.
 */
static int pieces(napi_env env, napi_callback_info info, int32_t *fd, struct iovec *iov, size_t *total) {
  napi_value args[MAX_ARGS];
  void *ram, *addresses, *lengths;
  size_t ramSize, addressCount, lengthCount;
  uint32_t count;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], fd) != napi_ok ||
      !typedArray(env, args[1], napi_uint8_array, &ram, &ramSize) ||
      !typedArray(env, args[2], napi_float64_array, &addresses, &addressCount) ||
      !typedArray(env, args[3], napi_uint32_array, &lengths, &lengthCount) ||
      napi_get_value_uint32(env, args[4], &count) != napi_ok)
    return -EINVAL;
  if (count > MAX_PIECES || count > addressCount || count > lengthCount) return -EINVAL;
  *total = 0;
  for (uint32_t i = 0; i < count; i++) {
    double address = ((double *)addresses)[i];
    uint32_t length = ((uint32_t *)lengths)[i];
    if (!(address >= 0 && address <= (double)ramSize) || address != floor(address)) return -EFAULT;
    if (length > ramSize - (size_t)address) return -EFAULT;
    iov[i].iov_base = (char *)ram + (size_t)address;
    iov[i].iov_len = length;
    *total += length;
  }
  return (int)count;
}

/* readv(fd, ram, addresses, lengths, count) → bytes; a packet longer than the pieces is consumed: -EMSGSIZE. */
static napi_value readPieces(napi_env env, napi_callback_info info) {
  struct iovec iov[MAX_PIECES + 1];
  char excess; /* TAP cuts a packet silently; one byte more than asked for tells that it did. */
  int32_t fd;
  size_t total;
  int count = pieces(env, info, &fd, iov, &total);
  if (count < 0) return number(env, count);
  iov[count].iov_base = &excess;
  iov[count].iov_len = 1;
  ssize_t result = readv(fd, iov, count + 1);
  if (result < 0) return number(env, -errno);
  return number(env, (size_t)result > total ? -EMSGSIZE : (double)result);
}

/* writev(fd, ram, addresses, lengths, count) → bytes. */
static napi_value writePieces(napi_env env, napi_callback_info info) {
  struct iovec iov[MAX_PIECES + 1];
  int32_t fd;
  size_t total;
  int count = pieces(env, info, &fd, iov, &total);
  if (count < 0) return number(env, count);
  ssize_t result = writev(fd, iov, count);
  return number(env, result < 0 ? -errno : (double)result);
}

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

NAPI_MODULE_INIT() {
  static const struct { const char *name; napi_callback callback; } functions[] = {
    {"tapOpen", tapOpen},   {"tapAdopt", tapAdopt},  {"setOffload", setOffload}, {"readv", readPieces},
    {"writev", writePieces}, {"poll", pollFds}, {"loopFd", loopFd}, {"loopTimeout", loopTimeout},
  };
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].callback, NULL, &function) !=
            napi_ok ||
        napi_set_named_property(env, exports, functions[i].name, function) != napi_ok)
      return NULL;
  }
  return exports;
}
