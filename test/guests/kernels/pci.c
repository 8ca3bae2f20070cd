/* PCI configuration space by mechanism 1: the bus is listed and its invariants checked (PCI Local Bus 3.0, 3.2.2.3 and 6). */
#include "guest.h"

static void mechanism(void) {
  outl(0xcf8, 0x80000000);
  check_eq("0xcf8 reads back", inl(0xcf8), 0x80000000);
  uint32_t id = pci_read32(0, 0);
  check_eq("halves of a register", pci_read16(0, 2) << 16 | pci_read16(0, 0), id);
  check_eq("bytes of a register", pci_read8(0, 0) | pci_read8(0, 1) << 8 | pci_read8(0, 2) << 16 | (uint32_t)pci_read8(0, 3) << 24, id);
  outl(0xcf8, 0);
  check_eq("without the enable bit nothing answers", inl(0xcfc), 0xffffffff);
  check_eq("an absent device reads as ones", pci_read32(31 << 3 | 7, 0), 0xffffffff);
  check_eq("host bridge at 00:00.0", pci_read16(0, 0x0a), 0x0600);
  pci_write32(0, 0, 0x12345678);
  check_eq("the identity cannot be written", pci_read32(0, 0), id);
}

static bool bars_are_sane(uint32_t bdf, int count) {
  bool ok = true;
  uint16_t command = pci_read16(bdf, 4);
  pci_write16(bdf, 4, command & ~3); /* decoding off while sizes are probed */
  for (int i = 0; i < count; i++) {
    uint32_t at = 0x10 + 4 * i, old = pci_read32(bdf, at);
    pci_write32(bdf, at, 0xffffffff);
    uint32_t mask = pci_read32(bdf, at), address = mask & 1 ? mask & ~3u : mask & ~15u;
    pci_write32(bdf, at, old);
    if (!mask || !address) continue;
    if (address & 1) ok = false;
    uint32_t size = -(address | (mask & 1 ? 0xffff0000 : 0));
    print("         BAR%d %s 0x%08x, %u bytes\n", i, mask & 1 ? "ports " : "memory", mask & 1 ? old & ~3u : old & ~15u, size);
    ok &= (size & (size - 1)) == 0 && pci_read32(bdf, at) == old && !((mask & 1 ? old & ~3u : old & ~15u) & (size - 1));
    if ((mask & 7) == 4) i++; /* 64-bit: the next register is its upper half */
  }
  pci_write16(bdf, 4, command);
  return ok;
}

static bool capabilities_are_sane(uint32_t bdf) {
  if (!(pci_read16(bdf, 6) & 0x10)) return true;
  int n = 0;
  for (uint8_t cap = pci_read8(bdf, 0x34); cap; cap = pci_read8(bdf, cap + 1)) {
    if (cap < 0x40 || cap & 3 || ++n > 48) return false;
    print("         capability 0x%02x at 0x%02x\n", pci_read8(bdf, cap), cap);
  }
  return n > 0;
}

void guest_main(void) {
  mechanism();
  int devices = 0;
  bool bars = true, capabilities = true;
  for (uint32_t bdf = 0; bdf < 256; bdf++) {
    uint32_t id = pci_read32(bdf, 0);
    if (id == 0xffffffff) {
      if (!(bdf & 7)) bdf += 7; /* without function 0 there are no others */
      continue;
    }
    devices++;
    print("00:%02x.%u  %04x:%04x class %04x, interrupt line %u, command 0x%04x\n", bdf >> 3, bdf & 7, id & 0xffff, id >> 16,
          pci_read16(bdf, 0x0a), pci_read8(bdf, 0x3c), pci_read16(bdf, 4));
    uint8_t header = pci_read8(bdf, 0x0e);
    if ((header & 0x7f) == 0) bars &= bars_are_sane(bdf, 6), capabilities &= capabilities_are_sane(bdf);
    if (!(bdf & 7) && !(header & 0x80)) bdf += 7;
  }
  check(devices >= 2, "devices on bus 0", "%d", devices);
  check(bars, "BARs: power-of-two sizes, aligned, restored", "%s", "see above");
  check(capabilities, "capability lists", "%s", "see above");
}
