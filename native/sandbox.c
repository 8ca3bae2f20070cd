/*
 * Confinement by seccomp(2) with a filter for all threads: what a running machine needs is allowed, everything else
 * gives EPERM. No process can be started, no file opened, no privilege gained, no other process reached. Arguments are
 * looked at where they are numbers; what they point to a filter cannot see. Landlock(7) keeps what may be opened for the
 * 9P server beneath its directories.
 */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __x86_64__
#error "tsvmm runs on x86-64"
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* Linux 6.2 */
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* names of mappings, for V8 */
#endif

/* What a machine needs beyond the minimum: SANDBOX_* of addon.ts. */
enum { MAY_CONNECT = 1, MAY_UNLINK = 2 };

enum { MAX_FILTER = 1024, MAX_ROOTS = 32, LOW_FDS = 256, X32_SYSCALL_BIT = 0x40000000 };

static const int allowed[] = {
  /* Memory: V8 makes code, so pages change between writable and executable. */
  SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_brk, SYS_membarrier, SYS_pkey_alloc,
  SYS_pkey_mprotect, SYS_pkey_free,
  /* Threads of our own. */
  SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_sched_yield, SYS_sched_getaffinity, SYS_gettid, SYS_getpid,
  SYS_set_tid_address, SYS_exit, SYS_exit_group,
  /* Signals to us. */
  SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_sigaltstack, SYS_restart_syscall,
  /* Time and waiting. */
  SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_time, SYS_times,
  SYS_getrusage, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_poll, SYS_ppoll, SYS_select,
  SYS_pselect6, SYS_eventfd2, SYS_pipe2,
  /* What is open. */
  SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_lseek,
  SYS_close, SYS_dup, SYS_dup2, SYS_dup3, SYS_ftruncate, SYS_fallocate, SYS_fsync, SYS_fdatasync, SYS_fstat,
  SYS_newfstatat, SYS_statx, SYS_stat, SYS_lstat,
  /* Sockets that are open; what a listening one accepts. */
  SYS_accept4, SYS_shutdown, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
  SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt,
  /* Harmless questions. */
  SYS_getrandom, SYS_uname, SYS_sysinfo, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getppid, SYS_getcwd,
  SYS_getcpu,
};

/* With MAY_CONNECT: sockets for the guest's connections. socket(2) itself is looked at more closely. */
static const int connecting[] = {SYS_connect, SYS_bind, SYS_listen};
/* With MAY_UNLINK: files of ours, such as sockets, go when we do. */
static const int unlinking[] = {SYS_unlink, SYS_unlinkat};
/* With directories for 9P. Opening is looked at more closely. */
static const int sharing[] = {
  SYS_getdents64, SYS_fstatfs, SYS_fchmod, SYS_fchmodat2, SYS_fchownat, SYS_utimensat, SYS_readlinkat, SYS_mkdirat,
  SYS_mknodat, SYS_symlinkat, SYS_linkat, SYS_renameat, SYS_unlinkat,
};
/* As if this kernel had them not: their users fall back on something else. */
static const int missing[] = {SYS_clone3, SYS_io_uring_setup};

static const uint32_t fcntls[] = {F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC};
static const uint32_t ioctls[] = {TUNSETOFFLOAD, BLKDISCARD, FIONBIO,    FIOCLEX, FIONREAD,
                                  TCGETS,        TCSETS,     TCSETSW,    TCSETSF, TIOCGWINSZ};
static const uint32_t prctls[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA};
static const uint32_t families[] = {AF_INET, AF_INET6};

struct program {
  struct sock_filter code[MAX_FILTER];
  unsigned short length;
};

static void emit(struct program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k) {
  if (p->length < MAX_FILTER) p->code[p->length++] = (struct sock_filter){code, jt, jf, k};
}

static void give(struct program *p, uint32_t action) { emit(p, BPF_RET | BPF_K, 0, 0, action); }

static const uint32_t deny = SECCOMP_RET_ERRNO | EPERM;

/* The low or high half of argument `index`. */
static void loadArgument(struct program *p, int index, int high) {
  uint32_t offset = (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)index + (high ? 4 : 0));
  emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
}

static void ifEqual(struct program *p, uint32_t value, uint32_t action) {
  emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
  give(p, action);
}

static void list(struct program *p, const int *calls, size_t count, uint32_t action) {
  for (size_t i = 0; i < count; i++) ifEqual(p, (uint32_t)calls[i], action);
}
#define LIST(p, calls, action) list(p, calls, sizeof calls / sizeof calls[0], action)

/* Call `nr` is allowed if the low half of argument `index` is one of `values`. */
static void allowIf(struct program *p, int nr, int index, const uint32_t *values, size_t count) {
  emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)(2 * count + 2), (uint32_t)nr);
  loadArgument(p, index, 0);
  for (size_t i = 0; i < count; i++) ifEqual(p, values[i], SECCOMP_RET_ALLOW);
  give(p, deny);
}
#define ALLOW_IF(p, nr, index, values) allowIf(p, nr, index, values, sizeof values / sizeof values[0])

/* Call `nr` is allowed if argument `index` has all bits of `all` and none of `none` in its low half. */
static void allowBits(struct program *p, int nr, int index, uint32_t all, uint32_t none) {
  emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, (uint32_t)nr);
  loadArgument(p, index, 0);
  emit(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, all | none);
  ifEqual(p, all, SECCOMP_RET_ALLOW);
  give(p, deny);
}

static void build(struct program *p, uint32_t needs, const uint32_t *roots, size_t rootCount) {
  const uint32_t self[] = {(uint32_t)getpid()};
  emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
  emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
  give(p, deny);
  emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
  emit(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_SYSCALL_BIT);
  give(p, deny);
  LIST(p, allowed, SECCOMP_RET_ALLOW);
  LIST(p, missing, SECCOMP_RET_ERRNO | ENOSYS);
  /* Threads, in the namespaces that we are in. */
  allowBits(p, SYS_clone, 0, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND,
            CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET);
  ALLOW_IF(p, SYS_kill, 0, self);
  ALLOW_IF(p, SYS_tgkill, 0, self);
  ALLOW_IF(p, SYS_fcntl, 1, fcntls);
  ALLOW_IF(p, SYS_ioctl, 1, ioctls);
  ALLOW_IF(p, SYS_prctl, 0, prctls);
  /* prlimit64 may ask, but not set: its third argument is NULL. */
  emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 6, SYS_prlimit64);
  loadArgument(p, 2, 0);
  emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0);
  loadArgument(p, 2, 1);
  ifEqual(p, 0, SECCOMP_RET_ALLOW);
  give(p, deny);
  if (needs & MAY_CONNECT) {
    LIST(p, connecting, SECCOMP_RET_ALLOW);
    ALLOW_IF(p, SYS_socket, 0, families);
  }
  if (needs & MAY_UNLINK) LIST(p, unlinking, SECCOMP_RET_ALLOW);
  if (rootCount > 0) {
    LIST(p, sharing, SECCOMP_RET_ALLOW);
    allowIf(p, SYS_openat2, 0, roots, rootCount);
  }
  give(p, deny);
}

/*
 * From now on this thread opens, makes and removes files beneath `roots` only: openat2's path is where seccomp cannot
 * look. Where the kernel has no Landlock, or one that forbids to rename from directory to directory (before Linux 5.19),
 * our own code alone keeps to the directories (files.c).
 */
static int keepBeneath(uint32_t needs, const uint32_t *roots, size_t rootCount) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 2) return 0;
  struct landlock_ruleset_attr everything = {.handled_access_fs = (LANDLOCK_ACCESS_FS_REFER << 1) - 1};
  if (abi >= 3) everything.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
  if (needs & MAY_UNLINK) everything.handled_access_fs &= ~(uint64_t)LANDLOCK_ACCESS_FS_REMOVE_FILE;
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &everything, sizeof everything, 0);
  if (ruleset < 0) return -errno;
  int error = 0;
  for (size_t i = 0; i < rootCount && error == 0; i++) {
    struct landlock_path_beneath_attr rule = {
      .allowed_access = everything.handled_access_fs & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE,
      .parent_fd = (int)roots[i],
    };
    error = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
  }
  if (error == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0) error = -errno;
  close(ruleset);
  return error;
}

/*
 * Has the event loop an io_uring, as from Node 22 on? It could not go on without, and a filter does not see what goes
 * through. The loop is made early, so its descriptors are low; submitting nothing to what is no ring is an error.
 */
static int hasIoUring(void) {
  for (int fd = 0; fd < LOW_FDS; fd++)
    if (syscall(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0) == 0) return 1;
  return 0;
}

/*
 * sandbox(needs, roots: Int32Array) → 0: confines the process for good. `roots` are the directories of 9P. -EOPNOTSUPP:
 * it has an io_uring.
 */
static napi_value sandbox(napi_env env, napi_callback_info info) {
  static struct program program;
  napi_value args[MAX_ARGS];
  uint32_t needs;
  void *roots;
  size_t rootCount;
  arguments(env, info, args);
  if (napi_get_value_uint32(env, args[0], &needs) != napi_ok ||
      !typedArray(env, args[1], napi_int32_array, &roots, &rootCount) || rootCount > MAX_ROOTS)
    return number(env, -EINVAL);
  if (hasIoUring()) return number(env, -EOPNOTSUPP);
  program.length = 0;
  build(&program, needs, roots, rootCount);
  if (program.length == MAX_FILTER) return number(env, -E2BIG);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return number(env, -errno);
  int error = rootCount > 0 ? keepBeneath(needs, roots, rootCount) : 0;
  if (error < 0) return number(env, error);
  const struct sock_fprog filter = {.len = program.length, .filter = program.code};
  /* Before Linux 5.16 a filter would slow speculation down, which protects the process from itself. */
  const unsigned flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  /* Greater than 0: a thread that could not be given the filter. */
  long failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  return failed > 0 ? number(env, -ESRCH) : result(env, failed);
}

const struct function sandboxFunctions[] = {{"sandbox", sandbox}, {0}};
