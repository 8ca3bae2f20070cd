/*
 * Every exception that ring 0 of long mode can raise: vector, error code, saved RIP, CR2, IST (Intel SDM vol. 3, chapter 6).
 * INTO, BOUND and #TS are in segments32.c, #AC and the user-mode error codes in usermode.c, the triple fault in reset.c.
 */
#include "guest.h"

#define UNMAPPED ((char *)0x10) /* page 0 is absent */
#define NON_CANONICAL 0x800000000000ul

static uint8_t ist_stack[3][4096] __attribute__((aligned(16)));

uint64_t fault_at;

/* TRAP() of one labelled instruction; checks that the saved RIP is `offset` bytes behind its start. */
#define CHECK_TRAP_BY(checker, name, code, want, want_error, offset, ...) \
  do { \
    int vector = TRAP("movq $8f, fault_at\n\t8:\t" code, __VA_ARGS__); \
    checker(vector == (want) && trapped.error == (want_error) && trapped.ip == fault_at + (offset), name, \
          "vector %d, error 0x%lx, RIP %ld bytes on; want %d, 0x%lx, %d", vector, (unsigned long)trapped.error, \
          (long)(trapped.ip - fault_at), want, (unsigned long)(want_error), offset); \
  } while (0)
#define CHECK_TRAP(...) CHECK_TRAP_BY(check, __VA_ARGS__)
#define CHECK_TRAP_NOT_TCG(...) CHECK_TRAP_BY(check_not_tcg, __VA_ARGS__)

static void arithmetic(void) {
  uint32_t a = 1, d = 0;
  CHECK_TRAP("#DE by zero", "div %2", DE, 0, 0, : "+a"(a), "+d"(d) : "r"(0));
  a = 0x80000000, d = 0xffffffff;
  CHECK_TRAP("#DE overflow", "idiv %2", DE, 0, 0, : "+a"(a), "+d"(d) : "r"(-1));
}

static void debug(void) {
  CHECK_TRAP("#DB by TF", "pushf; orl $0x100, (%%rsp); popf; nop; nop", DB, 0, 10, : :);
  CHECK_TRAP_NOT_TCG("#DB by INT1", ".byte 0xf1", DB, 0, 1, : :);
  CHECK_TRAP("#BP", "int3", BP, 0, 1, : :);

  static uint32_t watched;
  uint64_t dr6;
  __asm__ volatile("mov %0, %%dr0; mov %1, %%dr6" ::"r"(&watched), "r"(0xffff0ff0ul));
  int vector = TRAP("mov %0, %%dr7; movl $7, watched_alias; nop; nop" , : : "r"(0xd0402ul | 1 << 10) : "memory");
  __asm__ volatile("mov %%dr6, %0; mov %1, %%dr7" : "=r"(dr6) : "r"(0x400ul));
  check(vector == NO_TRAP, "DR7 does not watch other addresses", "vector %d", vector);
  vector = TRAP("mov %1, %%dr7; movl $7, %0; nop; nop", : "=m"(watched) : "r"(0xd0402ul) : "memory");
  __asm__ volatile("mov %%dr6, %0; mov %1, %%dr7" : "=r"(dr6) : "r"(0x400ul));
  check(vector == DB && dr6 & 1 && watched == 7, "#DB after a watched write", "vector %d, DR6 0x%lx", vector, dr6);
  __asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0ul));
  vector = TRAP("lea 7f(%%rip), %%rax; mov %%rax, fault_at; mov %%rax, %%dr0; mov %0, %%dr7; 7: nop", : : "r"(0x402ul) : "rax", "memory");
  __asm__ volatile("mov %%dr6, %0; mov %1, %%dr7" : "=r"(dr6) : "r"(0x400ul));
  check(vector == DB && dr6 & 1 && trapped.ip == fault_at, "#DB before a breakpoint's instruction", "vector %d, DR6 0x%lx", vector, dr6);
}
uint32_t watched_alias;

static void opcodes(void) {
  CHECK_TRAP("#UD by UD2", "ud2", UD, 0, 0, : :);
  CHECK_TRAP("#UD by LOCK on a register", ".byte 0xf0, 0x01, 0xc0", UD, 0, 0, : :);
  CHECK_TRAP_NOT_TCG("#UD by LOCK on MOV", ".byte 0xf0, 0x89, 0x04, 0x24", UD, 0, 0, : :);
  CHECK_TRAP("#UD by PUSH ES", ".byte 0x06", UD, 0, 0, : :);
  CHECK_TRAP("#UD by INTO", ".byte 0xce", UD, 0, 0, : :);
  CHECK_TRAP("#UD by MOV CS", ".byte 0x8e, 0xc8", UD, 0, 0, : :);
  CHECK_TRAP("INT 4 is vector 4", "int $4", OF, 0, 2, : :);
  CHECK_TRAP("#GP by 16 bytes of instruction", ".fill 14, 1, 0x66; .byte 0x01, 0xc0", GP, 0, 0, : :);
}

static void floating_point(void) {
  write_cr0(read_cr0() | CR0_TS);
  CHECK_TRAP("#NM by x87", "fld1", NM, 0, 0, : :);
  CHECK_TRAP("#NM by SSE", "xorps %%xmm0, %%xmm0", NM, 0, 0, : :);
  __asm__ volatile("clts");
  check(!(read_cr0() & CR0_TS), "CLTS", "CR0.TS is still set");

  static const uint16_t unmask_zero_divide = 0x37f & ~4, default_word = 0x37f;
  CHECK_TRAP("#MF at the next x87 instruction", "fldcw (%0); fld1; fldz; fdivrp; fwait", MF, 0, 8, : : "a"(&unmask_zero_divide));
  __asm__ volatile("fnclex; fninit; fldcw %0" ::"m"(default_word));

  static const uint32_t unmask = 0x1f80 & ~0x200u, default_mxcsr = 0x1f80;
  static const float one = 1, zero = 0;
  int vector = TRAP("ldmxcsr %0; movss %1, %%xmm0; divss %2, %%xmm0", : : "m"(unmask), "m"(one), "m"(zero) : "memory");
  __asm__ volatile("ldmxcsr %0" ::"m"(default_mxcsr));
  check_not_tcg(vector == XM, "#XM by an unmasked SSE exception", "vector %d", vector); /* TCG 7.2 only sets the flag */
}

static void segments(void) {
  gdt[SEL_SPARE / 8] = 0x00cf13000000ffff;     /* data, not present */
  gdt[SEL_SPARE / 8 + 1] = 0x00cf93000000ffff; /* data, present */
  CHECK_TRAP("#NP by a data segment", "mov %0, %%es", NP, SEL_SPARE, 0, : : "r"(SEL_SPARE));
  CHECK_TRAP("#SS by a stack segment that is absent", "mov %0, %%ss", SS, SEL_SPARE, 0, : : "r"(SEL_SPARE));
  CHECK_TRAP("#GP beyond the GDT", "mov %0, %%es", GP, 0x1000, 0, : : "r"(0x1000));
  CHECK_TRAP("#GP names the selector without RPL", "mov %0, %%es", GP, 0x1000, 0, : : "r"(0x1003));
  CHECK_TRAP("#GP with TI for an absent LDT", "mov %0, %%es", GP, 0xc, 0, : : "r"(0xc));
  CHECK_TRAP("#GP by code as stack", "mov %0, %%ss", GP, SEL_KERNEL_CODE, 0, : : "r"(SEL_KERNEL_CODE));
  CHECK_TRAP("#GP by RPL 3 in SS", "mov %0, %%ss", GP, SEL_SPARE + 8, 0, : : "r"(SEL_SPARE + 8 + 3));
  int vector = TRAP("mov %0, %%ss; mov %1, %%ss", : : "r"(0), "r"(SEL_KERNEL_DATA) : "memory");
  check(vector == NO_TRAP, "SS may be null in ring 0", "vector %d", vector);

  set_gate(0x60, trap_entry[0x60], SEL_KERNEL_CODE, GATE_INTERRUPT & ~0x80, 0);
  /* TCG 7.2 computes these error codes in long mode as vector * 16 + 2. */
  CHECK_TRAP_NOT_TCG("#NP by an absent gate", "int $0x60", NP, 0x60 * 8 + 2, 0, : :);
  set_gate(0x60, trap_entry[0x60], SEL_KERNEL_DATA, GATE_INTERRUPT, 0);
  CHECK_TRAP("#GP by a gate into data", "int $0x60", GP, SEL_KERNEL_DATA, 0, : :);
  set_gate(0x60, trap_entry[0x60], 0, GATE_INTERRUPT, 0);
  CHECK_TRAP("#GP by a gate with a null selector", "int $0x60", GP, 0, 0, : :);
  set_gate(0x60, trap_entry[0x60], SEL_KERNEL_CODE, 0x85, 0);
  CHECK_TRAP_NOT_TCG("#GP by a task gate in long mode", "int $0x60", GP, 0x60 * 8 + 2, 0, : :);
  set_gate(0x60, trap_entry[0x60], SEL_KERNEL_CODE, GATE_INTERRUPT, 0);
}

static void protection(void) {
  CHECK_TRAP("#GP by a non-canonical read", "mov (%0), %%al", GP, 0, 0, : : "r"(NON_CANONICAL) : "rax");
  /* TCG 7.2 reads unknown MSRs as 0 and checks no value written to one. */
  CHECK_TRAP_NOT_TCG("#GP by an unknown MSR", "rdmsr", GP, 0, 0, : : "c"(0x12345678) : "rax", "rdx");
  CHECK_TRAP_NOT_TCG("#GP by a non-canonical FS base", "wrmsr", GP, 0, 0, : : "c"(MSR_FS_BASE), "a"(0), "d"(0x8000));
  uint64_t efer = rdmsr(MSR_EFER);
  CHECK_TRAP_NOT_TCG("#GP by EFER's reserved bits", "wrmsr", GP, 0, 0, : : "c"(MSR_EFER), "a"(0xffffffff), "d"(0xffffffff));
  wrmsr(MSR_EFER, efer);
  wrmsr(MSR_FS_BASE, 0);
  if (!under_tcg()) { /* TCG 7.2 obeys, and the guest is lost */
    CHECK_TRAP("#GP by PG without PE", "mov %0, %%cr0", GP, 0, 0, : : "r"(read_cr0() & ~(uint64_t)CR0_PE));
    CHECK_TRAP("#GP by clearing PAE in long mode", "mov %0, %%cr4", GP, 0, 0, : : "r"(read_cr4() & ~(uint64_t)CR4_PAE));
    CHECK_TRAP("#GP by CR0's upper half", "mov %0, %%cr0", GP, 0, 0, : : "r"(read_cr0() | 1ul << 32));
  }
  CHECK_TRAP("#UD by CR1", ".byte 0x0f, 0x20, 0xc8", UD, 0, 0, : : : "rax");
  CHECK_TRAP("#GP by an unaligned MOVAPS", "movaps 1(%%rsp), %%xmm0", GP, 0, 0, : :);
  int vector = TRAP("jmp *%0", : : "r"(NON_CANONICAL) : "memory"); /* CPUs differ in whether RIP is the jump or its target */
  check(vector == GP && trapped.error == 0, "#GP by a non-canonical jump target", "vector %d", vector);
  CHECK_TRAP("#GP by IRET with NT", "pushf; orl $0x4000, (%%rsp); popf; iretq", GP, 0, 9, : :);
  __asm__ volatile("pushf; andl $~0x4000, (%%rsp); popf" ::: "memory", "cc");
  vector = TRAP("mov (%%rsp, %0), %%al", : : "r"(NON_CANONICAL) : "rax", "memory");
  check_not_tcg(vector == SS, "#SS by a non-canonical stack address", "vector %d", vector); /* TCG: always #GP */
}

static void page_faults(void) {
  CHECK_TRAP("#PF reading", "mov (%0), %%al", PF, 0, 0, : : "r"(UNMAPPED) : "rax");
  check_eq("CR2 of the read", trapped.cr2, (reg)UNMAPPED);
  CHECK_TRAP("#PF writing", "mov %%al, 0x20(%0)", PF, 2, 0, : : "r"(UNMAPPED));
  check_eq("CR2 of the write", trapped.cr2, 0x30);
  CHECK_TRAP_NOT_TCG("#PF by read-modify-write says write", "incb (%0)", PF, 2, 0, : : "r"(UNMAPPED));
  fault_at = (reg)UNMAPPED;
  int vector = TRAP("call *%0", : : "r"(UNMAPPED) : "memory");
  check(vector == PF && !(trapped.error & ~0x10ul) && trapped.ip == (reg)UNMAPPED && trapped.cr2 == (reg)UNMAPPED,
        "#PF fetching", "vector %d, error 0x%lx", vector, (unsigned long)trapped.error);
  CHECK_TRAP("#PF by PUSH leaves RSP", "push (%0)", PF, 0, 0, : : "r"(UNMAPPED));
}

static struct trap_frame *seen_at;
static void note_frame(struct trap_frame *frame) {
  seen_at = frame;
  frame->flags &= ~(reg)RFLAGS_TF;
}
static bool on_stack(const uint8_t *stack) { return (uint8_t *)seen_at >= stack && (uint8_t *)seen_at < stack + 4096; }

static void stacks(void) {
  tss.ist[0] = (reg)ist_stack[0] + 4096;
  tss.ist[1] = (reg)ist_stack[1] + 4096 - 8; /* the CPU aligns to 16 bytes only the stack it does not switch */
  set_handler(0x61, note_frame);
  set_gate(0x61, trap_entry[0x61], SEL_KERNEL_CODE, GATE_INTERRUPT, 1);
  __asm__ volatile("int $0x61" ::: "memory");
  check(on_stack(ist_stack[0]), "IST1", "handled at %p", (void *)seen_at);
  set_gate(0x61, trap_entry[0x61], SEL_KERNEL_CODE, GATE_INTERRUPT, 2);
  __asm__ volatile("int $0x61" ::: "memory");
  check(on_stack(ist_stack[1]), "IST2", "handled at %p", (void *)seen_at);
  check_eq("IST stack pointers are aligned down to 16", (reg)(seen_at + 1) & 15, 0);
  set_gate(0x61, trap_entry[0x61], SEL_KERNEL_CODE, GATE_INTERRUPT, 0);
  uint64_t sp_before;
  __asm__ volatile("mov %%rsp, %0; sub $24, %%rsp; and $-16, %%rsp; sub $8, %%rsp; int $0x61; mov %0, %%rsp" : "=&b"(sp_before)::"memory", "cc");
  check(((reg)(seen_at + 1) & 15) == 0 && (seen_at->sp & 15) == 8, "the frame is aligned to 16, the saved RSP exact", "at %p", (void *)(seen_at + 1));
}

static void gate_flags(void) {
  static volatile reg flags_inside;
  __asm__ volatile("jmp 1f\n"
                   "flags_entry: pushf; pop %%rax; mov %%rax, %0; iretq\n1:" : "=m"(flags_inside)::"rax");
  extern char flags_entry[];
  sti();
  set_gate(0x62, flags_entry, SEL_KERNEL_CODE, GATE_INTERRUPT, 0);
  __asm__ volatile("int $0x62" ::: "rax", "memory");
  check(!(flags_inside & RFLAGS_IF) && read_flags() & RFLAGS_IF, "an interrupt gate clears IF, IRET restores it", "flags 0x%lx", (unsigned long)flags_inside);
  set_gate(0x62, flags_entry, SEL_KERNEL_CODE, GATE_TRAP, 0);
  __asm__ volatile("int $0x62" ::: "rax", "memory");
  check(flags_inside & RFLAGS_IF, "a trap gate keeps IF", "flags 0x%lx", (unsigned long)flags_inside);
  cli();
  TRAP("ud2", : : : "memory");
  check_not_tcg(trapped.flags & RFLAGS_RF, "a fault saves RF = 1", "flags 0x%lx", (unsigned long)trapped.flags); /* TCG saves 0 */
}

static int depth, deepest;
static void nest(struct trap_frame *frame) {
  (void)frame;
  if (++depth > deepest) deepest = depth;
  if (depth < 50) __asm__ volatile("int3" ::: "memory");
  depth--;
}

static void nested(void) {
  set_handler(BP, nest);
  __asm__ volatile("int3" ::: "memory");
  set_handler(BP, NULL);
  check(deepest == 50 && depth == 0, "exceptions nest", "depth %d of 50", deepest);
}

static void double_faults(void) {
  set_gate(DF, trap_entry[DF], SEL_KERNEL_CODE, GATE_INTERRUPT, 1);
  set_gate(GP, trap_entry[GP], SEL_KERNEL_CODE, GATE_INTERRUPT & ~0x80, 0);
  int vector = TRAP("mov %0, %%es", : : "r"(0x1000) : "memory");
  check(vector == DF && trapped.error == 0, "#DF when #GP cannot be delivered", "vector %d, error 0x%lx", vector, (unsigned long)trapped.error);
  set_gate(GP, trap_entry[GP], SEL_KERNEL_CODE, GATE_INTERRUPT, 0);

  vector = TRAP("xor %%esp, %%esp; mov $0x100, %%esp; push %%rax", : : : "memory");
  check(vector == DF && trapped.error == 0, "#DF when the stack of #PF is absent", "vector %d", vector);

  set_gate(UD, trap_entry[UD], SEL_KERNEL_CODE, GATE_INTERRUPT & ~0x80, 0);
  vector = TRAP("ud2", : : : "memory");
  check(vector == NP, "a benign exception and #NP give #NP", "vector %d", vector);
  check_not_tcg(trapped.error == UD * 8 + 2 + 1, "with IDT and EXT in its error code", "0x%lx", (unsigned long)trapped.error);
  set_gate(UD, trap_entry[UD], SEL_KERNEL_CODE, GATE_INTERRUPT, 0);
}

void guest_main(void) {
  arithmetic();
  debug();
  opcodes();
  floating_point();
  segments();
  protection();
  page_faults();
  stacks();
  gate_flags();
  nested();
  double_faults();
}
