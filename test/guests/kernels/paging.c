/*
 * 4-level paging (Intel SDM vol. 3, chapter 4): page sizes, permissions, accessed and dirty bits, error codes, TLB rules,
 * SMEP and SMAP where CPUID has them. 32-bit and PAE paging are in paging32.c.
 */
#include "guest.h"

#define P 1ul
#define RW 2ul
#define US 4ul
#define A 0x20ul
#define D 0x40ul
#define PS 0x80ul
#define G 0x100ul
#define NX (1ul << 63)
#define ADDRESS 0x000ffffffffff000ul

#define VA 0x8000000000ul    /* PML4[1]: nothing of the boot's */
#define VA_2M 0x8040000000ul /* another page directory */
#define VA_1G 0x8080000000ul

extern uint64_t boot_pml4[512], boot_pdpt[512];
static uint64_t *pdpt, *pd, *pt, *pd2;

static volatile uint32_t *at(uint64_t va) { return (volatile uint32_t *)va; }
#define SET(entry, value) do { (entry) = (value); write_cr3(read_cr3()); } while (0)

static int read_trap(uint64_t va) { return TRAP("mov (%0), %%eax", : : "r"(va) : "rax", "memory"); }
static int write_trap(uint64_t va) { return TRAP("movl $0x1234, (%0)", : : "r"(va) : "memory"); }
static int call_trap(uint64_t va) { return TRAP("call *%0", : : "r"(va) : "memory"); }

/* An entry with reserved bits set: error code P | RSVD. TCG 7.2 says RSVD only. */
static void expect_reserved(const char *name, int vector, uint64_t cr2) {
  bool ok = vector == PF && trapped.cr2 == cr2 && trapped.error & 8;
  check(ok, name, "vector %d, error 0x%lx", vector, (unsigned long)trapped.error);
  if (ok) check_not_tcg(trapped.error == 9, "with P in the error code", "error 0x%lx", (unsigned long)trapped.error);
}

static void expect(const char *name, int vector, uint64_t error, uint64_t cr2) {
  check(vector == PF && trapped.error == error && trapped.cr2 == cr2, name, "vector %d, error 0x%lx, CR2 0x%lx; want #PF, 0x%lx, 0x%lx",
        vector, (unsigned long)trapped.error, (unsigned long)trapped.cr2, (unsigned long)error, (unsigned long)cr2);
}

static void sizes(uint32_t *page) {
  SET(pt[0], (reg)page | P | RW);
  *at(VA + 8) = 0xfeedbeef;
  check_eq("4 KiB page", page[2], 0xfeedbeef);
  SET(pt[1], (reg)page | P | RW);
  check_eq("an alias", *at(VA + 4096 + 8), 0xfeedbeef);
  pd2[0] = 0x200000 | P | RW | PS;
  SET(pd2[1], 0x200000 | P | RW | PS);
  *at(VA_2M + 0x1ff000) = 0xcafe;
  check_eq("2 MiB page", *at(0x3ff000), 0xcafe);
  check_eq("2 MiB alias", *at(VA_2M + 0x3ff000), 0xcafe);
  bool has_1g = cpuid(0x80000001, 0).edx & 1 << 26;
  if (!has_1g) {
    SET(pdpt[2], P | RW | PS);
    if (!under_tcg()) expect_reserved("without PDPE1GB, PS in a PDPTE is reserved", read_trap(VA_1G), VA_1G); /* TCG 7.2 has them always */
    SET(pdpt[2], 0);
    return;
  }
  SET(pdpt[2], P | RW | PS);
  check_eq("1 GiB page", *at(VA_1G + 0x3ff000), 0xcafe);
}

static void accessed_dirty(uint32_t *page) {
  SET(pt[0], (reg)page | P | RW);
  pd[0] &= ~A;
  SET(pdpt[0], pdpt[0] & ~A);
  (void)*at(VA);
  check((pt[0] & (A | D)) == A, "a read sets A", "PTE 0x%lx", pt[0]);
  check(pd[0] & A && pdpt[0] & A && boot_pml4[1] & A, "the upper levels get A too", "PDE 0x%lx", pd[0]);
  *at(VA) = 1;
  check((pt[0] & (A | D)) == (A | D), "a write after a read sets D", "PTE 0x%lx", pt[0]);
  SET(pt[0], (reg)page | P | RW);
  *at(VA) = 1;
  check((pt[0] & (A | D)) == (A | D), "a write sets both", "PTE 0x%lx", pt[0]);
  SET(pd2[0], 0x200000 | P | RW | PS);
  (void)*at(VA_2M);
  check((pd2[0] & (A | D)) == A, "2 MiB: A", "PDE 0x%lx", pd2[0]);
  *at(VA_2M + 0x1ff000) = 1;
  check((pd2[0] & (A | D)) == (A | D), "2 MiB: D", "PDE 0x%lx", pd2[0]);
  SET(pt[0], (reg)page | P);
  write_trap(VA);
  check(!(pt[0] & D), "a refused write does not set D", "PTE 0x%lx", pt[0]);
}

static void permissions(uint32_t *page) {
  SET(pt[0], 0);
  expect("read of an absent page", read_trap(VA + 0x123), 0, VA + 0x123);
  expect("write to an absent page", write_trap(VA + 0x123), 2, VA + 0x123);
  SET(pt[0], (reg)page | P);
  write_cr0(read_cr0() | CR0_WP);
  expect("write to a read-only page", write_trap(VA), 3, VA);
  write_cr0(read_cr0() & ~(reg)CR0_WP);
  int vector = write_trap(VA);
  check(vector == NO_TRAP && *page == 0x1234, "WP = 0 lets the kernel write", "vector %d", vector);
  write_cr0(read_cr0() | CR0_WP);
  pt[0] = (reg)page | P | RW;
  SET(pd[0], pd[0] & ~RW);
  expect("read-only in the page directory", write_trap(VA), 3, VA);
  SET(pd[0], pd[0] | RW);

  pt[1] = 0;
  SET(pt[0], (reg)page | P | RW);
  page[1023] = 0x55555555;
  expect("a write across into an absent page", TRAP("movq $-1, (%0)", : : "r"(VA + 4092) : "memory"), 2, VA + 4096);
  check_eq("leaves the first page alone", page[1023], 0x55555555);
  expect("a read across into an absent page", TRAP("mov (%0), %%rax", : : "r"(VA + 4093) : "rax", "memory"), 0, VA + 4096);
}

static void no_execute(uint32_t *page) {
  if (!(cpuid(0x80000001, 0).edx & 1 << 20)) return;
  page[0] = 0xc3; /* ret */
  wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE);
  SET(pt[0], (reg)page | P | RW | NX);
  expect_reserved("without NXE, bit 63 is reserved", read_trap(VA), VA);
  wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
  SET(pt[0], (reg)page | P | RW);
  check_vector("an executable page", call_trap(VA), NO_TRAP);
  SET(pt[0], (reg)page | P | RW | NX);
  check_vector("NX lets data through", read_trap(VA), NO_TRAP);
  expect("NX in the PTE", call_trap(VA), 0x11, VA);
  pt[0] = (reg)page | P | RW;
  SET(pd[0], pd[0] | NX);
  expect("NX in the PDE", call_trap(VA), 0x11, VA);
  SET(pd[0], pd[0] & ~NX);
  SET(pt[0], 0);
  expect("fetch from an absent page", call_trap(VA), 0x10, VA);
  SET(pd2[0], 0x200000 | P | RW | PS | 1 << 13);
  expect_reserved("reserved address bits of a 2 MiB page", read_trap(VA_2M), VA_2M);
  SET(pd2[0], 0x200000 | P | RW | PS);
}

static void translation_cache(uint32_t *one, uint32_t *two) {
  one[0] = 1, two[0] = 2;
  SET(pt[0], (reg)one | P | RW);
  (void)*at(VA);
  pt[0] = (reg)two | P | RW;
  invlpg(at(VA + 0x800));
  check_eq("INVLPG, anywhere in the page", *at(VA), 2);
  pt[0] = 0;
  invlpg(at(VA));
  expect("INVLPG after unmapping", read_trap(VA), 0, VA);
  pt[0] = (reg)one | P | RW;
  check_eq("an absent page is not cached", *at(VA), 1);

  uint64_t *other_pml4 = pages(1), *other_pdpt = pages(1), *other_pd = pages(1), *other_pt = pages(1);
  memcpy(other_pml4, boot_pml4, 4096);
  other_pml4[1] = (reg)other_pdpt | P | RW;
  other_pdpt[0] = (reg)other_pd | P | RW;
  other_pd[0] = (reg)other_pt | P | RW;
  other_pt[0] = (reg)two | P | RW;
  write_cr3((reg)other_pml4);
  check_eq("CR3 switch", *at(VA), 2);
  check_eq("CR3 reads back", read_cr3() & ADDRESS, (reg)other_pml4);
  write_cr3((reg)boot_pml4);
  check_eq("and back", *at(VA), 1);

  write_cr4(read_cr4() | CR4_PGE);
  SET(pt[0], (reg)one | P | RW | G);
  invlpg(at(VA));
  (void)*at(VA);
  pt[0] = (reg)two | P | RW | G;
  invlpg(at(VA));
  check_eq("INVLPG drops global pages", *at(VA), 2);
  pt[0] = (reg)one | P | RW;
  write_cr4(read_cr4() & ~(reg)CR4_PGE);
  check_eq("clearing PGE drops them all", *at(VA), 1);

  /* A recursive entry makes the tables visible in themselves. */
  SET(boot_pml4[510], (reg)boot_pml4 | P | RW);
  volatile uint64_t *recursive = (void *)(0xffffff0000000000ul + (VA >> 9 & 0x7ffffffff8ul));
  check_eq("recursive mapping shows the PTE", *recursive & ADDRESS, (reg)one);
  *recursive = (reg)two | P | RW;
  invlpg(at(VA));
  check_eq("and changes it", *at(VA), 2);
  SET(boot_pml4[510], 0);
  int vector = read_trap(0x800000000000ul);
  check(vector == GP && trapped.error == 0, "a non-canonical address", "vector %d", vector);
}

static void supervisor_mode_protection(uint32_t *page) {
  struct cpuid id = cpuid(7, 0);
  page[0] = 0xc3;
  SET(pt[0], (reg)page | P | RW | US);
  if (id.ebx & 1 << 7) {
    check_vector("without SMEP the kernel executes user pages", call_trap(VA), NO_TRAP);
    write_cr4(read_cr4() | CR4_SMEP);
    expect("SMEP", call_trap(VA), 0x11, VA);
    write_cr4(read_cr4() & ~(reg)CR4_SMEP);
  } else if (!under_tcg()) { /* TCG 7.2 hangs in this */
    check_vector("CR4.SMEP is reserved without SMEP", TRAP("mov %0, %%cr4", : : "r"(read_cr4() | CR4_SMEP) : "memory"), GP);
  }
  if (id.ebx & 1 << 20) {
    write_cr4(read_cr4() | CR4_SMAP);
    expect("SMAP, read", read_trap(VA), 1, VA);
    expect("SMAP, write", write_trap(VA), 3, VA);
    __asm__ volatile("stac" ::: "cc", "memory");
    int vector = read_trap(VA);
    __asm__ volatile("clac" ::: "cc", "memory");
    check(vector == NO_TRAP, "STAC lifts SMAP", "vector %d", vector);
    expect("CLAC restores it", read_trap(VA), 1, VA);
    write_cr4(read_cr4() & ~(reg)CR4_SMAP);
  } else {
    check_vector("STAC is undefined without SMAP", TRAP("stac", : : : "memory"), UD);
  }
}

void guest_main(void) {
  pdpt = pages(1), pd = pages(1), pt = pages(1), pd2 = pages(1);
  uint32_t *one = pages(1), *two = pages(1);
  boot_pml4[1] = (reg)pdpt | P | RW | US;
  pdpt[0] = (reg)pd | P | RW | US;
  pdpt[1] = (reg)pd2 | P | RW | US;
  pd[0] = (reg)pt | P | RW | US;
  sizes(one);
  accessed_dirty(one);
  permissions(one);
  no_execute(one);
  translation_cache(one, two);
  supervisor_mode_protection(one);
}
