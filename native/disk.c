/* Disk images: what a block device tells of itself, and giving blocks back to the host. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* blockDeviceSize(fd) → bytes; -ENOTTY when it is no block device. */
static napi_value blockDeviceSize(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t fd;
  uint64_t size;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok) return number(env, -EINVAL);
  return number(env, ioctl(fd, BLKGETSIZE64, &size) < 0 ? -errno : (double)size);
}

/* discard(fd, offset, length) → 0: the bytes need not be kept, and read as zeroes or as they were. */
static napi_value discard(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t fd;
  int64_t offset, length;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok || napi_get_value_int64(env, args[1], &offset) != napi_ok ||
      napi_get_value_int64(env, args[2], &length) != napi_ok)
    return number(env, -EINVAL);
  struct stat stat;
  if (fstat(fd, &stat) < 0) return number(env, -errno);
  uint64_t range[2] = {(uint64_t)offset, (uint64_t)length};
  return result(env, S_ISBLK(stat.st_mode) ? ioctl(fd, BLKDISCARD, range)
                                           : fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
}

const struct function diskFunctions[] = {{"blockDeviceSize", blockDeviceSize}, {"discard", discard}, {0}};
