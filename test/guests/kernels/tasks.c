/*
 * Hardware tasks of 32-bit protected mode (Intel SDM vol. 3, chapter 7): CALL and JMP to a TSS, return by IRET with NT, a
 * task gate, and the error codes of #TS.
 */
#include "guest.h"

#define SEL(n) (SEL_SPARE + 8 * (n))
static struct tss other;
static uint8_t other_stack[4096];
static volatile uint32_t seen_esi, seen_link, seen_nt, runs;

static void describe_tss(int n, struct tss *t, uint32_t limit, uint8_t access) {
  reg base = (reg)t;
  gdt[SEL(n) / 8] = limit | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(base >> 24) << 56;
}

/* The other task: notes, changes a register and returns; when called again it goes on behind the IRET. */
extern char other_task[];
void other_task_body(uint32_t esi) {
  reg flags = read_flags();
  seen_nt = flags >> 14 & 1;
  seen_esi = esi;
  seen_link = other.link;
  runs++;
}
__asm__(".text\nother_task: push %esi; call other_task_body; pop %esi; inc %esi; iret; jmp other_task");

static void prepare(void) {
  memset(&other, 0, sizeof other);
  other.eip = (reg)other_task;
  other.esp = (reg)other_stack + sizeof other_stack;
  other.cs = SEL_KERNEL_CODE;
  other.ds = other.es = other.ss = SEL_KERNEL_DATA;
  other.eflags = 2;
  other.esi = 41;
  other.iomap_base = sizeof other;
  describe_tss(0, &other, sizeof other - 1, 0x89);
}

static void expect(const char *name, int vector, int want, reg error) {
  check(vector == want && trapped.error == error, name, "vector %d, error 0x%lx", vector, (unsigned long)trapped.error);
}
#define CALL_TASK() TRAP("lcall %0, $0", : : "i"(SEL(0)) : "memory", "cc")

static void errors(void) {
  prepare();
  describe_tss(0, &other, 0x66, 0x89);
  expect("a TSS that is too short", CALL_TASK(), TS, SEL(0));
  describe_tss(0, &other, sizeof other - 1, 0x8b);
  expect("a busy TSS", CALL_TASK(), GP, SEL(0));
  describe_tss(0, &other, sizeof other - 1, 0x09);
  expect("an absent TSS", CALL_TASK(), NP, SEL(0));
}

void guest_main(void) {
  errors();
  prepare();
  uint32_t esi = 5;
  __asm__ volatile("lcall %1, $0" : "+S"(esi) : "i"(SEL(0)) : "memory", "cc");
  check(runs == 1 && seen_esi == 41, "CALL to a task loads its registers", "%u runs, ESI %u", runs, seen_esi);
  check(esi == 5, "IRET brings ours back", "ESI %u", esi);
  check(seen_nt == 1 && seen_link == SEL_TSS, "NT and the link", "%u, 0x%x", seen_nt, seen_link);
  check((gdt[SEL(0) / 8] >> 40 & 0x0f) == 9 && (gdt[SEL_TSS / 8] >> 40 & 0x0f) == 0x0b, "the busy bits", "0x%x", (uint32_t)(gdt[SEL(0) / 8] >> 40));
  check(read_cr0() & CR0_TS, "the switch sets CR0.TS", "0x%lx", (unsigned long)read_cr0());
  __asm__ volatile("clts");
  __asm__ volatile("lcall %0, $0" ::"i"(SEL(0)) : "memory", "cc");
  check(runs == 2 && seen_esi == 42, "the task goes on where it was left", "%u runs, ESI %u", runs, seen_esi);

  prepare();
  set_gate(0x61, NULL, SEL(0), 0x85, 0); /* task gate */
  __asm__ volatile("int $0x61" ::: "memory", "cc");
  check(runs == 3 && seen_nt == 1, "INT through a task gate", "%u runs", runs);
  __asm__ volatile("clts");
}
