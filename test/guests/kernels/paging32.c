/* 32-bit and PAE paging of protected mode (Intel SDM vol. 3, 4.3 and 4.4), entered and left from flat 32-bit code. */
#include "guest.h"

#define P 1u
#define RW 2u
#define A 0x20u
#define D 0x40u
#define PS 0x80u
#define VA 0x80000000u    /* a page table of its own */
#define VA_BIG 0x90000000u /* large pages */

static volatile uint32_t *at(uint32_t va) { return (volatile uint32_t *)va; }
static void flush(void) { write_cr3(read_cr3()); }
static int read_trap(uint32_t va) { return TRAP("mov (%0), %%eax", : : "r"(va) : "eax", "memory"); }
static int write_trap(uint32_t va) { return TRAP("movl $0x1234, (%0)", : : "r"(va) : "memory"); }

static void expect(const char *name, int vector, uint32_t error, uint32_t cr2) {
  check(vector == PF && trapped.error == error && trapped.cr2 == cr2, name, "vector %d, error 0x%lx, CR2 0x%lx", vector,
        (unsigned long)trapped.error, (unsigned long)trapped.cr2);
}

static void two_levels(uint32_t *page) {
  uint32_t *directory = pages(1), *table = pages(1);
  for (uint32_t i = 0; i < 16; i++) directory[i] = i << 22 | P | RW | PS; /* 64 MiB 1:1 */
  directory[VA >> 22] = (reg)table | P | RW;
  table[0] = (reg)page | P | RW;
  write_cr4(read_cr4() | CR4_PSE);
  write_cr3((reg)directory);
  write_cr0(read_cr0() | CR0_PG | CR0_WP);
  check(read_cr0() & CR0_PG, "32-bit paging is on", "CR0 0x%lx", (unsigned long)read_cr0());
  *at(VA + 4) = 0xfeed;
  check_eq("4 KiB page", page[1], 0xfeed);
  check((table[0] & (A | D)) == (A | D) && directory[VA >> 22] & A, "accessed and dirty", "PTE 0x%x", table[0]);
  directory[VA_BIG >> 22] = 0x400000 | P | RW | PS;
  check_eq("4 MiB page", *at(VA_BIG + 0x1000), *at(0x401000));
  check((directory[VA_BIG >> 22] & (A | D)) == A, "4 MiB: accessed", "PDE 0x%x", directory[VA_BIG >> 22]);
  expect("read of an absent page", read_trap(VA + 0x1abc), 0, VA + 0x1abc);
  expect("write to an absent page", write_trap(VA + 0x1abc), 2, VA + 0x1abc);
  table[0] = (reg)page | P;
  flush();
  expect("write to a read-only page", write_trap(VA), 3, VA);
  write_cr0(read_cr0() & ~CR0_WP);
  check_vector("WP = 0 lets the kernel write", write_trap(VA), NO_TRAP);
  expect("an absent directory entry", read_trap(0xc0000000), 0, 0xc0000000);
  directory[VA_BIG >> 22] = (reg)table | P | RW; /* PS clear: a table */
  table[1] = (reg)page | P | RW;
  flush();
  check_eq("a second directory entry for the table", *at(VA_BIG + 0x1004), 0xfeed);
  write_cr0(read_cr0() & ~CR0_PG);
  check(!(read_cr0() & CR0_PG), "paging is off again", "CR0 0x%lx", (unsigned long)read_cr0());
  page[2] = 77;
  check_eq("addresses are physical", *at((reg)page + 8), 77);
}

static void three_levels(uint32_t *page) {
  static uint64_t pdpt[4] __attribute__((aligned(32)));
  uint64_t *low = pages(1), *high = pages(1), *table = pages(1);
  for (uint32_t i = 0; i < 32; i++) low[i] = (uint64_t)i << 21 | P | RW | PS;
  pdpt[0] = (reg)low | P;
  pdpt[VA >> 30] = (reg)high | P;
  high[0] = (reg)table | P | RW;
  table[0] = (reg)page | P | RW;
  write_cr4(read_cr4() | CR4_PAE);
  write_cr3((reg)pdpt);
  write_cr0(read_cr0() | CR0_PG | CR0_WP);
  *at(VA + 4) = 0xbeef;
  check_eq("PAE: 4 KiB page", page[1], 0xbeef);
  check((table[0] & (A | D)) == (A | D), "PAE: accessed and dirty", "PTE 0x%lx", (unsigned long)table[0]);
  high[128] = 0x200000 | P | RW | PS; /* VA_BIG */
  check_eq("PAE: 2 MiB page", *at(VA_BIG + 0x1000), *at(0x201000));
  expect("PAE: read of an absent page", read_trap(VA + 0x1abc), 0, VA + 0x1abc);
  expect("PAE: an absent directory", read_trap(0xc0000000), 0, 0xc0000000);
  table[0] = (reg)page | P;
  flush();
  expect("PAE: write to a read-only page", write_trap(VA), 3, VA);
  if (cpuid(0x80000001, 0).edx & 1 << 20) {
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    page[0] = 0xc3; /* ret, by its physical address */
    table[0] = (reg)page | P | RW;
    flush();
    check_vector("PAE: an executable page", TRAP("call *%0", : : "r"(VA) : "memory"), NO_TRAP);
    table[0] |= 1ull << 63;
    flush();
    expect("PAE: NX", TRAP("call *%0", : : "r"(VA) : "memory"), 0x11, VA);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE);
    flush();
    int vector = read_trap(VA);
    check(vector == PF && trapped.error & 8, "PAE: without NXE, bit 63 is reserved", "vector %d", vector);
    check_not_tcg(trapped.error == 9, "PAE: with P in the error code", "error 0x%lx", (unsigned long)trapped.error); /* TCG 7.2: 8 */
  }
  pdpt[1] = (reg)high | P;
  flush();
  table[0] = (reg)page | P | RW;
  flush();
  check_eq("PAE: a new PDPTE after a CR3 load", *at(0x40000004), 0xbeef);
  static uint64_t bad[4] __attribute__((aligned(32)));
  memcpy(bad, pdpt, sizeof bad);
  bad[2] |= 6; /* reserved in a PDPTE */
  int vector = TRAP("mov %0, %%cr3", : : "r"(bad) : "memory");
  check_not_tcg(vector == GP, "PAE: reserved bits of a PDPTE", "vector %d", vector); /* TCG 7.2 walks PDPTEs in memory */
  write_cr3((reg)pdpt);
  write_cr0(read_cr0() & ~CR0_PG);
  write_cr4(read_cr4() & ~(CR4_PAE | CR4_PSE));
}

void guest_main(void) {
  uint32_t *page = pages(1);
  two_levels(page);
  three_levels(page);
}
