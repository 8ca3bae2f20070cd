/*
 * The ways to reset the machine, one per boot: triple fault, port 0xcf9, the keyboard controller's 0xfe. Which is next stands
 * in a byte of the RTC's memory, which a reset does not touch. Run it without -no-reboot.
 */
#include "guest.h"

#define CMOS_STEP 0x50 /* unused by firmware */
#define STEP_BASE 0xa0

void guest_main(void) {
  uint8_t step = cmos_read(CMOS_STEP);
  if (step < STEP_BASE || step > STEP_BASE + 3) step = STEP_BASE;
  static const char *const ways[] = {"a triple fault", "port 0xcf9", "port 0x64"};
  for (int i = 0; i < step - STEP_BASE; i++)
    if (i == step - STEP_BASE - 1) print("PASS reset by %s\n", ways[i]);
  cmos_write(CMOS_STEP, step + 1);
  switch (step - STEP_BASE) {
    case 0: {
      print("triple fault\n");
      struct { uint16_t limit; reg base; } __attribute__((packed)) none = {0, 0};
      __asm__ volatile("lidt %0; ud2" ::"m"(none));
      break;
    }
    case 1:
      outb(0xcf9, 0x02); /* RCR: system reset, then the rising edge of reset CPU */
      outb(0xcf9, 0x06);
      break;
    case 2:
      outb(0x64, 0xfe);
      break;
    default:
      cmos_write(CMOS_STEP, 0);
      check(true, "all resets", "%s", "");
      return;
  }
  delay_us(1000000);
  check(false, "reset", "step %d did nothing", step - STEP_BASE);
}
