/*
 * The runtime our guests share: console, traps, checks, clock, memory, PCI. One page of C per matter, no libc.
 * Boot: multiboot 1 into boot64.S (long mode, 4 GiB identity-mapped, page 0 absent) or boot32.S (flat 32-bit, no paging),
 * then guest_main().
 */
#ifndef GUEST_H
#define GUEST_H

#include "cpu.h"

void guest_main(void); /* written by each guest; returning from it ends the guest by checks_done() */

/* console.c: 16550 UART at COM1, polled. %d %u %x %s %c %p, with l, width and zero padding. */
#define COM1 0x3f8
void console_init(void);
void console_putc(char c);
void vprint(const char *format, __builtin_va_list args);
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Into a buffer, cut to its size and terminated. Value: the length. */
size_t print_to(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* machine.c: what the loader handed over, and the ways out. */
extern char command_line[512];  /* without the kernel's path */
extern uint32_t memory_top;     /* end of the RAM that begins at 1 MiB; at most 4 GiB - 4 KiB */
bool option(const char *name, char *value, size_t size); /* `name=value` or bare `name` of the command line */
void *pages(size_t count);      /* zeroed 4 KiB pages that are never given back; ends the guest when RAM is out */
void poweroff(void) __attribute__((noreturn));
void exit_status(uint16_t value) __attribute__((noreturn)); /* isa-debug-exit at 0x501: status (value << 1) | 1 */
void panic(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
#define EXIT_PASS 0x10 /* QEMU's exit status: 33 */
#define EXIT_FAIL 0x11 /* 35 */

/* check.c: one line per check, "PASS name" or "FAIL name: ...". */
void check(bool ok, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void check_eq(const char *name, reg got, reg want);
void check_vector(const char *name, int vector, int want); /* of a TRAP() */
void checks_done(void) __attribute__((noreturn));
/* A check of what the SDM says and QEMU's TCG does not do: failing it under TCG is only noted. */
void check_not_tcg(bool ok, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool under_tcg(void); /* by CPUID's hypervisor signature; for what would wreck the guest there */

/* trap.S and trap.c: all 256 vectors arrive at trap_dispatch(). */
struct trap_frame {
#ifdef __x86_64__
  uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rdx, rcx, rbx, rax;
  uint64_t vector, error, ip, cs, flags, sp, ss;
#else
  uint32_t edi, esi, ebp, esp_of_pusha, ebx, edx, ecx, eax;
  uint32_t vector, error, ip, cs, flags, sp, ss; /* sp and ss only when the privilege level changed */
#endif
};
typedef void trap_handler(struct trap_frame *frame);
enum vector { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM };
void traps_init(void);
void set_handler(int vector, trap_handler *handler);
#define GATE_INTERRUPT 0x8e
#define GATE_TRAP 0x8f
void set_gate(int vector, void *entry, uint16_t selector, uint8_t type_and_dpl, uint8_t ist);
extern char trap_entry[256][16]; /* the stubs behind the gates that traps_init() sets */

/* The last trap a TRAP() caught. */
struct trap_record { int vector; reg error, ip, cs, flags, sp, cr2; };
extern volatile struct trap_record trapped;
extern reg trap_resume, trap_resume_sp;
#define NO_TRAP (-1)

/*
 * Runs assembly that is expected to trap; execution goes on after it with the stack pointer it had before.
 * The remaining arguments are the operands of the asm statement, beginning with the colon of the outputs.
 * Value: the vector, or NO_TRAP.
 */
#define TRAP(code, ...) \
  ({ \
    trapped.vector = NO_TRAP; \
    barrier(); \
    __asm__ volatile("mov" W " $9f, trap_resume\n\tmov %%" R "sp, trap_resume_sp\n\t" code \
                     "\n9:\tmov trap_resume_sp, %%" R "sp\n\tmov" W " $0, trap_resume" __VA_ARGS__); \
    barrier(); \
    trapped.vector; \
  })

/* Segment selectors of the boot GDT; the order is what SYSCALL/SYSRET and SYSENTER/SYSEXIT want. */
#define SEL_CODE32 0x08
#define SEL_KERNEL_CODE 0x10
#define SEL_KERNEL_DATA 0x18
#define SEL_USER_CODE32 0x20
#define SEL_USER_DATA 0x28
#define SEL_USER_CODE64 0x30
#define SEL_TSS 0x40
#define SEL_SPARE 0x50 /* eight free descriptors */
extern volatile uint64_t gdt[];

#ifdef __x86_64__
struct tss { uint32_t reserved0; uint64_t rsp[3]; uint64_t reserved1; uint64_t ist[7]; uint64_t reserved2; uint16_t reserved3, iomap_base; uint8_t iomap_end; } __attribute__((packed));
#else
struct tss { uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt; uint16_t trap, iomap_base; };
#endif
extern struct tss tss;

/* pic.c: the 8259 pair at vectors 0x20-0x2f, all masked at the start. */
#define IRQ_VECTOR 0x20
void pic_init(void);
void pic_unmask(int irq);
void pic_mask(int irq);
void pic_eoi(int irq);

/* clock.c: nanoseconds by TSC, frequency from CPUID 0x40000010 or measured with the PIT. */
#define PIT_HZ 1193182u
extern uint32_t tsc_khz;
extern bool tsc_khz_measured;
void clock_init(void);
uint16_t pit_read(int channel);
uint64_t clock_us(void);
void delay_us(uint32_t us);
void idle(uint32_t max_us); /* HLT until an interrupt, by PIT channel 0 after 54 ms at most; call and return with IF = 0 */
uint8_t cmos_read(uint8_t index);
void cmos_write(uint8_t index, uint8_t value);

/* pci.c: configuration mechanism 1. */
uint32_t pci_read32(uint32_t bdf, uint32_t offset);
uint16_t pci_read16(uint32_t bdf, uint32_t offset);
uint8_t pci_read8(uint32_t bdf, uint32_t offset);
void pci_write32(uint32_t bdf, uint32_t offset, uint32_t value);
void pci_write16(uint32_t bdf, uint32_t offset, uint16_t value);

/* string.c, as in C. */
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

#endif
