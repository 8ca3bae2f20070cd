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

/* Where formatted text goes: the console, or a buffer of which the last byte stays for the terminator. */
struct sink { char *at, *end; };

static void put(struct sink *to, char c) {
  if (!to->at) console_putc(c);
  else if (to->at < to->end) *to->at++ = c;
}

static void put_number(struct sink *to, unsigned long value, unsigned base, int width, char pad, bool negative) {
  char digits[24];
  int n = 0;
  do digits[n++] = "0123456789abcdef"[value % base];
  while (value /= base);
  if (negative) digits[n++] = '-';
  for (int i = n; i < width; i++) put(to, pad);
  while (n) put(to, digits[--n]);
}

static void put_string(struct sink *to, const char *s, int width, bool left) {
  int n = strlen(s);
  for (int i = n; !left && i < width; i++) put(to, ' ');
  while (*s) put(to, *s++);
  for (int i = n; left && i < width; i++) put(to, ' ');
}

static void put_formatted(struct sink *to, const char *f, __builtin_va_list args) {
  for (; *f; f++) {
    if (*f != '%') {
      put(to, *f);
      continue;
    }
    char pad = ' ';
    int width = 0;
    bool is_long = false, left = false;
    if (*++f == '-') left = true, f++;
    if (*f == '0') pad = '0', f++;
    while (*f >= '0' && *f <= '9') width = width * 10 + *f++ - '0';
    if (*f == 'l') is_long = true, f++;
    if (*f == 'd') {
      long v = is_long ? __builtin_va_arg(args, long) : __builtin_va_arg(args, int);
      put_number(to, v < 0 ? -(unsigned long)v : (unsigned long)v, 10, width, pad, v < 0);
    } else if (*f == 'u' || *f == 'x') {
      unsigned long v = is_long ? __builtin_va_arg(args, unsigned long) : __builtin_va_arg(args, unsigned);
      put_number(to, v, *f == 'x' ? 16 : 10, width, pad, false);
    } else if (*f == 'p') {
      put_number(to, (unsigned long)__builtin_va_arg(args, void *), 16, width, '0', false);
    } else if (*f == 's') {
      put_string(to, __builtin_va_arg(args, const char *), width, left);
    } else if (*f == 'c') {
      put(to, __builtin_va_arg(args, int));
    } else {
      put(to, *f);
    }
  }
}

void vprint(const char *format, __builtin_va_list args) {
  struct sink console = {NULL, NULL};
  put_formatted(&console, format, args);
}

void print(const char *format, ...) {
  __builtin_va_list args;
  __builtin_va_start(args, format);
  vprint(format, args);
  __builtin_va_end(args);
}

size_t print_to(char *buffer, size_t size, const char *format, ...) {
  struct sink to = {buffer, buffer + size - 1};
  __builtin_va_list args;
  __builtin_va_start(args, format);
  put_formatted(&to, format, args);
  __builtin_va_end(args);
  *to.at = 0;
  return to.at - buffer;
}
