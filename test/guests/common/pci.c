/* PCI configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2). bdf = bus << 8 | device << 3 | function. */
#include "guest.h"

static void address(uint32_t bdf, uint32_t offset) { outl(0xcf8, 0x80000000u | bdf << 8 | (offset & 0xfc)); }

uint32_t pci_read32(uint32_t bdf, uint32_t offset) { address(bdf, offset); return inl(0xcfc); }
uint16_t pci_read16(uint32_t bdf, uint32_t offset) { address(bdf, offset); return inw(0xcfc + (offset & 2)); }
uint8_t pci_read8(uint32_t bdf, uint32_t offset) { address(bdf, offset); return inb(0xcfc + (offset & 3)); }
void pci_write32(uint32_t bdf, uint32_t offset, uint32_t value) { address(bdf, offset); outl(0xcfc, value); }
void pci_write16(uint32_t bdf, uint32_t offset, uint16_t value) { address(bdf, offset); outw(0xcfc + (offset & 2), value); }
