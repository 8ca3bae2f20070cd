/* The clocks agree: TSC, PIT (channels 0 and 2), RTC, ACPI PM timer, within 3 %. */
#include "guest.h"

/* A loaded host disturbs any one measurement, so one of five has to agree. */
static void agree(const char *name, uint64_t (*measure)(void), uint64_t want) {
  uint64_t got = 0;
  for (int attempt = 0; attempt < 5; attempt++) {
    got = measure();
    uint64_t difference = got > want ? got - want : want - got;
    if (difference * 33 <= want) {
      check(true, name, "%s", "");
      return;
    }
  }
  check(false, name, "%lu, want %lu", (unsigned long)got, (unsigned long)want);
}

static void tsc(void) {
  uint64_t last = rdtsc();
  bool monotonic = true;
  for (int i = 0; i < 100000; i++) {
    uint64_t now = rdtsc();
    monotonic &= now >= last;
    last = now;
  }
  check(monotonic, "TSC never goes back", "%s", "");
  print("TSC: %u kHz, %s\n", tsc_khz, tsc_khz_measured ? "measured with the PIT" : "by CPUID 0x40000010");
  check(tsc_khz > 100000, "TSC frequency", "%u kHz", tsc_khz);
}

static uint64_t pit_channel2_us(void) {
  const uint16_t ticks = PIT_HZ / 25;
  outb(0x61, inb(0x61) & ~3);
  outb(0x43, 0xb0); /* channel 2, both bytes, mode 0 */
  outb(0x42, ticks & 0xff);
  outb(0x42, ticks >> 8);
  outb(0x61, (inb(0x61) & ~3) | 1);
  uint64_t from = clock_us();
  while (!(inb(0x61) & 0x20))
    ;
  return clock_us() - from;
}

static uint64_t pit_channel0_ticks(void) {
  outb(0x43, 0x34); /* channel 0, both bytes, mode 2 */
  outb(0x40, 0);
  outb(0x40, 0);
  uint16_t from = pit_read(0);
  delay_us(30000);
  return (uint16_t)(from - pit_read(0));
}

static void pit(void) {
  agree("PIT channel 2, mode 0: 40 ms", pit_channel2_us, 40000);
  agree("PIT channel 0, mode 2: its count in 30 ms", pit_channel0_ticks, (uint64_t)PIT_HZ * 30 / 1000);
  outb(0x43, 0xe2); /* read-back: status of channel 0 */
  uint8_t status = inb(0x40);
  check((status & 0x3f) == 0x34, "PIT read-back status", "0x%x", status);
}

static bool rtc_updating(void) { return cmos_read(0x0a) & 0x80; }
static uint8_t rtc_second(void) {
  while (rtc_updating())
    ;
  return cmos_read(0);
}

static uint8_t next_rtc_second(void) {
  uint8_t second = rtc_second(), next;
  while ((next = rtc_second()) == second)
    ;
  return next;
}

static uint64_t rtc_second_us(void) {
  next_rtc_second();
  uint64_t from = clock_us();
  next_rtc_second();
  return clock_us() - from;
}

static void rtc(void) {
  uint8_t mode = cmos_read(0x0b);
  agree("RTC: one second", rtc_second_us, 1000000);
  uint8_t second = rtc_second();
  uint8_t next = next_rtc_second(), limit = mode & 4 ? 60 : 0x60;
  check(next != second && next < limit, "RTC: the second counts on", "0x%x after 0x%x", next, second);
  check(cmos_read(0x0d) & 0x80, "RTC: battery is good", "0x%x", cmos_read(0x0d));
  cmos_read(0x0c);
  cmos_write(0x0b, mode & ~0x70);
  uint64_t from = clock_us();
  while (!(cmos_read(0x0c) & 0x10) && clock_us() - from < 2000000)
    ;
  check(clock_us() - from < 1500000, "RTC: the update-ended flag comes without its interrupt", "%lu us", (unsigned long)(clock_us() - from));
  print("RTC: %02x-%02x-%02x %02x:%02x:%02x, register B 0x%02x\n", cmos_read(9), cmos_read(8), cmos_read(7), cmos_read(4), cmos_read(2), cmos_read(0), mode);
}

static uint16_t pm_base;
static uint64_t pm_timer_ticks(void) {
  uint32_t from = inl(pm_base + 8);
  delay_us(50000);
  return (inl(pm_base + 8) - from) & 0xffffff;
}

static void pm_timer(void) {
  if (pci_read32(1 << 3 | 3, 0) != 0x71138086) return; /* no PIIX4 PM function at 00:01.3 */
  pm_base = pci_read32(1 << 3 | 3, 0x40) & 0xffc0;
  agree("ACPI PM timer: its count in 50 ms", pm_timer_ticks, 3579545 / 20);
}

void guest_main(void) {
  clock_init();
  for (int i = 0; i < 4 && tsc_khz_measured; i++) { /* a disturbance only ever makes it higher */
    uint32_t before = tsc_khz;
    clock_init();
    if (tsc_khz > before) tsc_khz = before;
  }
  tsc();
  pit();
  rtc();
  pm_timer();
}
