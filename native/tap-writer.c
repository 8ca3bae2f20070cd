/*
 * The thread that writes to a TAP. Packets come through a ring in memory that it shares with the thread of the guest
 * (devices/net/tap-writer.ts says when); those that wait together are merged where that may be (frame-merge.c).
 *
 * While packets come, the thread naps between its looks at the ring, so that nobody has to wake it, and more than one
 * packet waits at a time. When none came for some naps it sleeps, and is woken. Whoever cannot wait for it writes what
 * is in the ring in its place.
 */
#include "addon.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "frame-merge.h"

/* States of the thread. */
enum { AWAKE, NAPPING, ASLEEP };

/* Positions count bytes for ever, modulo 2^32. Each line of the cache is written by one thread. */
struct ring {
  _Alignas(64) _Atomic uint32_t tail; /* behind the last record; written by the thread of the guest */
  _Alignas(64) _Atomic uint32_t head; /* the first record that was not written yet; with the lock only */
  _Atomic uint32_t packets, writes;   /* taken out ever, and system calls for them */
  _Alignas(64) _Atomic uint32_t state;
  _Alignas(64) uint8_t records[];
};
/* A record: the length as 32 bits, a packet, and filling up to a multiple of 8 bytes. Length 0: go on at the start. */
enum { RECORD_HEADER = 4, RECORD_ALIGN = 8 };

enum {
  LEAST_CAPACITY = 1 << 17, /* two of the largest packets */
  MOST_CAPACITY = 1 << 26,
  STACK_SIZE = 1 << 16,
  NAP_NS = 50000, /* timer slack makes it twice as long */
  NAPS = 20,
};

struct writer {
  struct writer *next;
  napi_env env;
  napi_ref memory; /* keeps the ring */
  struct ring *ring;
  uint32_t capacity;
  int fd;
  pthread_t thread;
  _Atomic bool stopping;
  pthread_mutex_t lock; /* of who takes packets out of the ring, for the ring's head and */
  struct merge merge;
};

/* All there are in the process. */
static struct writer *writers;
static pthread_mutex_t writersLock = PTHREAD_MUTEX_INITIALIZER;

/* The packet in the record at `position`, which moves behind it; NULL at `tail`. */
static const uint8_t *nextPacket(const struct writer *writer, uint32_t *position, uint32_t tail, size_t *length) {
  while (*position != tail) {
    uint32_t offset = *position & (writer->capacity - 1), size;
    const uint8_t *record = writer->ring->records + offset;
    memcpy(&size, record, sizeof size);
    if (size != 0) {
      *length = size;
      *position += (RECORD_HEADER + size + RECORD_ALIGN - 1) & ~(uint32_t)(RECORD_ALIGN - 1);
      return record + RECORD_HEADER;
    }
    *position += writer->capacity - offset;
  }
  return NULL;
}

/*
 * Writes the packet at `head`, merged with those that follow it. What the kernel refuses is lost, as on a wire. Returns
 * the new head.
 */
static uint32_t writeNext(struct writer *writer, uint32_t head, uint32_t tail) {
  struct merge *merge = &writer->merge;
  size_t length;
  const uint8_t *packet = nextPacket(writer, &head, tail, &length);
  if (packet == NULL) return head;
  mergeStart(merge, packet, length);
  for (uint32_t behind = head; merge->open; head = behind) {
    packet = nextPacket(writer, &behind, tail, &length);
    if (packet == NULL || !mergeAdd(merge, packet, length)) break;
  }
  mergeFinish(merge);
  while (writev(writer->fd, merge->pieces, merge->pieceCount) < 0 && errno == EINTR) {
  }
  atomic_fetch_add_explicit(&writer->ring->packets, (uint32_t)merge->count, memory_order_relaxed);
  atomic_fetch_add_explicit(&writer->ring->writes, 1, memory_order_relaxed);
  return head;
}

/* Writes all that is in the ring; with the lock only. Returns whether there was anything. */
static bool drain(struct writer *writer) {
  struct ring *ring = writer->ring;
  uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed), tail;
  bool any = false;
  while ((tail = atomic_load_explicit(&ring->tail, memory_order_acquire)) != head) {
    head = writeNext(writer, head, tail);
    atomic_store_explicit(&ring->head, head, memory_order_release);
    any = true;
  }
  return any;
}

static long futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout) {
  return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

/* Who has put something into the ring and then sees a state of rest wakes; so nothing is left lying. */
static void wake(struct writer *writer) {
  if (atomic_exchange(&writer->ring->state, AWAKE) != AWAKE)
    futex(&writer->ring->state, FUTEX_WAKE_PRIVATE, 1, NULL);
}

/* Waits until woken, and no longer than `timeout`, where there is one; not at all if there is something to do. */
static void rest(struct writer *writer, uint32_t state, const struct timespec *timeout) {
  struct ring *ring = writer->ring;
  atomic_store(&ring->state, state);
  if (atomic_load(&ring->tail) == atomic_load(&ring->head) && !atomic_load(&writer->stopping))
    futex(&ring->state, FUTEX_WAIT_PRIVATE, state, timeout);
  atomic_store(&ring->state, AWAKE);
}

static void *run(void *data) {
  const struct timespec nap = {.tv_nsec = NAP_NS};
  struct writer *writer = data;
  int naps = 0;
  for (;;) {
    /* Asked first: then what was put in before is written. */
    bool stopping = atomic_load(&writer->stopping);
    pthread_mutex_lock(&writer->lock);
    bool any = drain(writer);
    pthread_mutex_unlock(&writer->lock);
    if (stopping) return NULL;
    naps = any ? 0 : naps + 1;
    if (naps < NAPS) rest(writer, NAPPING, &nap);
    else rest(writer, ASLEEP, NULL);
  }
}

/* Starts the thread, with all signals left to the others. Returns 0 or an errno. */
static int start(struct writer *writer) {
  pthread_attr_t attributes;
  sigset_t all, before;
  int error = pthread_attr_init(&attributes);
  if (error != 0) return error;
  pthread_attr_setstacksize(&attributes, STACK_SIZE);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&writer->thread, &attributes, run, writer);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return error;
}

static struct writer *find(int fd) {
  pthread_mutex_lock(&writersLock);
  struct writer *writer = writers;
  while (writer != NULL && writer->fd != fd) writer = writer->next;
  pthread_mutex_unlock(&writersLock);
  return writer;
}

/* Ends a writer when all is written: by tapWriterStop, or with the environment that started it. */
static void finish(void *data) {
  struct writer *writer = data;
  pthread_mutex_lock(&writersLock);
  struct writer **link = &writers;
  while (*link != writer) link = &(*link)->next;
  *link = writer->next;
  pthread_mutex_unlock(&writersLock);
  atomic_store(&writer->stopping, true);
  wake(writer);
  pthread_join(writer->thread, NULL);
  pthread_mutex_destroy(&writer->lock);
  napi_delete_reference(writer->env, writer->memory);
  free(writer);
}

/* tapWriterStart(fd, ring: Int32Array) → 0: a thread writes to `fd` what is put into the ring, all zeroes at first. */
static napi_value tapWriterStart(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  int32_t fd;
  void *memory;
  size_t words;
  arguments(env, info, args);
  if (napi_get_value_int32(env, args[0], &fd) != napi_ok ||
      !typedArray(env, args[1], napi_int32_array, &memory, &words) || words * 4 < sizeof(struct ring))
    return number(env, -EINVAL);
  size_t capacity = words * 4 - sizeof(struct ring);
  if (capacity < LEAST_CAPACITY || capacity > MOST_CAPACITY || (capacity & (capacity - 1)) != 0)
    return number(env, -EINVAL);
  if (find(fd) != NULL) return number(env, -EBUSY);
  struct writer *writer = calloc(1, sizeof *writer);
  if (writer == NULL) return number(env, -ENOMEM);
  writer->env = env;
  writer->fd = fd;
  writer->ring = memory;
  writer->capacity = (uint32_t)capacity;
  pthread_mutex_init(&writer->lock, NULL);
  napi_create_reference(env, args[1], 1, &writer->memory);
  int error = start(writer);
  if (error != 0) {
    pthread_mutex_destroy(&writer->lock);
    napi_delete_reference(env, writer->memory);
    free(writer);
    return number(env, -error);
  }
  pthread_mutex_lock(&writersLock);
  writer->next = writers;
  writers = writer;
  pthread_mutex_unlock(&writersLock);
  napi_add_env_cleanup_hook(env, finish, writer);
  return number(env, 0);
}

/* The writer of the descriptor that is the first argument; NULL: there is none. */
static struct writer *argument(napi_env env, napi_value *args) {
  int32_t fd;
  return napi_get_value_int32(env, args[0], &fd) == napi_ok ? find(fd) : NULL;
}

/* tapWriterWake(fd) → 0: ends the thread's rest. */
static napi_value tapWriterWake(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  arguments(env, info, args);
  struct writer *writer = argument(env, args);
  if (writer == NULL) return number(env, -EBADF);
  wake(writer);
  return number(env, 0);
}

/*
 * tapWriterDrain(fd, wait) → 0: the caller writes all that is in the ring. If the thread is at it: waits for that, or
 * -EBUSY.
 */
static napi_value tapWriterDrain(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  bool wait;
  arguments(env, info, args);
  struct writer *writer = argument(env, args);
  if (writer == NULL || napi_get_value_bool(env, args[1], &wait) != napi_ok)
    return number(env, writer == NULL ? -EBADF : -EINVAL);
  int error = wait ? pthread_mutex_lock(&writer->lock) : pthread_mutex_trylock(&writer->lock);
  if (error != 0) return number(env, -error);
  drain(writer);
  pthread_mutex_unlock(&writer->lock);
  return number(env, 0);
}

/* tapWriterStop(fd) → 0, when all is written. */
static napi_value tapWriterStop(napi_env env, napi_callback_info info) {
  napi_value args[MAX_ARGS];
  arguments(env, info, args);
  struct writer *writer = argument(env, args);
  if (writer == NULL) return number(env, -EBADF);
  napi_remove_env_cleanup_hook(env, finish, writer);
  finish(writer);
  return number(env, 0);
}

const struct function tapWriterFunctions[] = {
  {"tapWriterStart", tapWriterStart}, {"tapWriterWake", tapWriterWake}, {"tapWriterDrain", tapWriterDrain},
  {"tapWriterStop", tapWriterStop},   {0},
};
