/*
 * Segmentation of long mode (Intel SDM vol. 3, 3.4.4 and 5.8): bases that count and bases that do not, far transfers,
 * 64-bit call gates, and compatibility mode in ring 0 with an interrupt taken out of it.
 */
#include "guest.h"

#define SEL(n) (SEL_SPARE + 8 * (n))
static uint64_t descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags) { /* flags: G, D/B, L, AVL */
  return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
         (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}
static volatile uint8_t buffer[4096] __attribute__((aligned(4096)));

static void bases(void) {
  buffer[8] = 0x5a;
  gdt[SEL(0) / 8] = descriptor((reg)buffer, 0xf, 0x93, 4);
  uint32_t got;
  __asm__ volatile("mov %2, %%ds; movzbl 8(%1), %0; mov %3, %%ds" : "=&r"(got) : "r"(buffer), "r"(SEL(0)), "r"(SEL_KERNEL_DATA));
  check_eq("DS has neither base nor limit", got, 0x5a);
  __asm__ volatile("mov %1, %%fs; movzbl %%fs:8, %0" : "=r"(got) : "r"(SEL(0)));
  check_eq("loading FS loads its 32-bit base", got, 0x5a);
  check_eq("which the MSR shows", rdmsr(MSR_FS_BASE), (reg)buffer);
  wrmsr(MSR_FS_BASE, (reg)buffer + 8);
  __asm__ volatile("movzbl %%fs:0, %0" : "=r"(got));
  check_eq("WRMSR changes the base", got, 0x5a);
  wrmsr(MSR_GS_BASE, 0xffffffff00000000ul | 0x1000);
  check_eq("64-bit bases", rdmsr(MSR_GS_BASE), 0xffffffff00001000ul);
  __asm__ volatile("movzbl %%gs:(%1), %0" : "=r"(got) : "r"((reg)buffer + 8 - 0xffffffff00001000ul));
  check_eq("base plus offset in 64 bits", got, 0x5a);
  wrmsr(MSR_KERNEL_GS_BASE, (reg)buffer);
  __asm__ volatile("swapgs; movzbl %%gs:8, %0" : "=r"(got));
  check(got == 0x5a && rdmsr(MSR_KERNEL_GS_BASE) == 0xffffffff00001000ul, "SWAPGS", "0x%x", got);
  wrmsr(MSR_GS_BASE, 0);
  __asm__ volatile("movzbl %%fs:(%k1), %0" : "=r"(got) : "r"(0x7700000000ul));
  check_eq("addr32 cuts the offset, not the sum", got, 0x5a);
  if (cpuid(7, 0).ebx & 1) {
    write_cr4(read_cr4() | 1 << 16);
    uint64_t base;
    __asm__ volatile("wrfsbase %1; rdfsbase %0" : "=r"(base) : "r"((reg)buffer));
    check(base == (reg)buffer && rdmsr(MSR_FS_BASE) == base, "WRFSBASE and RDFSBASE", "0x%lx", base);
    __asm__ volatile("wrgsbase %1; rdgsbase %0" : "=r"(base) : "r"(0x123456789abul));
    check(base == 0x123456789abul, "WRGSBASE and RDGSBASE", "0x%lx", base);
    int vector = TRAP("wrfsbase %0", : : "r"(0x800000000000ul));
    check_not_tcg(vector == GP, "a non-canonical FS base", "vector %d", vector);
    write_cr4(read_cr4() & ~(1ul << 16));
    check_vector("without CR4.FSGSBASE they are undefined", TRAP("rdfsbase %%rax", : : : "rax"), UD);
  }
  wrmsr(MSR_FS_BASE, 0);
  wrmsr(MSR_GS_BASE, 0);
  uint64_t selector;
  __asm__ volatile("mov %1, %%fs; push %%fs; pop %0; push %%fs; pop %%gs" : "=r"(selector) : "r"(SEL(0)));
  check(selector == SEL(0) && rdmsr(MSR_GS_BASE) == (reg)buffer, "PUSH and POP of FS and GS", "0x%lx", selector);
  __asm__ volatile("mov %0, %%fs; mov %0, %%gs" ::"r"(0));
}

static void far_transfers(void) {
  gdt[SEL(1) / 8] = descriptor(0, 0, 0x9b, 2); /* 64-bit code: L */
  uint32_t cs;
  uint64_t taken, off;
  struct { uint64_t offset; uint16_t selector; } __attribute__((packed)) pointer = {0, SEL(1)};
  __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, (%3); mov %%rsp, %%rsi; rex.w lcall *(%3); jmp 2f\n"
                   "1: mov %%cs, %%eax; mov %%rsi, %%rcx; sub %%rsp, %%rcx; lretq\n"
                   "2: sub %%rsp, %%rsi; mov %%rsi, %%rdx" : "=&a"(cs), "=&c"(taken), "=&d"(off) : "D"(&pointer) : "rsi", "memory", "cc");
  check(cs == SEL(1) && taken == 16 && off == 0, "far call m16:64", "CS 0x%x, %lu bytes, off by %lu", cs, taken, off);
  gdt[SEL(2) / 8] = descriptor(0, 0xfffff, 0x9b, 8 | 4 | 2); /* L and D */
  int vector = TRAP("pushq %0; pushq $0; lretq", : : "i"(SEL(2)) : "memory");
  check_not_tcg(vector == GP && trapped.error == SEL(2), "code with L and D is refused", "vector %d", vector);
  vector = TRAP("pushq %0; pushq $0; lretq", : : "i"(SEL_KERNEL_DATA) : "memory");
  check(vector == GP && trapped.error == SEL_KERNEL_DATA, "a far return to data", "vector %d", vector);
  check_vector("JMP ptr16:32 is undefined", TRAP(".byte 0xea; .long 0; .word 8", : :), UD);

  extern char gate64_target[];
  reg target = (reg)gate64_target;
  gdt[SEL(3) / 8] = (target & 0xffff) | (uint64_t)SEL(1) << 16 | 0x8cull << 40 | (target >> 16 & 0xffff) << 48;
  gdt[SEL(3) / 8 + 1] = target >> 32;
  struct { uint32_t offset; uint16_t selector; } __attribute__((packed)) gate = {0, SEL(3)};
  __asm__ volatile("mov %%rsp, %%rsi; lcall *(%2); jmp 2f\n"
                   "gate64_target: mov %%cs, %%eax; mov %%rsi, %%rcx; sub %%rsp, %%rcx; lretq\n2: mov %%rsi, %%rsp" : "=&a"(cs), "=&c"(taken) : "D"(&gate) : "rsi", "memory", "cc");
  check(cs == SEL(1) && taken == 16, "a 64-bit call gate", "CS 0x%x, %lu bytes", cs, taken);

  uint32_t limit;
  uint8_t zf;
  __asm__ volatile("lsl %2, %0; setz %1" : "=r"(limit), "=q"(zf) : "r"(SEL(0)) : "cc");
  check(zf && limit == 0xf, "LSL", "0x%x", limit);
  struct { uint16_t limit; uint64_t base; } __attribute__((packed)) table;
  __asm__("sgdt %0" : "=m"(table));
  check(table.base == (reg)gdt && table.limit == 8 * 18 - 1, "SGDT", "0x%lx, 0x%x", table.base, table.limit);
  __asm__("str %0" : "=r"(limit));
  check_eq("STR", limit, SEL_TSS);
}

static volatile uint64_t interrupt_cs;
static void note_cs(struct trap_frame *frame) { interrupt_cs = frame->cs; }

static void compatibility_mode(void) {
  gdt[SEL(0) / 8] = descriptor((reg)buffer, 0xfff, 0x93, 4);
  *(volatile uint32_t *)(buffer + 8) = 0x11223344;
  set_handler(0x61, note_cs);
  uint32_t through_base, incremented, pushed, wrapped;
  __asm__ volatile(
      "mov %%rsp, %%r14; mov $0xffffffff, %%ecx\n"
      "pushq %4; lea 1f(%%rip), %%rdx; push %%rdx; lretq\n"
      ".code32\n1: .byte 0x41\n" /* inc %ecx there, a REX prefix in 64-bit mode */
      "mov %5, %%edx; mov %%edx, %%ds; mov 8, %%eax; mov $0xfffffff0, %%edx; mov 24(%%edx), %%ebx; mov $0x18, %%edx; mov %%edx, %%ds\n"
      "int $0x61\n"
      "mov %%esp, %%esi; push %%eax; sub %%esp, %%esi; add $4, %%esp\n"
      "ljmp $0x10, $2f\n"
      ".code64\n2: mov %%r14, %%rsp"
      : "=&a"(through_base), "=&c"(incremented), "=&S"(pushed), "=&b"(wrapped)
      : "i"(SEL_CODE32), "i"(SEL(0)) : "rdx", "r14", "memory", "cc");
  check_eq("32-bit code: 0x41 is INC", incremented, 0);
  check_eq("DS has its base there", through_base, 0x11223344);
  check_eq("offsets wrap at 32 bits", wrapped, 0x11223344);
  check_eq("PUSH takes 4 bytes", pushed, 4);
  check_eq("an interrupt comes and goes", interrupt_cs, SEL_CODE32);
}

void guest_main(void) {
  bases();
  far_transfers();
  compatibility_mode();
}
