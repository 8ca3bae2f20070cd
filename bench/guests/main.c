/*
 * Runs the kernels and reports on the serial line, one line per event, so that the host can time them by its own clock:
 *   warm NAME                          rounds that are not counted begin
 *   run NAME ROUNDS                    the counted rounds begin
 *   done NAME CHECKSUM MICROSECONDS    and have ended; the time is the guest's own (TSC)
 *   end                                all kernels are through
 * Options, in percent of the rounds below: scale= (100) of the counted ones, warm= (25) of those before; only=NAME,NAME…
 * chooses kernels. The rounds take 0.3 to 1 s a kernel under QEMU 7.2 TCG at 3 GHz.
 */
#include "kernels.h"

static const struct kernel { const char *name; kernel_function *function; uint32_t rounds; } kernels[] = {
  {"alu", alu, 200},
  {"branches", branches, 150},
  {"hash", hash, 400},
  {"sort", sort, 320},
  {"calls", fibonacci, 400},
  {"indirect", indirect, 320},
  {"bytecode", bytecode, 320},
  {"sha256", sha256, 1000},
  {"crc32", crc32, 640},
  {"inet", internet_checksum, 400},
  {"bytes", bytes, 160},
  {"qwords", qwords, 600},
  {"chase", chase, 120},
  {"copy", copy, 32},
  {"scan", scan, 240},
  {"matrix", matrix, 320},
  {"nbody", nbody, 500},
  {"simd", simd, 200},
  {"exceptions", exceptions, 300},
  {"syscalls", syscalls, 1000},
  {"port", port, 300},
  {"tlb", tlb, 300},
  {"remap", remap, 250},
};

/* Is it in the comma-separated list? */
static bool listed(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *s = list; *s; s++)
    if ((s == list || s[-1] == ',') && !strncmp(s, name, n) && (!s[n] || s[n] == ',')) return true;
  return false;
}

static uint32_t percent(const char *name, uint32_t otherwise) {
  char text[8];
  if (!option(name, text, sizeof text)) return otherwise;
  uint32_t value = 0;
  for (const char *s = text; *s >= '0' && *s <= '9'; s++) value = value * 10 + *s - '0';
  return value;
}

/* A line for the host. Monitors hold output back for a while; a processor that halts lets them send it. */
static void __attribute__((format(printf, 1, 2))) report(const char *format, ...) {
  __builtin_va_list args;
  __builtin_va_start(args, format);
  vprint(format, args);
  __builtin_va_end(args);
  idle(1000);
}

static void run(const struct kernel *kernel, uint32_t scale, uint32_t warm_up) {
  uint32_t rounds = kernel->rounds * scale / 100, warm = kernel->rounds * warm_up / 100;
  if (!rounds) rounds = 1;
  report("warm %s\n", kernel->name);
  uint32_t checksum = kernel->function();
  for (uint32_t i = 1; i < warm; i++) kernel->function();
  report("run %s %u\n", kernel->name, rounds);
  uint64_t start = clock_us();
  for (uint32_t i = 0; i < rounds; i++) {
    uint32_t again = kernel->function();
    if (again != checksum) panic("%s: round %u gives 0x%08x, not 0x%08x", kernel->name, i, again, checksum);
  }
  uint64_t end = clock_us();
  report("done %s 0x%08x %u\n", kernel->name, checksum, (unsigned)(end - start));
}

/* Aligns the stack as C code with SSE wants it: boot32.S does not. */
__attribute__((force_align_arg_pointer)) void guest_main(void) {
  static char only[256];
  bool all = !option("only", only, sizeof only);
  uint32_t scale = percent("scale", 100), warm_up = percent("warm", 25);
  write_cr4(read_cr4() | 3u << 9); /* OSFXSR, OSXMMEXCPT: boot32.S leaves SSE off */
  clock_init();
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
    if (all || listed(only, kernels[i].name)) run(&kernels[i], scale, warm_up);
  print("end\n");
  poweroff();
}
