/*
 * Segmentation of 32-bit protected mode (Intel SDM vol. 3, chapters 3 and 5): bases, limits, types, LDT, far transfers,
 * call gates, 16-bit code and stacks; BOUND and INTO; and an excursion to real mode (chapter 20) and back.
 */
#include "guest.h"

#define SEL(n) (SEL_SPARE + 8 * (n))
static uint64_t descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags) { /* flags: G, D/B, L, AVL */
  return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
         (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}
static void describe(int n, uint32_t base, uint32_t limit, uint8_t access, uint8_t flags) { gdt[SEL(n) / 8] = descriptor(base, limit, access, flags); }
#define DATA 0x93
#define DATA_READ_ONLY 0x91
#define DATA_EXPAND_DOWN 0x97
#define CODE 0x9b
#define CODE_EXECUTE_ONLY 0x99
#define SIZE32 4
#define SIZE16 0

static volatile uint8_t buffer[0x20000] __attribute__((aligned(4096)));

#define CHECK_TRAP(checker, name, want, want_error, code, ...) \
  do { \
    int vector = TRAP(code, __VA_ARGS__); \
    checker(vector == (want) && (vector == NO_TRAP || trapped.error == (want_error)), name, "vector %d, error 0x%lx", vector, \
            (unsigned long)trapped.error); \
  } while (0)

static void bases(void) {
  describe(0, (reg)buffer, 0xfff, DATA, SIZE32);
  buffer[0x123] = 0x5a;
  uint32_t got;
  __asm__ volatile("mov %1, %%fs; movzbl %%fs:0x123, %0" : "=r"(got) : "r"(SEL(0)));
  check_eq("FS adds its base", got, 0x5a);
  __asm__ volatile("push %%es; mov %1, %%es; movzbl %%es:0x123, %0; pop %%es" : "=&r"(got) : "r"(SEL(0)));
  check_eq("so does ES", got, 0x5a);
  __asm__ volatile("push %%es; mov %2, %%es; movb $0x77, %%al; mov $0x200, %%edi; stosb; pop %%es" : "=&a"(got), "+m"(buffer) : "r"(SEL(0)) : "edi");
  check_eq("and STOS through it", buffer[0x200], 0x77);
  describe(0, (reg)buffer + 0x1000, 0xfffff, DATA, 8 | SIZE32);
  __asm__ volatile("mov %1, %%fs; mov $0xfffff123, %%edx; movzbl %%fs:(%%edx), %0" : "=r"(got) : "r"(SEL(0)) : "edx");
  check_eq("base plus offset wraps at 4 GiB", got, 0x5a);
  __asm__ volatile("mov %1, %%fs; .byte 0x64; lea 0x10, %0" : "=r"(got) : "r"(SEL(0)));
  check_eq("LEA knows no base", got, 0x10);
}

/* QEMU's TCG checks neither limits nor types when memory is accessed. */
static void limits(void) {
  describe(0, (reg)buffer, 0xff, DATA, SIZE32);
  __asm__ volatile("mov %0, %%fs" ::"r"(SEL(0)));
  CHECK_TRAP(check, "the last byte", NO_TRAP, 0, "movb %%fs:0xff, %%al", : : : "eax");
  CHECK_TRAP(check_not_tcg, "one byte beyond the limit", GP, 0, "movb %%fs:0x100, %%al", : : : "eax");
  CHECK_TRAP(check_not_tcg, "a word across the limit", GP, 0, "movw %%fs:0xff, %%ax", : : : "eax");
  CHECK_TRAP(check_not_tcg, "a write beyond the limit", GP, 0, "movb %%al, %%fs:0x100", : : : "memory");
  describe(1, (reg)buffer, 0xff, DATA_EXPAND_DOWN, SIZE32);
  __asm__ volatile("mov %0, %%fs" ::"r"(SEL(1)));
  CHECK_TRAP(check, "expand-down: above the limit", NO_TRAP, 0, "movb %%fs:0x100, %%al", : : : "eax");
  CHECK_TRAP(check_not_tcg, "expand-down: at the limit", GP, 0, "movb %%fs:0xff, %%al", : : : "eax");
  describe(2, 0, 0xfffff, DATA_READ_ONLY, 8 | SIZE32);
  __asm__ volatile("mov %0, %%fs" ::"r"(SEL(2)));
  CHECK_TRAP(check_not_tcg, "writing a read-only segment", GP, 0, "movb %%al, %%fs:(%0)", : : "r"(buffer) : "memory");
  __asm__ volatile("mov %0, %%fs" ::"r"(0));
  CHECK_TRAP(check_not_tcg, "through a null segment", GP, 0, "movb %%fs:(%0), %%al", : : "r"(buffer) : "eax");
  CHECK_TRAP(check_not_tcg, "writing the code segment", GP, 0, "movb %%al, %%cs:(%0)", : : "r"(buffer) : "memory");
  reg stack;
  __asm__("mov %%esp, %0" : "=r"(stack));
  describe(3, 0, stack >> 12, DATA, 8 | SIZE32); /* the fault itself is delivered on this stack */
  CHECK_TRAP(check_not_tcg, "beyond the stack's limit", SS, 0, "mov %0, %%ss; mov 0x1000(%%esp), %%eax; mov %1, %%ss", : : "r"(SEL(3)), "r"(SEL_KERNEL_DATA) : "eax", "memory");
  __asm__ volatile("mov %0, %%ss" ::"r"(SEL_KERNEL_DATA));
}

static void loads(void) {
  describe(0, 0, 0xfffff, CODE_EXECUTE_ONLY, 8 | SIZE32);
  CHECK_TRAP(check, "execute-only code is no data segment", GP, SEL(0), "mov %0, %%fs", : : "r"(SEL(0)));
  describe(0, 0, 0xfffff, 0x89, SIZE32);
  CHECK_TRAP(check, "a TSS is no data segment", GP, SEL(0), "mov %0, %%fs", : : "r"(SEL(0)));
  describe(0, 0, 0xfffff, DATA & ~0x80, 8 | SIZE32);
  CHECK_TRAP(check, "an absent segment", NP, SEL(0), "mov %0, %%fs", : : "r"(SEL(0)));
  CHECK_TRAP(check, "an absent stack", SS, SEL(0), "mov %0, %%ss", : : "r"(SEL(0)));
  describe(0, 0, 0xfffff, DATA_READ_ONLY, 8 | SIZE32);
  CHECK_TRAP(check, "a read-only stack", GP, SEL(0), "mov %0, %%ss", : : "r"(SEL(0)));
  CHECK_TRAP(check, "a null stack", GP, 0, "mov %0, %%ss", : : "r"(0));
  describe(0, 0, 0xfffff, DATA & ~1, 8 | SIZE32);
  __asm__ volatile("mov %0, %%fs" ::"r"(SEL(0)) : "memory");
  check(gdt[SEL(0) / 8] >> 40 & 1, "loading sets the accessed bit", "0x%x", (uint32_t)(gdt[SEL(0) / 8] >> 40) & 0xff);

  static uint64_t ldt[4];
  ldt[1] = descriptor((reg)buffer, 0xfff, DATA, SIZE32);
  describe(1, (reg)ldt, sizeof ldt - 1, 0x82, 0);
  __asm__ volatile("lldt %w0" ::"r"(SEL(1)));
  uint32_t got;
  buffer[0x44] = 0x66;
  __asm__ volatile("mov %1, %%fs; movzbl %%fs:0x44, %0" : "=r"(got) : "r"(8 | 4));
  check_eq("a segment of the LDT", got, 0x66);
  CHECK_TRAP(check, "beyond the LDT", GP, 0x24, "mov %0, %%fs", : : "r"(0x24));
  CHECK_TRAP(check, "LLDT of a data segment", GP, SEL_KERNEL_DATA, "lldt %w0", : : "r"(SEL_KERNEL_DATA));
  __asm__ volatile("lldt %w0; mov %0, %%fs" ::"r"(0));
}

static void queries(void) {
  uint32_t value;
  uint8_t zf;
  describe(0, 0, 0x12345, DATA, 8 | SIZE32);
  __asm__ volatile("lsl %2, %0; setz %1" : "=r"(value), "=q"(zf) : "r"(SEL(0)) : "cc", "memory");
  check(zf && value == 0x12345fff, "LSL", "0x%x", value);
  __asm__ volatile("lar %2, %0; setz %1" : "=r"(value), "=q"(zf) : "r"(SEL(0)) : "cc", "memory");
  check(zf && (value & 0xf0ff00) == 0xc09300, "LAR", "0x%x", value);
  __asm__ volatile("lar %2, %0; setz %1" : "=r"(value), "=q"(zf) : "r"(0x2000), "0"(7) : "cc", "memory");
  check(!zf && value == 7, "LAR of nothing", "0x%x", value);
  __asm__ volatile("verr %w1; setz %0" : "=q"(zf) : "r"(SEL_KERNEL_CODE) : "cc", "memory");
  check(zf, "VERR of readable code", "ZF %u", zf);
  __asm__ volatile("verw %w1; setz %0" : "=q"(zf) : "r"(SEL_KERNEL_CODE) : "cc", "memory");
  check(!zf, "VERW of code", "ZF %u", zf);
  value = 0x18;
  __asm__ volatile("arpl %w2, %w0; setz %1" : "+r"(value), "=q"(zf) : "r"(3) : "cc", "memory");
  check(zf && value == 0x1b, "ARPL", "0x%x", value);
}

static void far_transfers(void) {
  describe(0, 0, 0xfffff, CODE, 8 | SIZE32);
  uint32_t cs, difference, sp_off;
  extern char far_target[];
  struct { uint32_t offset; uint16_t selector; } __attribute__((packed)) pointer = {(reg)far_target, SEL(0)};
  __asm__ volatile("mov %%esp, %%esi; lcall *(%3); sub %%esp, %%esi; mov %%esi, %%edx" : "=&a"(cs), "=&c"(difference), "=&d"(sp_off) : "D"(&pointer) : "esi", "memory");
  check(cs == SEL(0) && difference == 8 && sp_off == 0, "far call and return", "CS 0x%x, %u bytes, off by %u", cs, difference, sp_off);
  CHECK_TRAP(check, "a far jump to data", GP, SEL_KERNEL_DATA, "ljmp %0, $0x100000", : : "i"(SEL_KERNEL_DATA));
  CHECK_TRAP(check, "a far jump to null", GP, 0, "ljmp $0, $0x100000", : :);
  describe(1, 0, 0xfffff, CODE & ~0x80, 8 | SIZE32);
  CHECK_TRAP(check, "a far jump to absent code", NP, SEL(1), "ljmp %0, $0x100000", : : "i"(SEL(1)));
  describe(1, 0, 0xff, CODE, SIZE32);
  CHECK_TRAP(check, "a far jump beyond the limit", GP, 0, "ljmp %0, $0x100000", : : "i"(SEL(1)));
  describe(1, 0, 0xfffff, CODE | 0x60, 8 | SIZE32);
  CHECK_TRAP(check, "a far jump to ring 3's code", GP, SEL(1), "ljmp %0, $0x100000", : : "i"(SEL(1)));

  extern char gate_target[];
  reg target = (reg)gate_target;
  gdt[SEL(2) / 8] = (target & 0xffff) | (uint64_t)SEL(0) << 16 | 0x8cull << 40 | (uint64_t)(target >> 16) << 48;
  uint32_t via;
  __asm__ volatile("lcall %1, $0; jmp 2f\ngate_target: mov %%cs, %%eax; lret\n2:" : "=a"(via) : "i"(SEL(2)) : "memory");
  check_eq("a call gate", via, SEL(0));
}
__asm__(".text\nfar_target: mov %cs, %eax; mov %esi, %ecx; sub %esp, %ecx; lret");

/* 16-bit code: the default sizes are 16 bits, 0x66 and 0x67 ask for 32. */
static void sixteen_bits(void) {
  static const uint8_t code[] = {0xb8, 0x34, 0x12,             /* mov $0x1234, %ax */
                                 0x66, 0xbb, 4, 3, 2, 1,       /* mov $0x01020304, %ebx */
                                 0x8b, 0x0e, 0x00, 0x03,       /* mov 0x300, %cx: 16-bit address */
                                 0x67, 0x8b, 0x15, 0, 3, 0, 0, /* mov 0x300, %dx: 32-bit address */
                                 0x66, 0xcb};                  /* lretl */
  memcpy((void *)(buffer + 0x100), code, sizeof code);
  buffer[0x300] = 0xcd, buffer[0x301] = 0xab;
  describe(0, (reg)buffer, 0xffff, CODE, SIZE16);
  describe(1, (reg)buffer, 0xffff, DATA, SIZE16);
  uint32_t a = 0x55550000, b, c = 0x66660000, d = 0x77770000;
  __asm__ volatile("push %%ds; mov %4, %%ds; lcall %5, $0x100; pop %%ds" : "+a"(a), "=&b"(b), "+c"(c), "+d"(d) : "S"(SEL(1)), "i"(SEL(0)) : "memory");
  check(a == 0x55551234 && b == 0x01020304 && c == 0x6666abcd && d == 0x7777abcd, "a 16-bit code segment", "%x %x %x %x", a, b, c, d);

  uint32_t sp1, sp2, popped;
  __asm__ volatile("mov %%esp, %%edi; mov %3, %%ss; mov $0xabcd0004, %%esp; pushl $0x11223344; mov %%esp, %0; pushl $0x55667788; mov %%esp, %1\n"
                   "popl %2; mov %4, %%ss; mov %%edi, %%esp" : "=&r"(sp1), "=&r"(sp2), "=&r"(popped) : "r"(SEL(1)), "r"(SEL_KERNEL_DATA) : "edi", "memory");
  check(sp1 == 0xabcd0000 && sp2 == 0xabcdfffc && popped == 0x55667788 && *(volatile uint32_t *)(buffer + 0xfffc) == 0x55667788 && *(volatile uint32_t *)buffer == 0x11223344,
        "a 16-bit stack wraps in SP", "ESP %x %x, %x", sp1, sp2, popped);
}

static void bound_and_into(void) {
  static const int32_t range[2] = {-5, 10};
  CHECK_TRAP(check, "BOUND within", NO_TRAP, 0, "bound %0, %1", : : "r"(-5), "m"(*(const int64_t *)range));
  CHECK_TRAP(check, "BOUND beyond", BR, 0, "bound %0, %1", : : "r"(11), "m"(*(const int64_t *)range));
  CHECK_TRAP(check, "BOUND below", BR, 0, "bound %0, %1", : : "r"(-6), "m"(*(const int64_t *)range));
  CHECK_TRAP(check, "INTO without overflow", NO_TRAP, 0, "xor %%eax, %%eax; into", : : : "eax", "cc");
  CHECK_TRAP(check, "INTO with overflow", OF, 0, "mov $0x7f, %%al; add $1, %%al; into", : : : "eax", "cc");
}

/*
 * Real mode. The code runs at 0x7000, its results go to 0x6000: +0 interrupts taken, +2 a value fetched through DS * 16,
 * +4 one from above 1 MiB, +6 CS inside a far call, +8 division errors, +10 DX:AX of 32-bit operands, +14 the end's mark.
 */
extern char real_start[], real_end[];
__asm__(".text\n.code16\n"
        "real_start:\n"
        "mov $0x68, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss; mov %ax, %fs; mov %ax, %gs\n" /* SEL(3): 64 KiB of data */
        "mov %cr0, %eax; and $0xfe, %al; mov %eax, %cr0\n"
        "ljmp $0, $(1f - real_start + 0x7000)\n"
        "1: xor %ax, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss; mov $0x6f00, %sp\n"
        "lidt (real_idt - real_start + 0x7000)\n"
        "movw $(real_int - real_start + 0x7000), 0x21 * 4; movw $0, 0x21 * 4 + 2\n"
        "movw $(real_div - real_start + 0x7000), 0; movw $0, 2\n"
        "int $0x21; int $0x21\n"
        "mov $0x1000, %bx; mov %bx, %es; movw $0xbeef, %es:0x10; mov $0x1001, %bx; mov %bx, %es; mov %es:0, %ax; mov %ax, 0x6002\n"
        "mov $0xffff, %bx; mov %bx, %es; mov %es:0x10, %ax; mov %ax, 0x6004\n"
        "lcall $0x700, $(real_far - real_start)\n"
        "mov $1, %ax; xor %dx, %dx; xor %cx, %cx; div %cx\n"
        "mov $0x12345678, %eax; mov %eax, 0x600a\n"
        "movw $0x600d, 0x600e\n"
        "mov %cr0, %eax; or $1, %al; mov %eax, %cr0\n"
        "ljmpl $0x10, $real_back\n"
        "real_int: incw 0x6000; iret\n"
        "real_div: incw 0x6008; push %bp; mov %sp, %bp; addw $2, 2(%bp); pop %bp; iret\n"
        "real_far: mov %cs, %ax; mov %ax, 0x6006; lret\n"
        "real_idt: .word 0x3ff; .long 0\n"
        "real_end:\n.code32\n"
        "real_back: mov $0x18, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov real_sp, %esp; xor %eax, %eax; mov %eax, %fs; mov %eax, %gs\n"
        "lidt real_saved_idt; pop %ebx; pop %esi; pop %edi; pop %ebp; ret\n"
        "real_go: push %ebp; push %edi; push %esi; push %ebx; mov %esp, real_sp; sidt real_saved_idt; ljmp $0x60, $0x7000");
uint32_t real_sp;
uint8_t real_saved_idt[6];
void real_go(void);

static void real_mode(void) {
  describe(2, 0, 0xffff, CODE, SIZE16); /* 0x60 */
  describe(3, 0, 0xffff, DATA, SIZE16); /* 0x68 */
  volatile uint16_t *result = (void *)0x6000;
  memset((void *)0x6000, 0, 16);
  memcpy((void *)0x7000, real_start, real_end - real_start);
  real_go();
  check_eq("real mode comes back", result[7], 0x600d);
  check_eq("two interrupts through the IVT", result[0], 2);
  check_eq("segment * 16", result[1], 0xbeef);
  check_eq("0xffff:0x10 is 1 MiB with A20 on", result[2], *(volatile uint16_t *)0x100000);
  check_eq("CS of a far call", result[3], 0x700);
  check_eq("a division error", result[4], 1);
  check_eq("32-bit operands", result[6] << 16 | result[5], 0x12345678);
}

void guest_main(void) {
  bases();
  limits();
  loads();
  queries();
  far_transfers();
  sixteen_bits();
  bound_and_into();
  real_mode();
}
