/*
 * Self-modifying code as the CPU keeps it coherent (Intel SDM vol. 3, 11.6 and 8.1.3): a store is seen by the very next
 * instruction when it is made through the address that is executed. Stores through another address are followed by a jump.
 */
#include "guest.h"

#define P_RW 3ul
extern uint64_t boot_pml4[512];
typedef uint32_t function(void);

/* mov $value, %eax; ret */
static void emit_return(uint8_t *at, uint32_t value) {
  at[0] = 0xb8;
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}
static uint32_t call(void *code) { return ((function *)code)(); }

static void patched_function(uint8_t *page) {
  bool ok = true;
  for (uint32_t i = 0; i < 5000; i++) { /* often enough to be translated, and again and again */
    emit_return(page, i * 7);
    ok &= call(page) == i * 7;
  }
  check(ok, "a function rewritten before each call", "stale code ran");
  ok = true;
  for (uint32_t i = 0; i < 3000; i++) {
    if (i == 2000) emit_return(page, 1);
    ok &= call(page) == (i < 2000 ? 4999 * 7 : 1);
  }
  check(ok, "a hot function rewritten once", "stale code ran");
}

static void same_block(void) {
  uint32_t got;
  __asm__ volatile("movl $0x12345678, 1f+1(%%rip)\n1: mov $0, %%eax" : "=a"(got)::"memory");
  check_eq("the next instruction", got, 0x12345678);
  __asm__ volatile("xor %%eax, %%eax; movb $0xc0, 1f+1(%%rip); nop; nop\n1: inc %%ecx" : "=a"(got) : "c"(5) : "memory");
  check_eq("a later instruction of the same block (inc ecx becomes inc eax)", got, 1);
  __asm__ volatile("movb $0xc1, 1f+1(%%rip); xor %%eax, %%eax; xor %%ecx, %%ecx; jmp 1f\n1: inc %%eax" : "=a"(got)::"ecx", "memory");
  check_eq("behind a jump", got, 0);
  /* Each turn adds its own immediate and counts it up: 1 + 2 + ... + 1000. */
  __asm__ volatile("xor %%eax, %%eax; movl $1, 2f+1(%%rip)\n1:\n2: .byte 0x05; .long 1; incl 2b+1(%%rip); cmpl $1001, 2b+1(%%rip); jne 1b" : "=a"(got)::"memory", "cc");
  check_eq("a loop that rewrites its own immediate", got, 500500);
  /* The jump over the increment becomes two NOPs in the 100th turn. */
  __asm__ volatile("movw $0x02eb, 2f(%%rip); xor %%eax, %%eax; xor %%ecx, %%ecx\n1: cmp $99, %%ecx; jne 2f; movw $0x9090, 2f(%%rip)\n2: jmp 3f; inc %%eax\n3: inc %%ecx; cmp $200, %%ecx; jne 1b"
                   : "=a"(got)::"ecx", "memory", "cc");
  check_eq("a branch removed inside its loop", got, 101);
  __asm__ volatile("lea 1f(%%rip), %%rdi; mov $0x90, %%al; mov $4, %%ecx; xor %%edx, %%edx; rep stosb\n1: inc %%edx; inc %%edx" : "=d"(got)::"rax", "rcx", "rdi", "memory", "cc");
  check_eq("REP STOSB over the code behind it", got, 0);
  /* Unikraft's boot code: the far jump behind the store gets its target from it. Here: CALL's displacement. */
  __asm__ volatile("lea 3f(%%rip), %%rax; lea 2f(%%rip), %%rcx; sub %%ecx, %%eax; mov %%eax, -4(%%rcx)\n1: .byte 0xe8; .long 0\n2: jmp 4f\n3: mov $42, %%edx; ret\n4:" : "=d"(got)::"rax", "rcx", "memory", "cc");
  check_eq("a CALL's displacement right before it", got, 42);
}

static void stores_of_all_kinds(uint8_t *page) {
  uint32_t expected = 0;
  bool ok = true;
  emit_return(page, 0);
  for (int i = 0; i < 100; i++) {
    ok &= call(page) == expected;
    expected = i * 0x01010101;
    volatile uint32_t *immediate = (void *)(page + 1);
    uint32_t value = expected, old = *immediate;
    switch (i % 8) {
      case 0: *immediate = value; break;
      case 1: for (int b = 0; b < 4; b++) page[1 + b] = value >> 8 * b; break;
      case 2: __asm__ volatile("xchg %0, %1" : "+r"(value), "+m"(*immediate)); break;
      case 3: __asm__ volatile("lock cmpxchg %2, %1" : "+a"(old), "+m"(*immediate) : "r"(value) : "cc"); break;
      case 4: __asm__ volatile("lock xadd %0, %1" : "=r"(old), "+m"(*immediate) : "0"(value - old) : "cc"); break;
      case 5: __asm__ volatile("movd %1, %%xmm0; movss %%xmm0, %0" : "=m"(*immediate) : "r"(value)); break;
      case 6: /* the whole instruction and the RET behind it */
        __asm__ volatile("mov %%rsp, %%rdx; lea 8(%0), %%rsp; push %1; mov %%rdx, %%rsp"
                         ::"r"(page), "r"(0xc3ull << 40 | (uint64_t)value << 8 | 0xb8) : "rdx", "memory");
        break;
      case 7: __asm__ volatile("movsl" : : "S"(&value), "D"(immediate) : "memory"); break;
    }
  }
  check(ok && call(page) == expected, "stores by MOV, XCHG, CMPXCHG, XADD, SSE, PUSH, MOVS", "stale code ran");
  static const struct { uint64_t low, high; } whole = {0xc3075bcd15b8ull, 0};
  __asm__ volatile("movups %0, %%xmm0; movups %%xmm0, %1" : : "m"(whole), "m"(*(char(*)[16])page) : "memory");
  check_eq("a 16-byte store", call(page), 123456789);
}

static void other_pages(uint8_t *pages3) {
  uint8_t *a = pages3, *b = pages3 + 4096;
  bool ok = true;
  /* Code on page a patches page b and calls it: mov %edi, b+1; jmp b */
  a[0] = 0x89, a[1] = 0x3c, a[2] = 0x25;
  uint32_t target = (reg)b + 1;
  memcpy(a + 3, &target, 4);
  a[7] = 0xe9;
  uint32_t displacement = (reg)b - ((reg)a + 12);
  memcpy(a + 8, &displacement, 4);
  emit_return(b, 0);
  for (uint32_t i = 0; i < 2000; i++) ok &= ((uint32_t(*)(uint32_t))(reg)a)(i) == i;
  check(ok, "code of one page patches another", "stale code ran");

  uint8_t *across = b + 4096 - 3; /* the immediate's upper half lies on the next page */
  emit_return(across, 0x22112222);
  ok = call(across) == 0x22112222;
  for (uint32_t i = 0; i < 2000; i++) {
    b[4096 + 1] = i;
    ok &= call(across) == (0x00112222u | (i & 0xff) << 24);
  }
  check(ok, "an instruction across pages, its second page patched", "stale code ran");
  for (uint32_t i = 0; i < 2000; i++) {
    across[1] = i;
    ok &= (call(across) & 0xff) == (i & 0xff);
  }
  check(ok, "and its first page patched", "stale code ran");

  for (uint32_t i = 0; i < 200; i++) {
    uint8_t code[6];
    emit_return(code, i);
    memcpy(pages3 + 100 + i, code, 6);
    ok &= call(pages3 + 100 + i) == i;
    memmove(pages3 + 101 + i, pages3 + 100 + i, 6);
    ok &= call(pages3 + 101 + i) == i;
  }
  check(ok, "code copied to the heap and moved", "stale code ran");
}

static void remapped(uint8_t *one, uint8_t *two) {
  uint64_t *pdpt = pages(1), *pd = pages(1), *pt = pages(1);
  boot_pml4[1] = (reg)pdpt | P_RW;
  pdpt[0] = (reg)pd | P_RW;
  pd[0] = (reg)pt | P_RW;
  uint8_t *va = (uint8_t *)0x8000000000ul;
  emit_return(one, 1);
  emit_return(two, 2);
  bool ok = true;
  for (int i = 0; i < 2000; i++) {
    pt[0] = (reg)(i & 1 ? two : one) | P_RW;
    invlpg(va);
    ok &= call(va) == (i & 1 ? 2u : 1u);
  }
  check(ok, "a page of code remapped", "stale code ran");
  pt[0] = (reg)one | P_RW;
  invlpg(va);
  for (uint32_t i = 0; i < 2000; i++) {
    emit_return(one, i); /* by its other address; the call is the jump between */
    ok &= call(va) == i;
  }
  check(ok, "code patched by an alias", "stale code ran");
  pt[0] = (reg)one | P_RW;
  pt[1] = (reg)two | P_RW;
  emit_return(va + 4096 - 3, 0x01020304);
  ok = call(va + 4096 - 3) == 0x01020304;
  uint8_t *three = pages(1);
  three[0] = 0x55, three[1] = 0xaa, three[2] = 0xc3;
  pt[1] = (reg)three | P_RW;
  invlpg(va + 4096);
  check(ok && call(va + 4096 - 3) == 0xaa550304, "an instruction across pages, its second page remapped", "got 0x%x", call(va + 4096 - 3));
}

void guest_main(void) {
  uint8_t *p = pages(3);
  patched_function(p);
  same_block();
  stores_of_all_kinds(p);
  other_pages(p);
  remapped(pages(1), pages(1));
}
