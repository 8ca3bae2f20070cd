/*
 * Ring 3 of long mode: IRET into it, gates, SYSCALL, SYSENTER, faults and their error codes, I/O permission, alignment
 * checks, 32-bit code (Intel SDM vol. 3, 5.8, 6.12, 19.5). User programs are pieces of assembly, copied to a page that
 * ring 3 may touch, which end by INT 0x80 or by a fault.
 */
#include "guest.h"

#define USER 0x1000000ul /* a 2 MiB page made accessible to ring 3: code here, */
#define USER_DATA (USER + 0x8000)
#define USER_STACK (USER + 0x10000)
#define KERNEL_DATA 0x1200000ul /* the next page: ring 0 only */
#define RFLAGS_FIXED 2ul
#define RFLAGS_IOPL3 (3ul << 12)

extern uint64_t boot_pd[];
static struct trap_frame user; /* how ring 3 was left */
static uint8_t rsp0_stack[8192] __attribute__((aligned(16)));
static struct trap_frame *user_frame_at;

/* enter_user(ip, cs, flags): pushes what C wants kept and leaves by IRET; back_from_user pops it. */
uint64_t kernel_sp;
void enter_user(uint64_t ip, uint64_t cs, uint64_t flags);
void back_from_user(void);
__asm__(".text\n"
        "enter_user: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, kernel_sp\n"
        "pushq $0x2b; pushq $0x1010000; push %rdx; push %rsi; push %rdi\n" /* SS = user data, RSP = USER_STACK */
        "mov $0x1111, %eax; mov $0x2222, %ebx; mov $0x3333, %ebp; iretq\n"
        "back_from_user: pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret");

static void leave_user(struct trap_frame *frame) {
  user = *frame;
  user_frame_at = frame;
  trapped.cr2 = read_cr2();
  frame->ip = (reg)back_from_user;
  frame->cs = SEL_KERNEL_CODE;
  frame->sp = kernel_sp;
  frame->ss = SEL_KERNEL_DATA;
  frame->flags = RFLAGS_FIXED;
}

#define PROGRAM(name, code) \
  __asm__(".section .rodata\n" #name ": " code "\n" #name "_end: .byte 0\n.text"); \
  extern const char name[], name##_end[]

static int run_as(const char *from, const char *end, uint64_t cs, uint64_t flags) {
  memcpy((void *)USER, from, end - from);
  for (int vector = 0; vector < 32; vector++) set_handler(vector, leave_user);
  enter_user(USER, cs, flags);
  for (int vector = 0; vector < 32; vector++) set_handler(vector, NULL);
  return user.vector;
}
#define RUN(name) run_as(name, name##_end, SEL_USER_CODE64 | 3, RFLAGS_FIXED)
#define RUN_WITH(name, cs, flags) run_as(name, name##_end, cs, flags)

static void expect_by(void (*checker)(bool, const char *, const char *, ...), const char *name, int vector, int want, uint64_t error) {
  checker(vector == want && user.error == error, name, "vector %d, error 0x%lx; want %d, 0x%lx", vector, (unsigned long)user.error, want,
          (unsigned long)error);
}
#define expect(...) expect_by(check, __VA_ARGS__)

PROGRAM(plain, "lea 5(%rax), %rcx; push %rcx; pop %rdx; int $0x80");
PROGRAM(gate0, "int $0x81");
PROGRAM(breakpoint, "int3");
PROGRAM(u_hlt, "hlt");
PROGRAM(u_cli, "cli");
PROGRAM(u_out, "mov $0x99, %al; out %al, $0x80; int $0x80");
PROGRAM(u_out81, "out %al, $0x81; int $0x80");
PROGRAM(u_outw80, "out %ax, $0x80; int $0x80");
PROGRAM(u_cr3, "mov %cr3, %rax");
PROGRAM(u_dr7, "mov %dr7, %rax");
PROGRAM(u_rdmsr, "mov $0xc0000080, %ecx; rdmsr");
PROGRAM(u_lgdt, "lgdt (%rsp)");
PROGRAM(u_ltr, "ltr %ax");
PROGRAM(u_invlpg, "invlpg (%rsp)");
PROGRAM(u_swapgs, "swapgs");
PROGRAM(u_clts, "clts");
PROGRAM(u_wbinvd, "wbinvd");
PROGRAM(u_read, "mov 0x1200000, %eax");
PROGRAM(u_write, "movl $1, 0x1200000");
PROGRAM(u_fetch, "mov $0x1200000, %eax; jmp *%rax");
PROGRAM(u_absent, "mov 0x10, %eax");
PROGRAM(u_absent_write, "mov %eax, 0x10");
PROGRAM(u_popf, "pushq $0x3202; popfq; pushfq; pop %rax; int $0x80"); /* asks for IF and IOPL 3 */
PROGRAM(u_rdtsc, "rdtsc; int $0x80");
PROGRAM(u_cli_sti, "cli; pushfq; pop %rax; sti; pushfq; pop %rbx; cli; int $0x80");
PROGRAM(u_unaligned, "mov 0x1008001, %eax; int $0x80");
PROGRAM(u_single, "nop; nop; int $0x80");
PROGRAM(u_ss, "mov $0x18, %eax; mov %eax, %ss");
PROGRAM(u_ds, "mov $0x18, %eax; mov %eax, %ds");
PROGRAM(u_iret_ring0, "pushq $0x18; push %rsp; pushfq; pushq $0x10; pushq $0x1000000; iretq");
PROGRAM(u_far_same, "pushq $0x33; lea 1f(%rip), %rax; push %rax; lretq; 1: mov $77, %edx; int $0x80");
PROGRAM(u_spin, "1: inc %rax; jmp 1b");
PROGRAM(u_syscall, "mov $0x3246, %r8d; push %r8; popfq; mov $0x55, %eax; syscall; 1: mov %rcx, %r8; mov %r11, %r9; pushfq; pop %r10; mov %cs, %r12d; mov %ss, %r13d; int $0x80");
PROGRAM(u_sysenter, "mov %rsp, %rcx; lea 1f(%rip), %rdx; mov $0x66, %eax; sysenter; 1: mov %cs, %r12d; mov %ss, %r13d; int $0x80");
/* 32-bit: inc %ecx; push %eax; mov %cs, %edx; mov $0xffffffff, %edi; inc %edi; int $0x80 */
PROGRAM(u_compat, ".code32; inc %ecx; mov $-1, %edi; inc %edi; mov %esp, %esi; push %eax; sub %esp, %esi; mov %cs, %edx; int $0x80; .code64");
PROGRAM(u_compat_far, ".code32; ljmp $0x33, $0x1000007; .code64; mov $0x123456789abc, %rdx; int $0x80");
PROGRAM(u_compat_into, ".code32; mov $0x7f, %al; add $1, %al; into; .code64");

static void gates(void) {
  expect("IRET enters ring 3 and INT leaves it", RUN(plain), 0x80, 0);
  check(user.cs == (SEL_USER_CODE64 | 3) && user.ss == (SEL_USER_DATA | 3) && user.sp == USER_STACK, "its selectors and stack",
        "CS %lx SS %lx RSP %lx", user.cs, user.ss, user.sp);
  check(user.rax == 0x1111 && user.rcx == 0x1116 && user.rdx == 0x1116 && user.rbp == 0x3333, "its registers", "RCX %lx", user.rcx);
  check((uint8_t *)(user_frame_at + 1) == rsp0_stack + sizeof rsp0_stack, "the frame lies at RSP0", "at %p", (void *)user_frame_at);
  /* TCG 7.2 computes these error codes in long mode as vector * 16 + 2. */
  expect_by(check_not_tcg, "INT through a gate of DPL 0", RUN(gate0), GP, 0x81 * 8 + 2);
  check(user.vector == GP, "is denied", "vector %lu", user.vector);
  expect_by(check_not_tcg, "INT3 through a gate of DPL 0", RUN(breakpoint), GP, BP * 8 + 2);
  expect("TF traps in ring 3", RUN_WITH(u_single, SEL_USER_CODE64 | 3, RFLAGS_FIXED | RFLAGS_TF), DB, 0);
  check_eq("after one instruction", user.ip, USER + 1);
  expect("far return within ring 3", RUN(u_far_same), 0x80, 0);
  check_eq("gets there", user.rdx, 77);
}

static void privileged(void) {
#define DENIED(program, name) expect(name " is denied", RUN(program), GP, 0)
  DENIED(u_hlt, "HLT");
  DENIED(u_cli, "CLI with IOPL 0");
  DENIED(u_out, "OUT with IOPL 0");
  DENIED(u_cr3, "MOV from CR3");
  DENIED(u_dr7, "MOV from DR7");
  DENIED(u_rdmsr, "RDMSR");
  DENIED(u_lgdt, "LGDT");
  DENIED(u_ltr, "LTR");
  DENIED(u_invlpg, "INVLPG");
  DENIED(u_swapgs, "SWAPGS");
  DENIED(u_clts, "CLTS");
  DENIED(u_wbinvd, "WBINVD");
  expect("ring 0's SS is denied", RUN(u_ss), GP, SEL_KERNEL_DATA);
  expect("ring 0's DS is denied", RUN(u_ds), GP, SEL_KERNEL_DATA);
  expect("IRET into ring 0 is denied", RUN(u_iret_ring0), GP, SEL_KERNEL_CODE);
  RUN(u_popf);
  check(!(user.rax & (RFLAGS_IF | RFLAGS_IOPL3)), "POPF changes neither IF nor IOPL", "flags 0x%lx", user.rax);
  RUN_WITH(u_cli_sti, SEL_USER_CODE64 | 3, RFLAGS_FIXED | RFLAGS_IOPL3 | RFLAGS_IF);
  check(user.vector == 0x80 && !(user.rax & RFLAGS_IF) && user.rbx & RFLAGS_IF, "with IOPL 3, CLI and STI work", "vector %lu", user.vector);
  expect("with IOPL 3, OUT works", RUN_WITH(u_out, SEL_USER_CODE64 | 3, RFLAGS_FIXED | RFLAGS_IOPL3), 0x80, 0);
  RUN(u_rdtsc);
  check(user.vector == 0x80, "RDTSC works", "vector %lu", user.vector);
  write_cr4(read_cr4() | 4);
  expect("CR4.TSD denies it", RUN(u_rdtsc), GP, 0);
  write_cr4(read_cr4() & ~4ul);
}

/* A TSS with an I/O bitmap that opens port 0x80. */
static void port_permissions(void) {
  static struct { struct tss tss; uint8_t bitmap[8193]; } __attribute__((packed)) wide;
  wide.tss = tss;
  wide.tss.iomap_base = sizeof wide.tss - 1; /* the last byte of our struct is the bitmap's first */
  memset(&wide.tss.iomap_end, 0xff, sizeof wide - offsetof(__typeof__(wide), tss.iomap_end));
  (&wide.tss.iomap_end)[0x80 / 8] = 0xfe;
  reg base = (reg)&wide;
  uint64_t limit = sizeof wide - 1, old[2] = {gdt[SEL_TSS / 8], gdt[SEL_TSS / 8 + 1]};
  gdt[SEL_TSS / 8] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
  __asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
  expect("the I/O bitmap opens a port", RUN(u_out), 0x80, 0);
  expect("but not its neighbour", RUN(u_out81), GP, 0);
  expect("nor both as a word", RUN(u_outw80), GP, 0);
  gdt[SEL_TSS / 8] = old[0] & ~(2ull << 40);
  gdt[SEL_TSS / 8 + 1] = old[1];
  __asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
}

static void page_faults(void) {
  expect("reading the kernel's page", RUN(u_read), PF, 5);
  check_eq("CR2", trapped.cr2, KERNEL_DATA);
  expect("writing it", RUN(u_write), PF, 7);
  bool nx = cpuid(0x80000001, 0).edx & 1 << 20;
  if (nx) wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
  expect("executing it", RUN(u_fetch), PF, nx ? 0x15 : 5);
  check_eq("RIP is the target", user.ip, KERNEL_DATA);
  expect("reading an absent page", RUN(u_absent), PF, 4);
  expect("writing an absent page", RUN(u_absent_write), PF, 6);
}

static void alignment(void) {
  write_cr0(read_cr0() | 1u << 18);
  expect("without EFLAGS.AC, alignment is free", RUN(u_unaligned), 0x80, 0);
  int vector = RUN_WITH(u_unaligned, SEL_USER_CODE64 | 3, RFLAGS_FIXED | RFLAGS_AC);
  expect_by(check_not_tcg, "#AC", vector, AC, 0); /* TCG 7.2 never checks */
  write_cr0(read_cr0() & ~(1ul << 18));
}

/* The kernel's side of SYSCALL: notes what it found and returns by SYSRET. */
uint64_t syscall_rcx, syscall_r11, syscall_cs, syscall_ss, syscall_flags, syscall_count, user_sp;
extern char syscall_entry[], sysenter_entry[], sysret32_to[];
__asm__(".text\n"
        "syscall_entry: mov %rsp, user_sp; mov $rsp0_top, %rsp; mov (%rsp), %rsp\n"
        "mov %rcx, syscall_rcx; mov %r11, syscall_r11; pushf; popq syscall_flags\n"
        "mov %cs, %eax; mov %rax, syscall_cs; mov %ss, %eax; mov %rax, syscall_ss; incq syscall_count\n"
        "mov user_sp, %rsp; sysretq\n"
        "sysenter_entry: pushf; popq syscall_flags; mov %cs, %eax; mov %rax, syscall_cs; mov %ss, %eax; mov %rax, syscall_ss\n"
        "incq syscall_count; rex.w sysexit");
uint64_t rsp0_top;

static void fast_calls(void) {
  rsp0_top = (reg)rsp0_stack + 4096;
  expect("SYSCALL without EFER.SCE", RUN(u_syscall), UD, 0);
  wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
  wrmsr(MSR_STAR, (uint64_t)SEL_USER_CODE32 << 48 | 3ull << 48 | (uint64_t)SEL_KERNEL_CODE << 32);
  wrmsr(MSR_LSTAR, (reg)syscall_entry);
  wrmsr(MSR_SFMASK, RFLAGS_IF | RFLAGS_TF | RFLAGS_DF | RFLAGS_CF | RFLAGS_ZF);
  int vector = RUN_WITH(u_syscall, SEL_USER_CODE64 | 3, RFLAGS_FIXED | RFLAGS_IOPL3);
  expect("SYSCALL and SYSRET", vector, 0x80, 0);
  check(syscall_count == 1 && syscall_cs == SEL_KERNEL_CODE && syscall_ss == SEL_KERNEL_DATA, "SYSCALL's selectors", "CS %lx SS %lx", syscall_cs, syscall_ss);
  check(syscall_rcx == user.r8 && syscall_rcx > USER && syscall_rcx < USER + 64, "RCX is the return address", "0x%lx", syscall_rcx);
  check(syscall_r11 == 0x3246 && !(syscall_flags & (RFLAGS_IF | RFLAGS_ZF)), "R11 is the flags, SFMASK clears them", "R11 0x%lx, flags 0x%lx",
        syscall_r11, syscall_flags);
  check_not_tcg(syscall_flags & 4, "SYSCALL keeps PF", "flags 0x%lx", syscall_flags); /* TCG 7.2 clears all status flags */
  check(user.r12 == (SEL_USER_CODE64 | 3) && user.r13 == (SEL_USER_DATA | 3) && user.r10 == 0x3246, "SYSRET's selectors and flags", "CS %lx SS %lx flags %lx", user.r12, user.r13, user.r10);

  struct cpuid vendor = cpuid(0, 0);
  bool sep = cpuid(1, 0).edx & 1 << 11, intel = vendor.ebx == 0x756e6547;
  if (!sep) return;
  syscall_count = 0;
  wrmsr(MSR_SYSENTER_CS, 0);
  if (intel) expect("SYSENTER without its MSR", RUN(u_sysenter), GP, 0);
  wrmsr(MSR_SYSENTER_CS, SEL_KERNEL_CODE);
  wrmsr(MSR_SYSENTER_ESP, (reg)rsp0_stack + 4096);
  wrmsr(MSR_SYSENTER_EIP, (reg)sysenter_entry);
  vector = RUN(u_sysenter);
  if (!intel) {
    expect("an AMD has no SYSENTER in long mode", vector, UD, 0);
    return;
  }
  expect("SYSENTER and SYSEXIT", vector, 0x80, 0);
  check(syscall_count == 1 && syscall_cs == SEL_KERNEL_CODE && syscall_ss == SEL_KERNEL_DATA && !(syscall_flags & RFLAGS_IF), "SYSENTER's state", "CS %lx SS %lx flags %lx",
        syscall_cs, syscall_ss, syscall_flags);
  check(user.r12 == (SEL_USER_CODE64 | 3) && user.r13 == ((SEL_USER_DATA + 16) | 3) && user.sp == USER_STACK, "SYSEXIT's state", "CS %lx SS %lx RSP %lx", user.r12, user.r13, user.sp);
}

static void compatibility_mode(void) {
  expect("32-bit code in ring 3", RUN_WITH(u_compat, SEL_USER_CODE32 | 3, RFLAGS_FIXED), 0x80, 0);
  check(user.cs == (SEL_USER_CODE32 | 3) && user.rdx == (SEL_USER_CODE32 | 3) && user.rsi == 4 && user.rdi == 0, "is 32-bit", "CS %lx, RSI %lx, RDI %lx", user.cs, user.rsi, user.rdi);
  check_eq("its stack is RSP0 all the same", (reg)(user_frame_at + 1), (reg)rsp0_stack + sizeof rsp0_stack);
  expect("a far jump to 64-bit code", RUN_WITH(u_compat_far, SEL_USER_CODE32 | 3, RFLAGS_FIXED), 0x80, 0);
  check_eq("is 64-bit there", user.rdx, 0x123456789abc);
  set_gate(OF, trap_entry[OF], SEL_KERNEL_CODE, GATE_INTERRUPT | 3 << 5, 0);
  expect("INTO", RUN_WITH(u_compat_into, SEL_USER_CODE32 | 3, RFLAGS_FIXED), OF, 0);
}

static void interrupted(void) {
  set_handler(IRQ_VECTOR, leave_user);
  outb(0x43, 0x30);
  outb(0x40, 0x00);
  outb(0x40, 0x80); /* 27 ms */
  pic_unmask(0);
  RUN_WITH(u_spin, SEL_USER_CODE64 | 3, RFLAGS_FIXED | RFLAGS_IF);
  pic_eoi(0);
  pic_mask(0);
  check(user.vector == IRQ_VECTOR && user.cs == (SEL_USER_CODE64 | 3) && user.flags & RFLAGS_IF && user.rax > 0x1111, "the timer interrupts ring 3",
        "vector %lu, RAX %lx", user.vector, user.rax);
}

void guest_main(void) {
  boot_pd[USER >> 21] |= 4; /* U/S */
  write_cr3(read_cr3());
  tss.rsp[0] = (reg)rsp0_stack + sizeof rsp0_stack;
  set_gate(0x80, trap_entry[0x80], SEL_KERNEL_CODE, GATE_INTERRUPT | 3 << 5, 0);
  set_handler(0x80, leave_user);
  gates();
  privileged();
  port_permissions();
  page_faults();
  alignment();
  fast_calls();
  compatibility_mode();
  interrupted();
}
