/*
 * TAP interfaces (Linux Documentation/networking/tuntap.rst, linux/if_tun.h): attaching to one, and scatter-gather
 * reads and writes straight into guest RAM.
 */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <math.h>
#include <net/if.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_PIECES = 1023 };

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
  return result(env, ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags));
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
  ssize_t size = readv(fd, iov, count + 1);
  return size > 0 && (size_t)size > total ? number(env, -EMSGSIZE) : result(env, size);
}

/* writev(fd, ram, addresses, lengths, count) → bytes. */
static napi_value writePieces(napi_env env, napi_callback_info info) {
  struct iovec iov[MAX_PIECES + 1];
  int32_t fd;
  size_t total;
  int count = pieces(env, info, &fd, iov, &total);
  if (count < 0) return number(env, count);
  return result(env, writev(fd, iov, count));
}

const struct function tapFunctions[] = {
  {"tapOpen", tapOpen}, {"tapAdopt", tapAdopt}, {"setOffload", setOffload},
  {"readv", readPieces}, {"writev", writePieces}, {0},
};
