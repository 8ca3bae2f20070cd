/* The multiboot information (Multiboot Specification 0.6.96, §3.3), page allocation, and the ways to end the machine. */
#include "guest.h"

struct multiboot_info { uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr; };
struct multiboot_mmap { uint32_t size; uint64_t base, length; uint32_t type; } __attribute__((packed));
struct multiboot_module { uint32_t start, end, string, reserved; };
#define MULTIBOOT_INFO_CMDLINE (1u << 2)
#define MULTIBOOT_INFO_MODS (1u << 3)
#define MULTIBOOT_INFO_MEM_MAP (1u << 6)

char command_line[512];
uint32_t memory_top;
static uint32_t next_page;
extern char image_end[];

void machine_init(uint32_t address) {
  const struct multiboot_info *info = (void *)(reg)address;
  console_init();
  if (info->flags & MULTIBOOT_INFO_CMDLINE) {
    const char *s = (void *)(reg)info->cmdline;
    while (*s && *s != ' ') s++; /* the kernel's path, as QEMU puts it first */
    while (*s == ' ') s++;
    for (size_t i = 0; s[i] && i < sizeof command_line - 1; i++) command_line[i] = s[i];
  }
  next_page = ((uint32_t)(reg)image_end + 4095) & ~4095u;
  if (info->flags & MULTIBOOT_INFO_MODS) {
    const struct multiboot_module *module = (void *)(reg)info->mods_addr;
    for (uint32_t i = 0; i < info->mods_count; i++)
      if (module[i].end > next_page) next_page = (module[i].end + 4095) & ~4095u;
  }
  if (!(info->flags & MULTIBOOT_INFO_MEM_MAP)) panic("the loader gave no memory map");
  for (uint32_t at = info->mmap_addr; at < info->mmap_addr + info->mmap_length;) {
    const struct multiboot_mmap *entry = (void *)(reg)at;
    uint64_t end = entry->base + entry->length;
    if (entry->type == 1 && entry->base <= 0x100000 && end > 0x100000)
      memory_top = end > 0xfffff000u ? 0xfffff000u : (uint32_t)end;
    at += entry->size + 4;
  }
}

bool option(const char *name, char *value, size_t size) {
  size_t n = strlen(name);
  for (const char *s = command_line; *s;) {
    const char *end = s;
    while (*end && *end != ' ') end++;
    if (!strncmp(s, name, n) && (s + n == end || s[n] == '=')) {
      const char *v = s + n == end ? end : s + n + 1;
      size_t length = (size_t)(end - v) < size - 1 ? (size_t)(end - v) : size - 1;
      memcpy(value, v, length);
      value[length] = 0;
      return true;
    }
    while (*end == ' ') end++;
    s = end;
  }
  return false;
}

void *pages(size_t count) {
  if (memory_top < next_page || (memory_top - next_page) / 4096 < count) panic("out of memory");
  void *p = (void *)(reg)next_page;
  next_page += count * 4096;
  return memset(p, 0, count * 4096);
}

static void __attribute__((noreturn)) stop(void) {
  for (;;) __asm__ volatile("cli; hlt");
}

void poweroff(void) {
  outw(0x604, 0x2000); /* PIIX4 PM1a_CNT where firmware puts it: SLP_EN, SLP_TYP 0 = S5 */
  stop();
}

void exit_status(uint16_t value) {
  outw(0x501, value);
  poweroff(); /* there is no isa-debug-exit */
}

void panic(const char *format, ...) {
  __builtin_va_list args;
  __builtin_va_start(args, format);
  print("panic: ");
  vprint(format, args);
  print("\n");
  exit_status(EXIT_FAIL);
}
