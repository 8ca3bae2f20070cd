/* The smallest guest: console, loader's hand-over, power off by ACPI (status 0). */
#include "guest.h"

void guest_main(void) {
  print("Hello from a bare-metal guest\n");
  print("command line: %s\n", command_line);
  print("memory: %u KiB\n", memory_top / 1024);
  poweroff();
}
