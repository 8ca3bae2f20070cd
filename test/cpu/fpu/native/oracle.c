/*
 * The oracle of the floating-point tests: runs one instruction on the host CPU per record.
 *
 * Usage: oracle x87|sse < records > results. Little-endian records of fixed size, see the two structs; the instruction
 * addresses memory through RSI (input/output operand area) and general registers through RAX.
 *
 *   x87: FRSTOR image; instruction; FNSAVE image; EFLAGS. No WAIT in between, so unmasked exceptions only show in FSW.
 *   sse: LDMXCSR; XMM0, XMM1; instruction; STMXCSR, XMM0, RAX, EFLAGS. Unmasked exceptions come as SIGFPE, and the
 *        results are then those in the signal frame.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define MEMORY 512

struct x87_record {
  uint8_t length;
  uint8_t code[15];
  uint64_t rax;
  uint64_t eflags;
  uint8_t image[112];
  uint8_t memory[MEMORY];
};

struct sse_record {
  uint8_t length;
  uint8_t code[15];
  uint64_t rax;
  uint64_t eflags;
  uint32_t mxcsr;
  uint32_t faulted;
  uint64_t reserved;
  uint8_t xmm0[16];
  uint8_t xmm1[16];
  uint8_t memory[MEMORY];
};

typedef void (*generated)(void *record, void *memory);

static uint8_t *code;
static sigjmp_buf escape;
static struct sse_record *current;

static void on_sigfpe(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  ucontext_t *uc = context;
  struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
  current->mxcsr = fp->mxcsr;
  memcpy(current->xmm0, &fp->_xmm[0], 16);
  current->rax = (uint64_t)uc->uc_mcontext.gregs[REG_RAX];
  current->eflags = (uint64_t)uc->uc_mcontext.gregs[REG_EFL];
  current->faulted = 1;
  siglongjmp(escape, 1);
}

static uint8_t *emit(uint8_t *at, const void *bytes, size_t count) {
  memcpy(at, bytes, count);
  return at + count;
}

#define EMIT(...) at = emit(at, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
/* [rdi + offset] as disp32 */
#define OFFSET(n) (uint8_t)((n) & 0xff), (uint8_t)((n) >> 8), 0, 0

static void run_x87(void) {
  static struct x87_record r __attribute__((aligned(64)));
  while (fread(&r, sizeof r, 1, stdin) == 1) {
    uint8_t *at = code;
    EMIT(0xff, 0xb7, OFFSET(24), 0x9d);                /* push [rdi+eflags]; popfq */
    EMIT(0x48, 0x8b, 0x87, OFFSET(16));                /* mov rax, [rdi+rax] */
    EMIT(0xdd, 0xa7, OFFSET(32));                      /* frstor [rdi+image] */
    at = emit(at, r.code, r.length);
    EMIT(0xdd, 0xb7, OFFSET(32));                      /* fnsave [rdi+image] */
    EMIT(0x9c, 0x8f, 0x87, OFFSET(24));                /* pushfq; pop [rdi+eflags] */
    EMIT(0x48, 0x89, 0x87, OFFSET(16));                /* mov [rdi+rax], rax */
    EMIT(0xc3);
    ((generated)(void *)code)(&r, r.memory);
    fwrite(&r, sizeof r, 1, stdout);
  }
}

static void run_sse(void) {
  static struct sse_record r __attribute__((aligned(64)));
  uint32_t normal = 0x1f80;
  current = &r;
  while (fread(&r, sizeof r, 1, stdin) == 1) {
    uint8_t *at = code;
    EMIT(0xff, 0xb7, OFFSET(24), 0x9d);                /* push [rdi+eflags]; popfq */
    EMIT(0x48, 0x8b, 0x87, OFFSET(16));                /* mov rax, [rdi+rax] */
    EMIT(0x0f, 0x10, 0x87, OFFSET(48));                /* movups xmm0, [rdi+xmm0] */
    EMIT(0x0f, 0x10, 0x8f, OFFSET(64));                /* movups xmm1, [rdi+xmm1] */
    EMIT(0x0f, 0xae, 0x97, OFFSET(32));                /* ldmxcsr [rdi+mxcsr] */
    at = emit(at, r.code, r.length);
    EMIT(0x0f, 0xae, 0x9f, OFFSET(32));                /* stmxcsr [rdi+mxcsr] */
    EMIT(0x0f, 0x11, 0x87, OFFSET(48));                /* movups [rdi+xmm0], xmm0 */
    EMIT(0x9c, 0x8f, 0x87, OFFSET(24));                /* pushfq; pop [rdi+eflags] */
    EMIT(0x48, 0x89, 0x87, OFFSET(16));                /* mov [rdi+rax], rax */
    EMIT(0xc3);
    if (sigsetjmp(escape, 1) == 0) ((generated)(void *)code)(&r, r.memory);
    __asm__ volatile("ldmxcsr %0" ::"m"(normal));
    fwrite(&r, sizeof r, 1, stdout);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return perror("mmap"), 1;
  struct sigaction action = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGFPE, &action, NULL);
  if (strcmp(argv[1], "x87") == 0) run_x87();
  else if (strcmp(argv[1], "sse") == 0) run_sse();
  else return 2;
  return 0;
}
