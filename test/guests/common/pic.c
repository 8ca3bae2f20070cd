/* The 8259A pair (Intel 231468): vectors 0x20-0x2f, edge mode, non-automatic EOI. */
#include "guest.h"

#define PIC1 0x20
#define PIC2 0xa0

void pic_init(void) {
  outb(PIC1, 0x11); /* ICW1: ICW4 follows, cascade, edge */
  outb(PIC2, 0x11);
  outb(PIC1 + 1, IRQ_VECTOR);
  outb(PIC2 + 1, IRQ_VECTOR + 8);
  outb(PIC1 + 1, 4); /* ICW3: the slave sits on input 2 */
  outb(PIC2 + 1, 2);
  outb(PIC1 + 1, 1); /* ICW4: 8086 mode */
  outb(PIC2 + 1, 1);
  outb(PIC1 + 1, 0xfb); /* OCW1: all masked but the cascade */
  outb(PIC2 + 1, 0xff);
}

void pic_unmask(int irq) {
  uint16_t port = irq < 8 ? PIC1 + 1 : PIC2 + 1;
  outb(port, inb(port) & ~(1 << (irq & 7)));
}

void pic_mask(int irq) {
  uint16_t port = irq < 8 ? PIC1 + 1 : PIC2 + 1;
  outb(port, inb(port) | 1 << (irq & 7));
}

void pic_eoi(int irq) {
  if (irq >= 8) outb(PIC2, 0x20); /* OCW2: non-specific EOI, the slave first */
  outb(PIC1, 0x20);
}
