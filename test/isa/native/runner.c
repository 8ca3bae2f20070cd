/*
 * The native oracle: executes machine code on the host CPU, in user mode, with a given register state, and reports the
 * state afterwards. x86-64 Linux only (5.11 or newer: FSGSBASE and syscall user dispatch).
 *
 * stdin and stdout carry the binary records described in oracle.ts; all integers are little-endian. The address space
 * is drawn by the MAP records, so the layout is written down once, in ../layout.ts. What this file needs for itself lies
 * high (the program is a PIE), except for the exit page (EXIT_PAGE) and its far pointer (EXIT_POINTER64).
 *
 * How a case runs: enter() saves the host's registers, loads the case's and far-jumps (CS chooses 64-bit or 32-bit mode)
 * into the code. The code ends with a JMP to the exit page, which reaches exit64/exit32; a fault reaches
 * signal_entry on the alternate stack, which takes the registers from the ucontext. Both leave through `leave`, so that
 * a fault costs no sigreturn. Syscalls of the code never reach the kernel: they are dispatched to SIGSYS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif
#define HWCAP2_FSGSBASE 2
#define SA_RESTORER 0x04000000

enum { RECORD_MAP = 1, RECORD_RUN = 2 };
enum { MAP_WRITE = 1, MAP_EXECUTE = 2 };
/* Ways to end beside the CPU's exception vectors 0…31. */
enum { TRAP_NONE = -1, TRAP_SYSCALL = 256, TRAP_TIMEOUT = 257 };

enum { HANG_SECONDS = 10 };

/* Registers as they travel; the offsets are repeated in the assembly below and in ../state.ts. */
struct state {
  uint64_t gpr[16]; /* in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8…R15 */
  uint64_t rip;
  uint64_t rflags;
  uint64_t fs_base;
  uint64_t gs_base;
  uint16_t segment[8]; /* in encoding order: ES CS SS DS FS GS */
  uint8_t fxsave[512];
};
_Static_assert(offsetof(struct state, fxsave) == 176 && sizeof(struct state) == 688, "state layout");

struct record { uint32_t kind, size; };
struct map_record { struct record head; uint64_t address; uint32_t length, flags; };
struct run_record {
  struct record head;
  uint64_t code_address;
  uint32_t code_length, patch_count;
  struct state in;
  /* then the code, padded to 8 bytes, then patch_count × struct word */
};
struct word { uint64_t address, value; };
struct result {
  struct state out; /* first: FXSAVE wants its image aligned to 16 */
  int32_t trap;
  uint32_t change_count; /* as many struct word follow: the changed qwords of the regions */
  uint64_t error, cr2;
};

struct region {
  uint64_t address, length;
  uint8_t *base;   /* the contents between cases */
  uint8_t *before; /* the contents at the start of the current case */
  int writable;
};

/* The exit page holds `ljmp *cs:[EXIT_PAGE + 0x100]`, whose bytes mean `ljmp *[rip + EXIT_PAGE + 0x100]` in 64-bit mode:
 * the code may end in either mode, and DS may be null. It lies at offset 1, so that both pointers are aligned (EFLAGS.AC). */
#define EXIT_PAGE 0x2000f000u
#define EXIT_ENTRY (EXIT_PAGE + 1)
#define EXIT_POINTER32 (EXIT_PAGE + 0x100)
#define EXIT_POINTER64 (EXIT_PAGE + 8 + EXIT_POINTER32)

/* Shared with the assembly. in_test is also the selector of the syscall dispatch: 1 blocks. */
__attribute__((used)) volatile uint8_t in_test;
__attribute__((used)) struct result result __attribute__((aligned(16)));
__attribute__((used)) struct state *input;
__attribute__((used)) uint64_t host_rsp, host_fs;
/* Flags of the interrupted code that rt_sigreturn takes from its caller rather than from the context: NT and ID. */
__attribute__((used)) uint64_t unrestored_flags;
#define FLAGS_UNRESTORED 0x204000
__attribute__((used)) struct { uint32_t offset; uint16_t selector; } __attribute__((packed, aligned(8))) entry_pointer;

void enter(void);
void exit64(void);
void exit32(void);
void signal_entry(void);
void restorer(void);
extern const uint8_t restorer_end[];

__asm__(
    ".text\n"
    ".globl enter, exit64, exit32, signal_entry, restorer, restorer_end\n"
    "enter:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, host_rsp(%rip)\n"
    "  mov input(%rip), %rdi\n"
    "  mov 128(%rdi), %eax\n  mov %eax, entry_pointer(%rip)\n"
    "  mov 162(%rdi), %ax\n  mov %ax, entry_pointer+4(%rip)\n"
    "  mov 160(%rdi), %es\n  mov 166(%rdi), %ds\n  mov 168(%rdi), %fs\n  mov 170(%rdi), %gs\n"
    "  mov 144(%rdi), %rax\n  wrfsbase %rax\n"
    "  mov 152(%rdi), %rax\n  wrgsbase %rax\n"
    "  fxrstor64 176(%rdi)\n"
    "  movb $1, in_test(%rip)\n"
    "  pushq 136(%rdi)\n  popfq\n"
    "  mov (%rdi), %rax\n  mov 8(%rdi), %rcx\n  mov 16(%rdi), %rdx\n  mov 24(%rdi), %rbx\n"
    "  mov 32(%rdi), %rsp\n  mov 40(%rdi), %rbp\n  mov 48(%rdi), %rsi\n"
    "  mov 64(%rdi), %r8\n  mov 72(%rdi), %r9\n  mov 80(%rdi), %r10\n  mov 88(%rdi), %r11\n"
    "  mov 96(%rdi), %r12\n  mov 104(%rdi), %r13\n  mov 112(%rdi), %r14\n  mov 120(%rdi), %r15\n"
    "  mov 56(%rdi), %rdi\n"
    "  ljmp *entry_pointer(%rip)\n"

    "exit32:\n"
    "  movw $0x23, result+162(%rip)\n"
    "  jmp 1f\n"
    "exit64:\n"
    "  movw $0x33, result+162(%rip)\n"
    "1:\n"
    "  mov %rax, result(%rip)\n  mov %rcx, result+8(%rip)\n"
    "  mov %rdx, result+16(%rip)\n  mov %rbx, result+24(%rip)\n"
    "  mov %rsp, result+32(%rip)\n  mov %rbp, result+40(%rip)\n"
    "  mov %rsi, result+48(%rip)\n  mov %rdi, result+56(%rip)\n"
    "  mov %r8, result+64(%rip)\n  mov %r9, result+72(%rip)\n"
    "  mov %r10, result+80(%rip)\n  mov %r11, result+88(%rip)\n"
    "  mov %r12, result+96(%rip)\n  mov %r13, result+104(%rip)\n"
    "  mov %r14, result+112(%rip)\n  mov %r15, result+120(%rip)\n"
    "  mov host_rsp(%rip), %rsp\n"
    "  pushfq\n  popq result+136(%rip)\n"
    "  pushq $2\n  popfq\n"
    "  mov %ss, result+164(%rip)\n"
    "  fxsave64 result+176(%rip)\n"
    "  fninit\n  pushq $0x1f80\n  ldmxcsr (%rsp)\n"
    "leave:\n"
    "  movb $0, in_test(%rip)\n"
    "  rdfsbase %rax\n  mov %rax, result+144(%rip)\n"
    "  rdgsbase %rax\n  mov %rax, result+152(%rip)\n"
    "  mov %es, result+160(%rip)\n  mov %ds, result+166(%rip)\n"
    "  mov %fs, result+168(%rip)\n  mov %gs, result+170(%rip)\n"
    "  xor %eax, %eax\n"
    "  mov %eax, %es\n  mov %eax, %ds\n  mov %eax, %fs\n  mov %eax, %gs\n"
    "  mov host_fs(%rip), %rax\n  wrfsbase %rax\n"
    "  mov host_rsp(%rip), %rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
    "  ret\n"

    /* The kernel enters with the code's EFLAGS.AC and FS. on_signal says whether the case is over (1) or goes on (0). */
    "signal_entry:\n"
    "  pushq $2\n  popfq\n"
    "  rdfsbase %rax\n  push %rax\n"
    "  mov host_fs(%rip), %rax\n  wrfsbase %rax\n"
    "  call on_signal\n"
    "  pop %rdx\n  wrfsbase %rdx\n"
    "  test %eax, %eax\n"
    "  jnz leave\n"
    "  pushq unrestored_flags(%rip)\n  popfq\n"
    "  ret\n"
    "restorer:\n"
    "  mov $15, %eax\n" /* rt_sigreturn */
    "  syscall\n"
    "  ud2\n" /* the dispatch looks at the address after SYSCALL, which must still be inside */
    "restorer_end:\n");

static struct region regions[16];
static int region_count;
static uint64_t code_end;
static int has_tail; /* Does a JMP to the exit page follow the code? */
static volatile int ticks; /* of the interval timer, which counts CPU time, since the case started */

__attribute__((used)) int on_signal(int signal, siginfo_t *info, ucontext_t *context) {
  static const uint8_t order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  (void)info;
  const greg_t *gregs = context->uc_mcontext.gregs;
  uint64_t rip = gregs[REG_RIP];
  if (signal == SIGVTALRM) {
    unrestored_flags = 2 | (gregs[REG_EFL] & FLAGS_UNRESTORED);
    /* The first tick may come at once. Above 4 GiB is this program itself, about to finish the case. */
    if (!in_test || ++ticks < 3 || rip >> 32) return 0;
    result.trap = TRAP_TIMEOUT;
  } else if (!in_test) {
    static const char message[] = "isa runner: a fault of its own\n";
    if (write(2, message, sizeof message - 1) < 0) _exit(4);
    _exit(3);
  } else if (signal == SIGSYS) {
    result.trap = TRAP_SYSCALL;
  } else {
    result.trap = gregs[REG_TRAPNO];
    result.error = gregs[REG_ERR];
    if (result.trap == 14) result.cr2 = gregs[REG_CR2];
    /* The code's last instruction set TF: it traps after the JMP to the exit page, which is no part of the case. */
    int ended = result.trap == 1 && rip == EXIT_ENTRY;
    /* Without room for that JMP, the end shows as the INT3 after the code, or as the end of the region. */
    if (!has_tail) ended = (result.trap == 3 && rip == code_end + 1) || (result.trap == 14 && rip == code_end);
    if (ended) {
      result.trap = TRAP_NONE;
      result.error = result.cr2 = 0;
      rip = code_end;
    }
  }
  struct state *out = &result.out;
  for (int i = 0; i < 16; i++) out->gpr[i] = gregs[order[i]];
  out->rip = rip;
  out->rflags = gregs[REG_EFL];
  out->segment[1] = gregs[REG_CSGSFS] & 0xffff;
  out->segment[2] = gregs[REG_CSGSFS] >> 48 & 0xffff;
  memcpy(out->fxsave, context->uc_mcontext.fpregs, sizeof out->fxsave);
  return 1;
}

static void die(const char *what) {
  fprintf(stderr, "isa runner: %s: %s\n", what, strerror(errno));
  exit(2);
}

static void catch_signal(int signal) {
  struct { void (*handler)(void); unsigned long flags; void (*restorer)(void); uint64_t mask; } action = {
      signal_entry, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART | SA_RESTORER, restorer, 0};
  if (syscall(SYS_rt_sigaction, signal, &action, 0, sizeof action.mask)) die("rt_sigaction");
}

static void *map_fixed(uint64_t address, uint64_t length) {
  void *at = mmap((void *)address, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at != (void *)address) die("mmap");
  return at;
}

static void protect(void *at, uint64_t length, int protection) {
  if (mprotect(at, length, protection)) die("mprotect");
}

static void map_exit(void) {
  uint8_t *page = map_fixed(EXIT_PAGE, 4096), *far_pointer = map_fixed(EXIT_POINTER64 & ~4095u, 4096);
  static const uint8_t ljmp[] = {0x2e, 0xff, 0x2d, EXIT_POINTER32 & 0xff, EXIT_POINTER32 >> 8 & 0xff, EXIT_POINTER32 >> 16 & 0xff,
                                 EXIT_POINTER32 >> 24};
  memcpy(page + 1, ljmp, sizeof ljmp);
  void (*const exits[2])(void) = {exit32, exit64};
  for (int i = 0; i < 2; i++) { /* at EXIT_PAGE + 0x202 + 0x20·i: jmp *[rip]; .quad exits[i], aligned */
    uint8_t *stub = page + 0x202 + 0x20 * i;
    memcpy(stub, "\xff\x25\0\0\0\0", 6);
    memcpy(stub + 6, &exits[i], 8);
    uint32_t offset = EXIT_PAGE + 0x202 + 0x20 * i;
    uint8_t *pointer = i ? far_pointer + (EXIT_POINTER64 & 4095) : page + 0x100;
    memcpy(pointer, &offset, 4);
    memcpy(pointer + 4, "\x33", 2);
  }
  protect(page, 4096, PROT_READ | PROT_EXEC);
  protect(far_pointer, 4096, PROT_READ);
}

static void map(const struct map_record *record) {
  if (region_count == 16) errno = ENOSPC, die("map");
  struct region *r = &regions[region_count++];
  r->address = record->address;
  r->length = record->length;
  r->writable = record->flags & MAP_WRITE;
  r->base = malloc(r->length);
  r->before = malloc(r->length);
  if (!r->base || !r->before) die("malloc");
  memcpy(r->base, record + 1, r->length);
  memcpy(r->before, record + 1, r->length);
  memcpy(map_fixed(r->address, r->length), record + 1, r->length);
  protect((void *)r->address, r->length,
          PROT_READ | (r->writable ? PROT_WRITE : 0) | (record->flags & MAP_EXECUTE ? PROT_EXEC : 0));
}

/* Writes the case's own bytes, or with bytes == 0 brings the region's usual contents back. */
static void put(uint64_t address, uint64_t length, const void *bytes) {
  for (struct region *r = regions; r < regions + region_count; r++) {
    if (address < r->address || address + length > r->address + r->length) continue;
    uint64_t offset = address - r->address;
    const void *from = bytes ? bytes : r->base + offset;
    memcpy((void *)address, from, length);
    memcpy(r->before + offset, from, length);
    return;
  }
  errno = EFAULT;
  die("a patch outside the regions");
}

static int in_region(uint64_t address, uint64_t length) {
  for (struct region *r = regions; r < regions + region_count; r++)
    if (address >= r->address && address + length <= r->address + r->length) return 1;
  return 0;
}

static uint8_t *output, *output_end;
#define OUTPUT_SIZE (1 << 20)

static void flush(void) {
  for (uint8_t *from = output; from < output_end;) {
    ssize_t n = write(1, from, output_end - from);
    if (n < 0) die("write");
    from += n;
  }
  output_end = output;
}

static void emit(const void *bytes, size_t length) {
  if (output_end + length > output + OUTPUT_SIZE) flush();
  memcpy(output_end, bytes, length);
  output_end += length;
}

static void run(struct run_record *record) {
  const uint8_t *code = (const uint8_t *)(record + 1);
  const struct word *patches = (const struct word *)(code + ((record->code_length + 7) & ~7u));
  uint8_t tail[5] = {0xe9};
  code_end = record->code_address + record->code_length;
  uint32_t distance = EXIT_ENTRY - (uint32_t)(code_end + sizeof tail);
  memcpy(tail + 1, &distance, 4);
  has_tail = in_region(code_end, sizeof tail);

  for (uint32_t i = 0; i < record->patch_count; i++) put(patches[i].address, 8, &patches[i].value);
  put(record->code_address, record->code_length, code);
  if (has_tail) put(code_end, sizeof tail, tail);

  static struct state in __attribute__((aligned(16)));
  in = record->in;
  input = &in;
  memset(&result, 0, sizeof result);
  result.trap = TRAP_NONE;
  result.out.rip = code_end;
  ticks = 0;
  /* Ticks count the case's own time. One that stays in the kernel (a fault that Linux repeats for ever) ends the runner. */
  alarm(HANG_SECONDS);
  enter();
  alarm(0);

  /* x87's last-instruction pointers: AMD saves them only with an exception pending, and the rest is reserved. */
  memset(result.out.fxsave + 6, 0, 18);
  memset(result.out.fxsave + 416, 0, 96);
  struct word changes[8192];
  for (struct region *r = regions; r < regions + region_count; r++) {
    if (!r->writable) continue;
    for (uint64_t chunk = 0; chunk < r->length; chunk += 256) {
      if (!memcmp((void *)(r->address + chunk), r->before + chunk, 256)) continue;
      for (uint64_t offset = chunk; offset < chunk + 256; offset += 8) {
        uint64_t *now = (uint64_t *)(r->address + offset);
        if (*now == *(uint64_t *)(r->before + offset)) continue;
        if (result.change_count == sizeof changes / sizeof *changes) errno = ENOSPC, die("changes");
        changes[result.change_count++] = (struct word){r->address + offset, *now};
        memcpy(now, r->base + offset, 8);
      }
    }
  }
  put(record->code_address, record->code_length, 0);
  if (has_tail) put(code_end, sizeof tail, 0);
  for (uint32_t i = 0; i < record->patch_count; i++) put(patches[i].address, 8, 0);
  emit(&result, sizeof result);
  emit(changes, result.change_count * sizeof *changes);
}

int main(void) {
  if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) errno = ENOSYS, die("FSGSBASE");
  __asm__("rdfsbase %0" : "=r"(host_fs));
  static uint8_t stack[1 << 16];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  if (sigaltstack(&alternate, 0)) die("sigaltstack");
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGVTALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) catch_signal(signals[i]);
  if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, restorer, restorer_end - (const uint8_t *)restorer, &in_test))
    die("syscall user dispatch");
  struct itimerval interval = {{0, 20000}, {0, 20000}};
  if (setitimer(ITIMER_VIRTUAL, &interval, 0)) die("setitimer");
  map_exit();

  /* One record must fit in half of the input buffer. */
  const size_t capacity = 1 << 20;
  uint8_t *buffer = malloc(capacity);
  output = output_end = malloc(OUTPUT_SIZE);
  if (!buffer || !output) die("malloc");
  size_t start = 0, end = 0;
  for (;;) {
    struct record *record = (struct record *)(buffer + start);
    if (end - start >= sizeof *record && end - start >= record->size) {
      if (record->kind == RECORD_MAP) map((struct map_record *)record);
      else if (record->kind == RECORD_RUN) run((struct run_record *)record);
      else errno = EINVAL, die("record");
      start += record->size;
      continue;
    }
    memmove(buffer, buffer + start, end - start);
    end -= start;
    start = 0;
    flush();
    ssize_t n = read(0, buffer + end, capacity - end);
    if (n < 0) die("read");
    if (n == 0) break;
    end += n;
  }
  if (end) errno = EPIPE, die("a record was cut short");
  return 0;
}
