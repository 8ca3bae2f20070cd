/* Checks and their sum. A run that ends without the line "DONE ..." has not finished. */
#include "guest.h"

static unsigned passed, failed, deviations;

static void __attribute__((format(printf, 3, 0))) report(const char *word, const char *name, const char *format, __builtin_va_list args) {
  print("%s %s: ", word, name);
  vprint(format, args);
  print("\n");
}

void check(bool ok, const char *name, const char *format, ...) {
  if (ok) {
    passed++;
    print("PASS %s\n", name);
    return;
  }
  failed++;
  __builtin_va_list args;
  __builtin_va_start(args, format);
  report("FAIL", name, format, args);
  __builtin_va_end(args);
}

void check_eq(const char *name, reg got, reg want) {
  check(got == want, name, "got 0x%lx, want 0x%lx", (unsigned long)got, (unsigned long)want);
}

void check_vector(const char *name, int vector, int want) { check(vector == want, name, "vector %d, want %d", vector, want); }

bool under_tcg(void) {
  struct cpuid id = cpuid(0x40000000, 0);
  return id.ebx == 0x54474354 && id.ecx == 0x43544743 && id.edx == 0x47435447; /* "TCGTCGTCGTCG" */
}

void check_not_tcg(bool ok, const char *name, const char *format, ...) {
  if (ok) {
    check(true, name, "%s", "");
    return;
  }
  bool tcg = under_tcg();
  if (tcg) deviations++;
  else failed++;
  __builtin_va_list args;
  __builtin_va_start(args, format);
  report(tcg ? "TCG deviates:" : "FAIL", name, format, args);
  __builtin_va_end(args);
}

void checks_done(void) {
  print("DONE %u passed, %u failed", passed, failed);
  if (deviations) print(", %u deviations of TCG", deviations);
  print("\n");
  exit_status(failed ? EXIT_FAIL : EXIT_PASS);
}
