/*
 * The 16550 at COM1 (National Semiconductor PC16550D): registers, loopback, FIFOs, interrupts.
 * Option: echo - afterwards echoes what is received by interrupt, until "q".
 */
#include "guest.h"

#define RBR (COM1 + 0)
#define IER (COM1 + 1)
#define IIR (COM1 + 2)
#define FCR (COM1 + 2)
#define LCR (COM1 + 3)
#define MCR (COM1 + 4)
#define LSR (COM1 + 5)
#define MSR (COM1 + 6)
#define SCR (COM1 + 7)
#define LSR_DR 1
#define LSR_OE 2
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

static bool wait_lsr(uint8_t bits) {
  for (uint64_t end = clock_us() + 200000; clock_us() < end;)
    if ((inb(LSR) & bits) == bits) return true;
  return false;
}

static void drain(void) {
  for (int i = 0; i < 64 && inb(LSR) & LSR_DR; i++) inb(RBR);
}

static void registers(void) {
  wait_lsr(LSR_TEMT);
  uint8_t scratch[2];
  outb(SCR, 0x5a);
  scratch[0] = inb(SCR);
  outb(SCR, 0xa5);
  scratch[1] = inb(SCR);
  outb(LCR, 0x83);
  uint8_t dll = inb(RBR);
  outb(RBR, 0x0c);
  outb(IER, 0x01);
  uint8_t divisor[2] = {inb(RBR), inb(IER)};
  outb(RBR, dll);
  outb(IER, 0);
  uint8_t lcr = inb(LCR);
  outb(LCR, 3);
  outb(IER, 0xff);
  uint8_t ier = inb(IER);
  outb(IER, 0);
  outb(MCR, 0xff);
  uint8_t mcr = inb(MCR);
  outb(MCR, 3);
  check(scratch[0] == 0x5a && scratch[1] == 0xa5, "scratch register", "0x%x 0x%x", scratch[0], scratch[1]);
  check(divisor[0] == 0x0c && divisor[1] == 1, "divisor latch behind DLAB", "0x%x 0x%x", divisor[0], divisor[1]);
  check_eq("LCR reads back", lcr, 0x83);
  check_eq("IER has four bits", ier, 0x0f);
  check_eq("MCR has five bits", mcr, 0x1f);
}

static void loopback(void) {
  wait_lsr(LSR_TEMT);
  outb(FCR, 0);
  outb(MCR, 0x10);
  drain();
  uint8_t modem[4];
  for (int i = 0; i < 4; i++) {
    outb(MCR, 0x10 | 1 << i);
    modem[i] = inb(MSR) & 0xf0;
  }
  outb(MCR, 0x10);
  inb(MSR);
  outb(MCR, 0x11);
  uint8_t delta = inb(MSR), delta_again = inb(MSR);
  outb(RBR, 0x77);
  bool came = wait_lsr(LSR_DR);
  uint8_t byte = inb(RBR), lsr = inb(LSR);
  outb(MCR, 3);
  check(modem[0] == 0x20 && modem[1] == 0x10 && modem[2] == 0x40 && modem[3] == 0x80, "loopback: DTR, RTS, OUT1, OUT2 appear as DSR, CTS, RI, DCD",
        "0x%x 0x%x 0x%x 0x%x", modem[0], modem[1], modem[2], modem[3]);
  check_not_tcg((delta & 0x0f) == 2 && !(delta_again & 0x0f), "loopback: the delta bit, cleared by reading", "0x%x 0x%x", delta, delta_again); /* QEMU has no delta bits here */
  check(came && byte == 0x77 && !(lsr & LSR_DR), "loopback: a byte", "0x%x, LSR 0x%x", byte, lsr);
}

static void fifos(void) {
  wait_lsr(LSR_TEMT);
  uint8_t without = inb(IIR);
  outb(FCR, 0x07); /* on, both cleared, trigger at 1 */
  uint8_t with = inb(IIR);
  outb(MCR, 0x10);
  for (int i = 0; i < 16; i++) {
    outb(RBR, 0x40 + i);
    wait_lsr(LSR_TEMT);
  }
  wait_lsr(LSR_DR);
  uint8_t lsr = inb(LSR), in_order = 0;
  for (int i = 0; i < 16; i++) in_order += inb(RBR) == 0x40 + i;
  uint8_t empty = inb(LSR);
  for (int i = 0; i < 17; i++) {
    outb(RBR, i);
    if (i < 16) wait_lsr(LSR_TEMT);
  }
  delay_us(2000); /* reading LSR would clear what we look for */
  uint8_t overrun = inb(LSR), overrun_again = inb(LSR);
  outb(FCR, 0x03); /* clear the receiver's */
  uint8_t cleared = inb(LSR);
  outb(MCR, 3);
  outb(FCR, 0);
  check((without & 0xc0) == 0 && (with & 0xc0) == 0xc0, "IIR tells of the FIFOs", "0x%x 0x%x", without, with);
  check(lsr & LSR_DR && in_order == 16 && !(empty & LSR_DR), "16 bytes in order", "%u, LSR 0x%x", in_order, empty);
  check(overrun & LSR_OE && !(overrun_again & LSR_OE), "the 17th overruns, reading LSR clears it", "0x%x 0x%x", overrun, overrun_again);
  check(!(cleared & LSR_DR), "FCR clears the receive FIFO", "0x%x", cleared);
}

static volatile int interrupts;
static volatile uint8_t causes[8];
static void note(struct trap_frame *frame) {
  (void)frame;
  uint8_t iir = inb(IIR) & 0x0f;
  if (interrupts < 8) causes[interrupts] = iir;
  interrupts++;
  if (iir == 4 || iir == 0x0c) inb(RBR);
  if (iir == 6) inb(LSR);
  if (iir == 2) outb(IER, inb(IER) & ~2);
  pic_eoi(4);
}

static void wait_interrupts(int count) {
  sti();
  for (uint64_t end = clock_us() + 300000; interrupts < count && clock_us() < end;) barrier();
  cli();
}

static void by_interrupt(void) {
  wait_lsr(LSR_TEMT);
  set_handler(IRQ_VECTOR + 4, note);
  pic_unmask(4);
  interrupts = 0;
  outb(MCR, 0x0b); /* OUT2 lets the interrupt through */
  outb(IER, 2);
  wait_interrupts(1);
  int empties = interrupts;
  uint8_t empty_cause = causes[0];
  outb(IER, 0);

  interrupts = 0;
  outb(MCR, 0x1b); /* loopback */
  outb(IER, 1);
  outb(RBR, 0x21);
  wait_interrupts(1);
  int receives = interrupts;
  uint8_t receive_cause = causes[0];
  outb(IER, 0);

  interrupts = 0;
  outb(FCR, 0xc7); /* trigger at 14 */
  outb(IER, 1);
  for (int i = 0; i < 3; i++) outb(RBR, i);
  wait_interrupts(1);
  uint8_t timeout_cause = causes[0];
  outb(IER, 0);
  outb(FCR, 0);
  outb(MCR, 0x0b);
  uint8_t idle_iir = inb(IIR);
  check(empties == 1 && empty_cause == 2, "THRE interrupt", "%d, IIR %x", empties, empty_cause);
  check(receives == 1 && receive_cause == 4, "receive interrupt", "%d, IIR %x", receives, receive_cause);
  check_eq("a FIFO below its trigger interrupts by timeout", timeout_cause, 0x0c);
  check_eq("no interrupt pending", idle_iir & 0x0f, 1);
}

static volatile char received;
static void receive(struct trap_frame *frame) {
  (void)frame;
  while (inb(LSR) & LSR_DR) received = inb(RBR), console_putc(received);
  pic_eoi(4);
}

void guest_main(void) {
  clock_init();
  registers();
  loopback();
  fifos();
  by_interrupt();
  char value[4];
  if (!option("echo", value, sizeof value)) return;
  print("echo until q: ");
  set_handler(IRQ_VECTOR + 4, receive);
  outb(FCR, 0x01);
  outb(IER, 1);
  while (received != 'q') wait_for_interrupt();
  cli();
  print("\n");
  check(true, "echo", "%s", "");
}
