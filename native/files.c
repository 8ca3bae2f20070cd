/*
 * Files beneath a directory, for the 9P server. Nothing here follows a symbolic link or leaves that directory, whatever
 * others do to it meanwhile: paths go through openat2(2) with RESOLVE_BENEATH, everything else works on one name
 * in an open directory, or on an open file. Paths and names are strings whose characters are bytes (Latin-1).
 */
#include "addon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif

/* Two arguments of a call that names something: a descriptor, and a string that fits into PATH_MAX. */
static int descriptorAndText(napi_env env, napi_value *args, int32_t *fd, char *text) {
  size_t length;
  if (napi_get_value_int32(env, args[0], fd) != napi_ok || *fd < 0 ||
      napi_get_value_string_latin1(env, args[1], NULL, 0, &length) != napi_ok)
    return -EINVAL;
  if (length >= PATH_MAX) return -ENAMETOOLONG;
  napi_get_value_string_latin1(env, args[1], text, PATH_MAX, &length);
  return strlen(text) == length ? 0 : -EINVAL;
}

/* The same for one name in an open directory. */
static int descriptorAndName(napi_env env, napi_value *args, int32_t *fd, char *name) {
  int error = descriptorAndText(env, args, fd, name);
  if (error < 0) return error;
  return *name == 0 || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") ? -EINVAL : 0;
}

static int beneath(int root, const char *path, int flags, uint32_t mode) {
  struct open_how how = {
    .flags = (uint32_t)(flags | O_CLOEXEC | O_NOFOLLOW),
    .mode = flags & O_CREAT ? mode & 07777 : 0,
    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  };
  return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
}

/* openBeneath(root, path, flags, mode) → fd. */
static napi_value openBeneath(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  char path[PATH_MAX];
  int32_t root, flags;
  uint32_t mode;
  arguments(env, info, args);
  int error = descriptorAndText(env, args, &root, path);
  if (error < 0) return number(env, error);
  if (napi_get_value_int32(env, args[2], &flags) != napi_ok || napi_get_value_uint32(env, args[3], &mode) != napi_ok)
    return number(env, -EINVAL);
  return result(env, beneath(root, path, flags, mode));
}

/* chmodBeneath(root, path, mode) → 0. Before Linux 6.6 only files and directories that can be opened. */
static napi_value chmodBeneath(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  char path[PATH_MAX];
  struct stat stat;
  int32_t root;
  uint32_t mode;
  arguments(env, info, args);
  int error = descriptorAndText(env, args, &root, path);
  if (error < 0) return number(env, error);
  if (napi_get_value_uint32(env, args[2], &mode) != napi_ok) return number(env, -EINVAL);
  int fd = beneath(root, path, O_PATH, 0);
  if (fd < 0) return number(env, -errno);
  error = syscall(SYS_fchmodat2, fd, "", mode & 07777, AT_EMPTY_PATH) < 0 ? -errno : 0;
  if (error == -ENOSYS) {
    error = fstat(fd, &stat) < 0 ? -errno : S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode) ? 0 : -EOPNOTSUPP;
    if (error == 0) {
      int file = beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
      if (file < 0) file = beneath(root, path, O_WRONLY | O_NONBLOCK | O_NOCTTY, 0);
      error = file < 0 || fchmod(file, mode & 07777) < 0 ? -errno : 0;
      if (file >= 0) close(file);
    }
  }
  close(fd);
  return number(env, error);
}

/* Copies 64-bit values to the typed array that is an argument. */
static napi_value give(napi_env env, napi_value array, const uint64_t *values, size_t size) {
  void *data;
  size_t length;
  if (!typedArray(env, array, napi_uint8_array, &data, &length) || length < size) return number(env, -EINVAL);
  memcpy(data, values, size);
  return number(env, 0);
}

/* fstat(fd, values: Uint8Array) → 0, with 16 values of 64 bits: see FileStat in addon.ts. */
static napi_value fileStat(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  struct stat s;
  int32_t fd;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok) return number(env, -EINVAL);
  if (fstat(fd, &s) < 0) return number(env, -errno);
  const uint64_t values[] = {
    s.st_dev, s.st_ino, s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_rdev, (uint64_t)s.st_size,
    (uint64_t)s.st_blksize, (uint64_t)s.st_blocks, (uint64_t)s.st_atim.tv_sec, (uint64_t)s.st_atim.tv_nsec,
    (uint64_t)s.st_mtim.tv_sec, (uint64_t)s.st_mtim.tv_nsec, (uint64_t)s.st_ctim.tv_sec, (uint64_t)s.st_ctim.tv_nsec,
  };
  return give(env, args[1], values, sizeof values);
}

/* fstatfs(fd, values: Uint8Array) → 0, with 9 values of 64 bits: type, bsize, blocks, bfree, bavail, files, ffree, fsid,
 * namelen. */
static napi_value fileSystemStat(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  struct statfs s;
  int32_t fd;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok) return number(env, -EINVAL);
  if (fstatfs(fd, &s) < 0) return number(env, -errno);
  uint64_t fsid = 0;
  memcpy(&fsid, &s.f_fsid, sizeof s.f_fsid);
  const uint64_t values[] = {
    (uint64_t)s.f_type, (uint64_t)s.f_bsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree, fsid,
    (uint64_t)s.f_namelen,
  };
  return give(env, args[1], values, sizeof values);
}

/* fchown(fd, uid, gid) → 0; 0xffffffff keeps. Descriptors of O_PATH will do, as in the following. */
static napi_value changeOwner(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t fd;
  uint32_t uid, gid;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok || fd < 0 ||
      napi_get_value_uint32(env, args[1], &uid) != napi_ok || napi_get_value_uint32(env, args[2], &gid) != napi_ok)
    return number(env, -EINVAL);
  return result(env, fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
}

/* futimens(fd, times: Float64Array) → 0: seconds and nanoseconds of access, then of modification. */
static napi_value changeTimes(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t fd;
  void *data;
  size_t count;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok || fd < 0 ||
      !typedArray(env, args[1], napi_float64_array, &data, &count) || count < 4)
    return number(env, -EINVAL);
  const double *times = data;
  const struct timespec pair[2] = {
    {.tv_sec = (time_t)times[0], .tv_nsec = (long)times[1]},
    {.tv_sec = (time_t)times[2], .tv_nsec = (long)times[3]},
  };
  return result(env, utimensat(fd, "", pair, AT_EMPTY_PATH));
}

/* readlink(fd, target: Uint8Array) → bytes. */
static napi_value readLink(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t fd;
  void *data;
  size_t length;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok || fd < 0 ||
      !typedArray(env, args[1], napi_uint8_array, &data, &length))
    return number(env, -EINVAL);
  return result(env, readlinkat(fd, "", data, length));
}

/* getdents(fd, offsetLow, offsetHigh, entries: Uint8Array) → bytes of struct linux_dirent64, from d_off `offset` on. */
static napi_value readEntries(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t fd;
  uint32_t low, high;
  void *data;
  size_t length;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok || napi_get_value_uint32(env, args[1], &low) != napi_ok ||
      napi_get_value_uint32(env, args[2], &high) != napi_ok ||
      !typedArray(env, args[3], napi_uint8_array, &data, &length))
    return number(env, -EINVAL);
  if (lseek(fd, (off_t)((uint64_t)high << 32 | low), SEEK_SET) < 0) return number(env, -errno);
  return result(env, syscall(SYS_getdents64, fd, data, length));
}

/* The arguments (directory, name, an unsigned number): 0, or -errno. */
static int nameAndNumber(napi_env env, napi_callback_info info, int32_t *directory, char *name, uint32_t *value) {
  napi_value args[MAX_ARGS];
  arguments(env, info, args);
  int error = descriptorAndName(env, args, directory, name);
  if (error < 0) return error;
  return napi_get_value_uint32(env, args[2], value) == napi_ok ? 0 : -EINVAL;
}

/* mkdirat(directory, name, mode) → 0. */
static napi_value makeDirectory(napi_env env, napi_callback_info info) {
  char name[PATH_MAX];
  int32_t directory;
  uint32_t mode;
  int error = nameAndNumber(env, info, &directory, name, &mode);
  if (error < 0) return number(env, error);
  return result(env, mkdirat(directory, name, mode & 07777));
}

/* mknodat(directory, name, mode) → 0: a file, FIFO or socket. Devices are never made: they would reach beyond. */
static napi_value makeNode(napi_env env, napi_callback_info info) {
  char name[PATH_MAX];
  int32_t directory;
  uint32_t mode;
  int error = nameAndNumber(env, info, &directory, name, &mode);
  if (error < 0) return number(env, error);
  if (S_ISCHR(mode) || S_ISBLK(mode)) return number(env, -EPERM);
  return result(env, mknodat(directory, name, mode, 0));
}

/* symlinkat(directory, name, target) → 0. */
static napi_value makeSymlink(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  char name[PATH_MAX], target[PATH_MAX];
  int32_t directory;
  arguments(env, info, args);
  int error = descriptorAndName(env, args, &directory, name);
  if (error < 0) return number(env, error);
  args[1] = args[2];
  error = descriptorAndText(env, args, &directory, target);
  if (error < 0) return number(env, error);
  return result(env, symlinkat(target, directory, name));
}

/* unlinkat(directory, name, flags) → 0. */
static napi_value removeEntry(napi_env env, napi_callback_info info) {
  char name[PATH_MAX];
  int32_t directory;
  uint32_t flags;
  int error = nameAndNumber(env, info, &directory, name, &flags);
  if (error < 0) return number(env, error);
  return result(env, unlinkat(directory, name, flags & AT_REMOVEDIR));
}

/* The arguments of a call with two names. */
static int twoNames(napi_env env, napi_callback_info info, int32_t *directories, char names[2][PATH_MAX]) {
  napi_value args[MAX_ARGS];
  arguments(env, info, args);
  int error = descriptorAndName(env, args, &directories[0], names[0]);
  return error < 0 ? error : descriptorAndName(env, args + 2, &directories[1], names[1]);
}

/* linkat(directory, name, newDirectory, newName) → 0. */
static napi_value makeLink(napi_env env, napi_callback_info info) {
  int32_t directories[2];
  char names[2][PATH_MAX];
  int error = twoNames(env, info, directories, names);
  return error < 0 ? number(env, error) : result(env, linkat(directories[0], names[0], directories[1], names[1], 0));
}

/* renameat(directory, name, newDirectory, newName) → 0. */
static napi_value renameEntry(napi_env env, napi_callback_info info) {
  int32_t directories[2];
  char names[2][PATH_MAX];
  int error = twoNames(env, info, directories, names);
  return error < 0 ? number(env, error) : result(env, renameat(directories[0], names[0], directories[1], names[1]));
}

const struct function fileFunctions[] = {
  {"openBeneath", openBeneath}, {"chmodBeneath", chmodBeneath}, {"fstat", fileStat}, {"fstatfs", fileSystemStat},
  {"fchown", changeOwner}, {"futimens", changeTimes}, {"readlink", readLink}, {"getdents", readEntries},
  {"mkdirat", makeDirectory}, {"mknodat", makeNode}, {"symlinkat", makeSymlink}, {"unlinkat", removeEntry},
  {"linkat", makeLink}, {"renameat", renameEntry}, {0},
};
