/* String instructions: directions, widths, overlap, faults and single steps midway, address sizes (Intel SDM vol. 2, REP). */
#include "guest.h"

extern uint64_t boot_pt[512], boot_pd[];
static uint8_t *a, *b;

struct state { uint64_t cx, si, di; };
#define RUN(code, s) __asm__ volatile(code "; cld" : "+c"((s).cx), "+S"((s).si), "+D"((s).di) : "a"(0x1122334455667788ul) : "memory", "cc")
static struct state start(uint64_t cx, const void *si, const void *di) { return (struct state){cx, (reg)si, (reg)di}; }
static void expect(const char *name, struct state s, struct state want) {
  check(s.cx == want.cx && s.si == want.si && s.di == want.di, name, "rcx %ld rsi %lx rdi %lx; want %ld %lx %lx", (long)s.cx,
        (unsigned long)s.si, (unsigned long)s.di, (long)want.cx, (unsigned long)want.si, (unsigned long)want.di);
}
static void fill(void) {
  for (int i = 0; i < 4096; i++) a[i] = i * 13 + (i >> 8), b[i] = 0;
}
static bool same(const uint8_t *x, const uint8_t *y, size_t n) { return !memcmp(x, y, n); }

static void moves(void) {
  struct state s;
#define MOVE(width, suffix) \
  fill(); \
  s = start(20, a, b); \
  RUN("rep movs" suffix, s); \
  expect("REP MOVS" suffix, s, start(0, a + 20 * width, b + 20 * width)); \
  check(same(a, b, 20 * width) && !b[20 * width], "its bytes", "differ"); \
  fill(); \
  s = start(20, a + 19 * width, b + 19 * width); \
  RUN("std; rep movs" suffix, s); \
  expect("REP MOVS" suffix " down", s, start(0, a - width, b - width)); \
  check(same(a, b, 20 * width) && !b[20 * width], "its bytes", "differ");
  MOVE(1, "b")
  MOVE(2, "w")
  MOVE(4, "l")
  MOVE(8, "q")
  fill();
  s = start(0, a, b);
  RUN("rep movsb", s);
  expect("REP with count 0", s, start(0, a, b));
  check(!b[0], "moves nothing", "it did");
  fill();
  s = start(100, a, a + 1);
  RUN("rep movsb", s);
  bool ok = true;
  for (int i = 0; i <= 100; i++) ok &= a[i] == a[0];
  check(ok, "an overlap by one byte propagates it", "it did not");
  fill();
  s = start(10, a, a + 3);
  RUN("rep movsq", s);
  uint8_t model[96];
  for (int i = 0; i < 96; i++) model[i] = i * 13;
  for (int i = 0; i < 10; i++) {
    uint64_t v;
    memcpy(&v, model + 8 * i, 8);
    memcpy(model + 3 + 8 * i, &v, 8);
  }
  check(same(a, model, 96), "an overlap by three bytes, by quadwords", "differs");
  fill();
  s = start(3000, a, b + 1);
  RUN("rep movsb", s);
  check(same(a, b + 1, 3000) && !b[0] && !b[3001], "3000 bytes, unaligned", "differ");
}

static void stores_and_loads(void) {
  struct state s;
#define STORE(width, suffix) \
  fill(); \
  s = start(9, a, b); \
  RUN("rep stos" suffix, s); \
  expect("REP STOS" suffix, s, start(0, a, b + 9 * width)); \
  check(b[0] == 0x88 && b[9 * width - 1] == (uint8_t)(0x1122334455667788ul >> 8 * (width - 1)) && !b[9 * width], "its bytes", "%x", b[0]);
  STORE(1, "b")
  STORE(2, "w")
  STORE(4, "l")
  STORE(8, "q")
  fill();
  uint64_t value = ~0ul;
  s = start(3, a, b);
  __asm__ volatile("rep lodsw" : "+c"(s.cx), "+S"(s.si), "+a"(value)::"memory");
  expect("REP LODSW", s, start(0, a + 6, b));
  check_eq("leaves the last word, and the rest of RAX", value, 0xffffffffffff0000 | a[4] | a[5] << 8);
  __asm__ volatile("lodsl" : "+S"(s.si), "+a"(value)::"memory");
  check(value >> 32 == 0, "LODSL clears the upper half", "0x%lx", value);
}

static void comparisons(void) {
  fill();
  for (int i = 0; i < 4096; i++) b[i] = a[i];
  b[50]++;
  struct state s = start(100, a, b);
  uint8_t zf, cf;
  __asm__ volatile("repe cmpsb; setz %3; setc %4" : "+c"(s.cx), "+S"(s.si), "+D"(s.di), "=q"(zf), "=q"(cf)::"memory", "cc");
  expect("REPE CMPSB stops behind the difference", s, start(49, a + 51, b + 51));
  check(!zf && cf == (a[50] < b[50]), "with its flags", "ZF %u CF %u", zf, cf);
  s = start(100, a, b);
  __asm__ volatile("repne cmpsb; setz %3" : "+c"(s.cx), "+S"(s.si), "+D"(s.di), "=q"(zf)::"memory", "cc");
  expect("REPNE CMPSB stops behind the match", s, start(99, a + 1, b + 1));
  for (int i = 0; i < 100; i++) b[i] = 0x11;
  b[70] = 0x88;
  s = start(100, a, b);
  RUN("repne scasb", s);
  expect("REPNE SCASB", s, start(29, a, b + 71));
  s = start(100, a, b + 99);
  RUN("std; repne scasb", s);
  expect("REPNE SCASB down", s, start(100 - 30, a, b + 69));
  for (int i = 0; i < 25; i++) ((uint32_t *)b)[i] = 0x55667788;
  s = start(30, a, b);
  RUN("repe scasl", s);
  expect("REPE SCASL", s, start(4, a, b + 26 * 4));
  s = start(0, a, b);
  __asm__ volatile("cmp %0, %0; repne scasb; setz %3" : "+c"(s.cx), "+S"(s.si), "+D"(s.di), "=q"(zf)::"memory", "cc");
  check(zf, "SCAS with count 0 keeps the flags", "ZF %u", zf);
}

/* A fault in the middle: registers say how far it came, and the instruction can be resumed. */
static struct trap_frame fault;
static uint64_t *absent;
static int faults;
static void map_it(struct trap_frame *frame) {
  faults++;
  fault = *frame;
  *absent |= 1;
  invlpg((void *)read_cr2());
}
static uint64_t *entry_of(void *p) {
  if ((reg)p >= 0x200000) panic("strings: the test page must lie below 2 MiB");
  return &boot_pt[(reg)p >> 12];
}
static void unmap(uint8_t *page) {
  absent = entry_of(page);
  *absent &= ~1ul;
  invlpg(page);
  faults = 0;
}

static void faults_midway(void) {
  set_handler(PF, map_it);
  uint8_t *second = b + 4096;
  fill();
  unmap(second);
  struct state s = start(100, a, second - 50);
  RUN("rep movsb", s);
  check(faults == 1 && fault.error == 2, "a write fault midway", "%d faults, error %lx", faults, fault.error);
  expect("leaves the state of the 50th byte", (struct state){fault.rcx, fault.rsi, fault.rdi}, start(50, a + 50, second));
  expect("and resumes", s, start(0, a + 100, second + 50));
  check(same(a, second - 50, 100), "with the right bytes", "differ");

  unmap(second);
  s = start(10, second - 36, a);
  RUN("rep movsq", s);
  check(faults == 1 && fault.error == 0, "a read fault midway, on an element across pages", "%d faults", faults);
  expect("leaves the state before that element", (struct state){fault.rcx, fault.rsi, fault.rdi}, start(6, second - 4, a + 32));

  unmap(second);
  s = start(100, a, second + 49);
  RUN("std; rep stosb", s);
  check(faults == 1, "a fault downwards at once", "%d faults", faults);
  expect("leaves everything", (struct state){fault.rcx, fault.rsi, fault.rdi}, start(100, a, second + 49));

  unmap(second);
  memset(b, 0x88, 4096);
  s = start(5000, a, second - 10);
  RUN("repe scasb", s);
  check(faults == 1, "SCAS faults", "%d faults", faults);
  expect("midway", (struct state){fault.rcx, fault.rsi, fault.rdi}, start(4990, a, second));
  set_handler(PF, NULL);
}

static int steps;
static void step(struct trap_frame *frame) { (void)frame, steps++; }

static void interruptions(void) {
  set_handler(DB, step);
  fill();
  struct state s = start(5, a, b);
  __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; rep movsb; pushf; andl $~0x100, (%%rsp); popf" : "+c"(s.cx), "+S"(s.si), "+D"(s.di)::"memory", "cc");
  set_handler(DB, NULL);
  check(steps == 5 + 3 && same(a, b, 5), "TF traps after each iteration of REP", "%d traps", steps);
}

static void address_sizes(void) {
  fill();
  struct state s = {0xffffffff00000003, (reg)a | 0xffffffff00000000, (reg)b | 0xffffffff00000000};
  RUN("addr32 rep movsb", s);
  expect("32-bit addresses use and clear the 32-bit registers", s, start(0, a + 3, b + 3));
  check(same(a, b, 3) && !b[3], "its bytes", "differ");
  wrmsr(MSR_FS_BASE, (reg)a);
  fill();
  s = start(4, (void *)16, b);
  RUN("rep movsb %%fs:(%%rsi), %%es:(%%rdi)", s);
  check(same(a + 16, b, 4), "a segment override moves the source", "differs");
  wrmsr(MSR_FS_BASE, 0);
}

void guest_main(void) {
  a = (uint8_t *)pages(2) + 64;
  b = pages(3);
  moves();
  stores_and_loads();
  comparisons();
  faults_midway();
  interruptions();
  address_sizes();
}
