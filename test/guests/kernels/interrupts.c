/*
 * External interrupts: PIT and RTC through the 8259 pair and its priorities, the shadows of STI and MOV SS, HLT, and where
 * CPUID has it the local APIC (timer, IPIs, NMI, x2APIC) and the I/O APIC (Intel SDM vol. 3, 6.8 and chapter 11; 82093AA).
 */
#include "guest.h"

#define PIC1 0x20
#define PIC2 0xa0

static volatile int counts[256], order[16], ordered;
static volatile reg last_ip;

static void note(struct trap_frame *frame) {
  counts[frame->vector]++;
  if (ordered < 16) order[ordered++] = frame->vector;
  last_ip = frame->ip;
  if (frame->vector >= IRQ_VECTOR && frame->vector < IRQ_VECTOR + 16) {
    if (frame->vector == IRQ_VECTOR + 8) cmos_read(0x0c); /* the RTC keeps its line until register C is read */
    if (frame->vector == IRQ_VECTOR + 4) outb(COM1 + 1, 0);
    pic_eoi(frame->vector - IRQ_VECTOR);
  }
}

static void clear(void) {
  for (int i = 0; i < 256; i++) counts[i] = 0;
  ordered = 0;
}

static void wait_for(int vector, int count, uint32_t ms) {
  sti();
  for (uint64_t end = clock_us() + ms * 1000; counts[vector] < count && clock_us() < end;) barrier();
  cli();
}

static void pit_start(uint8_t mode, uint16_t count) {
  outb(0x43, 0x30 | mode << 1);
  outb(0x40, count & 0xff);
  outb(0x40, count >> 8);
}

static bool pic_pending(int irq) {
  uint16_t port = irq < 8 ? PIC1 : PIC2;
  outb(port, 0x0a); /* OCW3: IRR */
  return inb(port) & 1 << (irq & 7);
}
static uint8_t pic_in_service(void) {
  outb(PIC1, 0x0b); /* OCW3: ISR */
  return inb(PIC1);
}
static void await_pending(int irq) {
  for (uint64_t end = clock_us() + 200000; !pic_pending(irq) && clock_us() < end;) barrier();
}

/* A mode 0 count that ends in 55 ms, and the requests of what ran before taken. */
static void pit_quiet(void) {
  pit_start(0, 0xffff);
  wait_for(IRQ_VECTOR, 1000000, 1);
  clear();
}

static void timers(void) {
  clear();
  pic_unmask(0);
  pit_start(2, PIT_HZ / 1000);
  uint64_t from = clock_us();
  wait_for(IRQ_VECTOR, 100, 2000);
  uint64_t us = clock_us() - from;
  check(counts[IRQ_VECTOR] >= 100 && us > 85000, "PIT mode 2: 100 interrupts at 1 kHz", "%d in %lu us", counts[IRQ_VECTOR], (unsigned long)us);
  pit_quiet();
  pit_start(0, PIT_HZ / 200);
  wait_for(IRQ_VECTOR, 1, 1000);
  int first = counts[IRQ_VECTOR];
  wait_for(IRQ_VECTOR, first + 1, 30);
  check(first == 1 && counts[IRQ_VECTOR] == 1, "PIT mode 0: one interrupt", "%d", counts[IRQ_VECTOR]);
  pit_quiet();
  pit_start(4, PIT_HZ / 200);
  wait_for(IRQ_VECTOR, 1, 1000);
  check(counts[IRQ_VECTOR] == 1, "PIT mode 4: one interrupt", "%d", counts[IRQ_VECTOR]);
  pic_mask(0);

  clear();
  uint8_t a = cmos_read(0x0a), b = cmos_read(0x0b);
  cmos_write(0x0a, (a & 0xf0) | 6); /* 1024 Hz */
  cmos_write(0x0b, b | 0x40);       /* PIE */
  cmos_read(0x0c);
  pic_unmask(8);
  from = clock_us();
  wait_for(IRQ_VECTOR + 8, 100, 2000);
  us = clock_us() - from;
  cmos_write(0x0b, b & ~0x70);
  cmos_write(0x0a, a);
  pic_mask(8);
  check(counts[IRQ_VECTOR + 8] >= 100 && us > 80000, "RTC: 100 periodic interrupts at 1024 Hz", "%d in %lu us", counts[IRQ_VECTOR + 8], (unsigned long)us);
}

/* Raises IRQ 0 (PIT), 4 (UART, transmitter empty) and 8 (RTC) while interrupts are off. */
static void raise_three(void) {
  clear();
  cmos_read(0x0c);
  uint8_t a = cmos_read(0x0a), b = cmos_read(0x0b);
  cmos_write(0x0a, (a & 0xf0) | 6);
  cmos_write(0x0b, b | 0x40);
  pit_start(0, 100);
  outb(COM1 + 4, 0x0b); /* OUT2 */
  while (!(inb(COM1 + 5) & 0x40))
    ;
  outb(COM1 + 1, 2); /* IER: transmitter empty */
  pic_unmask(4);
  pic_unmask(0);
  pic_unmask(8);
  await_pending(0), await_pending(4), await_pending(8);
  cmos_write(0x0b, b & ~0x70); /* the line stays up until register C is read */
}

static void priorities(void) {
  raise_three();
  check(pic_pending(0) && pic_pending(4) && pic_pending(8) && pic_pending(2), "three requests stand in the IRRs, IRQ 2 for the slave", "%d%d%d%d", pic_pending(0),
        pic_pending(4), pic_pending(8), pic_pending(2));
  sti();
  __asm__ volatile("nop; nop; nop; nop");
  cli();
  check(ordered == 3 && order[0] == IRQ_VECTOR && order[1] == IRQ_VECTOR + 8 && order[2] == IRQ_VECTOR + 4, "priorities: 0, then 8 by way of 2, then 4", "%d: %x %x %x",
        ordered, order[0], order[1], order[2]);
  check_eq("no interrupt stays in service", pic_in_service(), 0);

  outb(PIC1, 0xc0 | 3); /* OCW2: set priority, 3 is lowest and 4 highest */
  raise_three();
  sti();
  __asm__ volatile("nop; nop; nop; nop");
  cli();
  outb(PIC1, 0xc0 | 7);
  check(ordered == 3 && order[0] == IRQ_VECTOR + 4 && order[1] == IRQ_VECTOR && order[2] == IRQ_VECTOR + 8, "rotated priorities: 4, 0, 8", "%d: %x %x %x", ordered,
        order[0], order[1], order[2]);

  raise_three();
  pic_mask(0);
  pic_mask(2); /* at the master: masking the slave's input now would make a spurious interrupt */
  sti();
  __asm__ volatile("nop; nop; nop; nop");
  cli();
  check(ordered == 1 && order[0] == IRQ_VECTOR + 4, "masked requests wait", "%d: %x", ordered, order[0]);
  pic_unmask(0);
  pic_unmask(2);
  sti();
  __asm__ volatile("nop; nop; nop; nop");
  cli();
  check(ordered == 3, "and come when unmasked", "%d", ordered);
  pic_mask(0), pic_mask(4), pic_mask(8);
}

uint64_t behind_mov_ss;

static void shadows(void) {
  pic_unmask(0);
  clear();
  pit_start(0, 100);
  await_pending(0);
  __asm__ volatile("sti; cli; nop; nop; nop" ::: "memory");
  check(counts[IRQ_VECTOR] == 0, "STI; CLI lets no interrupt through", "%d", counts[IRQ_VECTOR]);
  uint64_t behind;
  __asm__ volatile("lea 1f(%%rip), %0; sti; nop\n1: nop; cli" : "=r"(behind)::"memory");
  check(counts[IRQ_VECTOR] == 1 && last_ip == behind, "STI takes effect behind the next instruction", "%d, %ld bytes off", counts[IRQ_VECTOR], (long)(last_ip - behind));

  /* Behind STI a MOV SS need not inhibit (SDM: only the first of a row does), so its shadow is seen by the TF trap. */
  int vector = TRAP("movq $8f, behind_mov_ss; pushf; orl $0x100, (%%rsp); popf; mov %0, %%ss; nop\n8: nop; nop", : : "a"(SEL_KERNEL_DATA) : "memory", "cc");
  check_not_tcg(vector == DB && trapped.ip == behind_mov_ss, "MOV SS holds the TF trap back for one instruction", "vector %d, %ld bytes off", vector, (long)(trapped.ip - behind_mov_ss));

  clear();
  pit_start(0, PIT_HZ / 100);
  __asm__ volatile("lea 1f(%%rip), %0; sti; hlt\n1: cli" : "=r"(behind)::"memory");
  check(counts[IRQ_VECTOR] == 1 && last_ip == behind, "STI; HLT wakes behind HLT", "%d, %ld bytes off", counts[IRQ_VECTOR], (long)(last_ip - behind));

  clear();
  pit_start(0, 100);
  await_pending(0);
  __asm__ volatile("sti; hlt; cli" ::: "memory"); /* the request stands already */
  check(counts[IRQ_VECTOR] == 1, "a request that stands wakes HLT at once", "%d", counts[IRQ_VECTOR]);

  clear();
  pit_start(0, 100);
  await_pending(0);
  __asm__ volatile("pushf; orl $0x200, (%%rsp); lea 1f(%%rip), %0; popf\n1: nop; cli" : "=r"(behind)::"memory", "cc");
  check(counts[IRQ_VECTOR] == 1 && last_ip == behind, "POPF has no shadow", "%d, %ld bytes off", counts[IRQ_VECTOR], (long)(last_ip - behind));
  pic_mask(0);
}

static uint32_t lapic_base;
static bool x2apic;
static uint32_t lapic_read(uint32_t at) { return x2apic ? (uint32_t)rdmsr(0x800 + at / 16) : *(volatile uint32_t *)(reg)(lapic_base + at); }
static void lapic_write(uint32_t at, uint32_t value) {
  if (x2apic) wrmsr(0x800 + at / 16, value);
  else *(volatile uint32_t *)(reg)(lapic_base + at) = value;
}
#define LAPIC_ID 0x20
#define LAPIC_VERSION 0x30
#define LAPIC_TPR 0x80
#define LAPIC_EOI 0xb0
#define LAPIC_SVR 0xf0
#define LAPIC_ISR 0x100
#define LAPIC_IRR 0x200
#define LAPIC_ICR 0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_TIMER_INITIAL 0x380
#define LAPIC_TIMER_CURRENT 0x390
#define LAPIC_TIMER_DIVIDE 0x3e0

static void lapic_note(struct trap_frame *frame) {
  counts[frame->vector]++;
  if (ordered < 16) order[ordered++] = frame->vector;
  lapic_write(LAPIC_EOI, 0);
}

static void send_self(uint32_t command) {
  uint32_t id = lapic_read(LAPIC_ID);
  if (x2apic) {
    wrmsr(0x830, (uint64_t)id << 32 | command);
  } else {
    lapic_write(LAPIC_ICR_HIGH, id & 0xff000000);
    lapic_write(LAPIC_ICR, command);
  }
}

static volatile int nmi_count, nmi_depth, nmi_deepest;
static void on_nmi(struct trap_frame *frame) {
  (void)frame;
  nmi_count++;
  if (++nmi_depth > nmi_deepest) nmi_deepest = nmi_depth;
  if (nmi_count == 1) send_self(0x400); /* must wait for the IRET */
  delay_us(100);
  nmi_depth--;
}

static void local_apic(void) {
  set_handler(0x40, lapic_note);
  set_handler(0x51, lapic_note);
  set_handler(0x62, lapic_note);
  lapic_write(LAPIC_SVR, 0x1ff);
  lapic_write(LAPIC_TPR, 0);
  check((lapic_read(LAPIC_VERSION) & 0xf0) == 0x10, "LAPIC version", "0x%x", lapic_read(LAPIC_VERSION));

  lapic_write(LAPIC_TIMER_DIVIDE, 0x0b); /* by 1 */
  lapic_write(LAPIC_LVT_TIMER, 0x10000);
  lapic_write(LAPIC_TIMER_INITIAL, 0xffffffff);
  delay_us(20000);
  uint32_t per_ms = (0xffffffff - lapic_read(LAPIC_TIMER_CURRENT)) / 20;
  print("LAPIC timer: about %u kHz\n", per_ms);
  clear();
  lapic_write(LAPIC_LVT_TIMER, 0x40);
  lapic_write(LAPIC_TIMER_INITIAL, per_ms);
  wait_for(0x40, 1, 500);
  wait_for(0x40, 2, 20);
  check(counts[0x40] == 1 && lapic_read(LAPIC_TIMER_CURRENT) == 0, "LAPIC timer, one shot", "%d", counts[0x40]);
  clear();
  lapic_write(LAPIC_LVT_TIMER, 0x20040);
  lapic_write(LAPIC_TIMER_INITIAL, per_ms);
  wait_for(0x40, 20, 2000);
  check(counts[0x40] >= 20, "LAPIC timer, periodic", "%d", counts[0x40]);
  lapic_write(LAPIC_LVT_TIMER, 0x10000);
  lapic_write(LAPIC_TIMER_INITIAL, 0);
  wait_for(0x40, 1000000, 3); /* what is still on its way */

  clear();
  send_self(0x51);
  send_self(0x62);
  check(lapic_read(LAPIC_IRR + 0x20) & 1 << 17, "a self-IPI stands in the IRR", "0x%x", lapic_read(LAPIC_IRR + 0x20));
  wait_for(0x51, 1, 100);
  check(ordered == 2 && order[0] == 0x62 && order[1] == 0x51, "IPIs come by the priority of their vectors", "%d: %x %x", ordered, order[0], order[1]);
  clear();
  lapic_write(LAPIC_TPR, 0x50);
  send_self(0x51);
  send_self(0x62);
  wait_for(0x51, 1, 5);
  int held = counts[0x51], passed = counts[0x62];
  lapic_write(LAPIC_TPR, 0);
  wait_for(0x51, 1, 100);
  check(held == 0 && passed == 1 && counts[0x51] == 1, "TPR holds a class back", "%d %d %d", held, passed, counts[0x51]);
  clear();
  __asm__ volatile("mov %0, %%cr8" ::"r"(5ul));
  check_eq("CR8 is the TPR's upper half", lapic_read(LAPIC_TPR), 0x50);
  __asm__ volatile("mov %0, %%cr8" ::"r"(0ul));

  set_handler(NMI, on_nmi);
  nmi_count = nmi_deepest = 0;
  send_self(0x400);
  for (uint64_t end = clock_us() + 100000; nmi_count < 2 && clock_us() < end;) barrier();
  check(nmi_count == 2 && nmi_deepest == 1, "NMI comes with IF = 0, and not within an NMI", "%d, depth %d", nmi_count, nmi_deepest);
}

#define IOAPIC 0xfec00000u
static uint32_t ioapic_read(uint8_t index) {
  *(volatile uint32_t *)(reg)IOAPIC = index;
  return *(volatile uint32_t *)(reg)(IOAPIC + 0x10);
}
static void ioapic_write(uint8_t index, uint32_t value) {
  *(volatile uint32_t *)(reg)IOAPIC = index;
  *(volatile uint32_t *)(reg)(IOAPIC + 0x10) = value;
}

static void io_apic(void) {
  uint32_t version = ioapic_read(1);
  if (version == 0xffffffff || (version & 0xff) < 0x10) {
    print("no I/O APIC at 0x%x\n", IOAPIC);
    return;
  }
  uint32_t pins = (version >> 16 & 0xff) + 1;
  check(pins == 24, "I/O APIC: 24 pins", "%u", pins);
  lapic_write(LAPIC_LVT_LINT0, 0x10000); /* the 8259 is cut off */
  ioapic_write(0x10 + 2 * 2 + 1, lapic_read(LAPIC_ID) & (x2apic ? 0 : 0xff000000));
  ioapic_write(0x10 + 2 * 2, 0x10051);
  clear();
  pit_start(2, PIT_HZ / 1000);
  wait_for(0x51, 1, 20);
  check(counts[0x51] == 0, "a masked pin stays silent", "%d", counts[0x51]);
  ioapic_write(0x10 + 2 * 2, 0x51); /* pin 2 is the PIT's; edge, fixed, physical */
  wait_for(0x51, 20, 2000);
  check(counts[0x51] >= 20 && counts[IRQ_VECTOR] == 0, "the PIT through the I/O APIC", "%d", counts[0x51]);
  ioapic_write(0x10 + 2 * 2, 0x10051);
  pit_start(0, 1);

  /* Level: the UART's line stays up until its IER is cleared, so each EOI brings the interrupt again. */
  ioapic_write(0x10 + 4 * 2 + 1, lapic_read(LAPIC_ID) & (x2apic ? 0 : 0xff000000));
  ioapic_write(0x10 + 4 * 2, 0x8062);
  clear();
  outb(COM1 + 4, 0x0b);
  while (!(inb(COM1 + 5) & 0x40))
    ;
  outb(COM1 + 1, 0);
  outb(COM1 + 1, 2);
  wait_for(0x62, 5, 500);
  outb(COM1 + 1, 0);
  int level = counts[0x62];
  wait_for(0x62, 1000000, 5);
  int after = counts[0x62];
  wait_for(0x62, 1000000, 5);
  ioapic_write(0x10 + 4 * 2, 0x10062);
  check(level >= 5 && counts[0x62] == after, "a level interrupt comes again until its line falls", "%d, then %d and %d", level, after, counts[0x62]);
  lapic_write(LAPIC_LVT_LINT0, 0x700);
}

void guest_main(void) {
  clock_init();
  for (int irq = 0; irq < 16; irq++) set_handler(IRQ_VECTOR + irq, note);
  timers();
  priorities();
  shadows();
  struct cpuid id = cpuid(1, 0);
  if (!(id.edx & 1 << 9)) {
    print("no local APIC\n");
    return;
  }
  uint64_t base = rdmsr(MSR_APIC_BASE);
  check(base & 1 << 11 && base & 1 << 8, "the local APIC is on, and this the boot processor", "0x%lx", base);
  lapic_base = base & 0xfffff000;
  local_apic();
  io_apic();
  if (!(id.ecx & 1 << 21)) return;
  wrmsr(MSR_APIC_BASE, base | 1 << 10);
  x2apic = true;
  print("x2APIC:\n");
  local_apic();
  io_apic();
}
