/* Console on the first 16550 (COM1, polled as most unikernels do) and a small printf. */
#include "guest.h"

void console_init(void) {
  outb(COM1 + 1, 0);    /* IER: no interrupts */
  outb(COM1 + 3, 0x80); /* LCR: DLAB */
  outb(COM1 + 0, 1);    /* 115200 baud */
  outb(COM1 + 1, 0);
  outb(COM1 + 3, 3); /* 8N1 */
}

void console_putc(char c) {
  if (c == '\n') console_putc('\r');
  while (!(inb(COM1 + 5) & 0x20)) /* LSR.THRE */
    ;
  outb(COM1, c);
}

static void put_number(unsigned long value, unsigned base, int width, char pad, bool negative) {
  char digits[24];
  int n = 0;
  do digits[n++] = "0123456789abcdef"[value % base];
  while (value /= base);
  if (negative) digits[n++] = '-';
  for (int i = n; i < width; i++) console_putc(pad);
  while (n) console_putc(digits[--n]);
}

void vprint(const char *f, __builtin_va_list args) {
  for (; *f; f++) {
    if (*f != '%') {
      console_putc(*f);
      continue;
    }
    char pad = ' ';
    int width = 0;
    bool is_long = false, left = false;
    if (*++f == '-') left = true, f++;
    if (*f == '0') pad = '0', f++;
    while (*f >= '0' && *f <= '9') width = width * 10 + *f++ - '0';
    if (*f == 'l') is_long = true, f++;
    switch (*f) {
      case 'd': {
        long v = is_long ? __builtin_va_arg(args, long) : __builtin_va_arg(args, int);
        put_number(v < 0 ? -(unsigned long)v : (unsigned long)v, 10, width, pad, v < 0);
        break;
      }
      case 'u':
      case 'x':
        put_number(is_long ? __builtin_va_arg(args, unsigned long) : __builtin_va_arg(args, unsigned), *f == 'x' ? 16 : 10,
                   width, pad, false);
        break;
      case 'p':
        print("0x");
        put_number((unsigned long)__builtin_va_arg(args, void *), 16, width, '0', false);
        break;
      case 's': {
        const char *s = __builtin_va_arg(args, const char *);
        int n = strlen(s);
        for (int i = n; !left && i < width; i++) console_putc(' ');
        while (*s) console_putc(*s++);
        for (int i = n; left && i < width; i++) console_putc(' ');
        break;
      }
      case 'c':
        console_putc(__builtin_va_arg(args, int));
        break;
      default:
        console_putc(*f);
    }
  }
}

void print(const char *format, ...) {
  __builtin_va_list args;
  __builtin_va_start(args, format);
  vprint(format, args);
  __builtin_va_end(args);
}
