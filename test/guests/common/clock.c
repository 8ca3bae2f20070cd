/*
 * Time: the TSC, with its frequency from CPUID 0x40000010 (EAX = kHz) or else measured for 50 ms with PIT channel 2
 * (Intel 231164; gate and output are bits 0 and 5 of port 0x61).
 */
#include "guest.h"

uint32_t tsc_khz;
bool tsc_khz_measured;
static uint64_t tsc_start;

/* a * b / c by the CPU's wide multiplication and division: there is no libgcc here. The quotient must fit 64 bits. */
static uint64_t mul_div(uint64_t a, uint32_t b, uint32_t c) {
#ifdef __x86_64__
  uint64_t low, high, rest;
  __asm__("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "r"((uint64_t)b));
  __asm__("divq %2" : "=a"(low), "=d"(rest) : "r"((uint64_t)c), "a"(low), "d"(high));
  return low;
#else
  uint64_t low = (a & 0xffffffff) * b, high = (a >> 32) * b + (low >> 32);
  uint32_t q1, q0, rest = (uint32_t)(high >> 32) % c;
  __asm__("divl %2" : "=a"(q1), "=d"(rest) : "r"(c), "a"((uint32_t)high), "d"(rest));
  __asm__("divl %2" : "=a"(q0), "=d"(rest) : "r"(c), "a"((uint32_t)low), "d"(rest));
  return (uint64_t)q1 << 32 | q0;
#endif
}

uint16_t pit_read(int channel) {
  outb(0x43, channel << 6); /* latch */
  uint8_t low = inb(0x40 + channel);
  return low | inb(0x40 + channel) << 8;
}

static uint32_t measure_tsc_khz(void) {
  const uint16_t ticks = PIT_HZ / 20;
  outb(0x61, (inb(0x61) & ~3) | 1); /* gate on, speaker off */
  outb(0x43, 0xb0);                 /* channel 2, both bytes, mode 0 */
  outb(0x42, ticks & 0xff);
  outb(0x42, ticks >> 8);
  uint64_t start = rdtsc();
  while (!(inb(0x61) & 0x20))
    ;
  return mul_div(rdtsc() - start, PIT_HZ, ticks * 1000u);
}

void clock_init(void) {
  if (cpuid(0x40000000, 0).eax >= 0x40000010 && cpuid(1, 0).ecx >> 31) tsc_khz = cpuid(0x40000010, 0).eax;
  if (!tsc_khz) {
    tsc_khz = measure_tsc_khz();
    tsc_khz_measured = true;
  }
  tsc_start = rdtsc();
}

uint64_t clock_us(void) { return mul_div(rdtsc() - tsc_start, 1000, tsc_khz); }

void delay_us(uint32_t us) {
  uint64_t end = clock_us() + us;
  while (clock_us() < end) __asm__ volatile("pause");
}

uint8_t cmos_read(uint8_t index) {
  outb(0x70, index);
  return inb(0x71);
}

void cmos_write(uint8_t index, uint8_t value) {
  outb(0x70, index);
  outb(0x71, value);
}

static void tick(struct trap_frame *frame) { pic_eoi(frame->vector - IRQ_VECTOR); }

/* A call, so that no SSE register is live when the interrupt comes: the trap entries save none. */
void idle(uint32_t max_us) {
  static bool ready;
  if (!ready) {
    ready = true;
    set_handler(IRQ_VECTOR, tick);
    outb(0x43, 0x30); /* channel 0, both bytes, mode 0: one interrupt at the end of the count */
    pic_unmask(0);
  }
  if (max_us > 54000) max_us = 54000;
  uint32_t ticks = max_us * 1193u / 1000;
  outb(0x40, ticks & 0xff);
  outb(0x40, ticks >> 8);
  wait_for_interrupt();
  cli();
}
