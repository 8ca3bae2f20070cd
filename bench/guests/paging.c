/*
 * Paging: memory that is not mapped 1:1, and page tables that change all the time (Intel SDM vol. 3, 4.3 and 4.5).
 * The 64-bit image adds a page directory for the fifth GiB to its boot tables; the 32-bit image turns 32-bit paging on.
 */
#include "kernels.h"

#define PAGES 512
#define PRESENT_WRITABLE 3
#define ENTRIES (4096 / sizeof(reg))

static reg *root;                 /* what CR3 points to */
static reg *other_root;           /* a second address space: the same but for the table of `remap` */
static reg *tlb_table, *remap_table, *other_table;
static uint8_t *frames;           /* PAGES frames of memory */
static volatile uint32_t faults;

#ifdef __x86_64__
extern reg boot_pml4[], boot_pdpt[];
#define WINDOW_BASE 0x100000000
#define TABLE_SPAN 0x200000

/* A root with its own tables for the window. */
static reg *make_root(reg *first, reg *second) {
  reg *pml4 = pages(1), *pdpt = pages(1), *directory = pages(1);
  for (size_t i = 0; i < ENTRIES; i++) pml4[i] = boot_pml4[i], pdpt[i] = boot_pdpt[i];
  pml4[0] = (reg)pdpt | 7;
  pdpt[WINDOW_BASE >> 30] = (reg)directory | PRESENT_WRITABLE;
  directory[0] = (reg)first | PRESENT_WRITABLE;
  directory[1] = (reg)second | PRESENT_WRITABLE;
  return pml4;
}
#else
#define WINDOW_BASE 0x40000000
#define TABLE_SPAN 0x400000

static reg *make_root(reg *first, reg *second) {
  reg *directory = pages(1);
  for (size_t i = 0; i < ENTRIES; i++) directory[i] = i << 22 | 0x83; /* P, RW, PS: 1:1 */
  directory[WINDOW_BASE >> 22] = (reg)first | PRESENT_WRITABLE;
  directory[(WINDOW_BASE >> 22) + 1] = (reg)second | PRESENT_WRITABLE;
  return directory;
}
#endif

#define TLB_WINDOW ((uint8_t *)WINDOW_BASE)
#define REMAP_WINDOW ((uint8_t *)(WINDOW_BASE + TABLE_SPAN))

static reg frame(uint32_t number) { return (reg)(frames + number % PAGES * 4096) | PRESENT_WRITABLE; }

static inline volatile uint32_t *remapped(uint32_t page) { return (volatile uint32_t *)(REMAP_WINDOW + page * 4096); }

/* A page that is not there comes on demand. */
static void on_page_fault(struct trap_frame *trap) {
  reg page = (read_cr2() - (reg)REMAP_WINDOW) / 4096;
  if (page >= PAGES) panic("page fault at 0x%lx, code at 0x%lx", (unsigned long)read_cr2(), (unsigned long)trap->ip);
  faults++;
  remap_table[page] = frame(page * 3);
}

static void paging_init(void) {
  frames = pages(PAGES);
  tlb_table = pages(1);
  remap_table = pages(1);
  other_table = pages(1);
  for (uint32_t i = 0; i < PAGES; i++) {
    tlb_table[i] = frame(i * 167 + 5); /* odd, so a permutation */
    other_table[i] = frame(i * 5 + 1);
  }
  root = make_root(tlb_table, remap_table);
  other_root = make_root(tlb_table, other_table);
  set_handler(PF, on_page_fault);
#ifndef __x86_64__
  write_cr4(read_cr4() | CR4_PSE);
#endif
  write_cr3((reg)root);
#ifndef __x86_64__
  write_cr0(read_cr0() | CR0_PG);
#endif
}

/* Sequential and scattered accesses to 2 MiB in pages of 4 KiB in no order: the work of the TLB. */
uint32_t tlb(void) {
  if (!root) paging_init();
  volatile uint32_t *words = (volatile uint32_t *)TLB_WINDOW;
  uint32_t state = 17, sum = 0;
  for (uint32_t i = 0; i < PAGES * 1024; i += 16) words[i] = i * 2654435761u;
  for (uint32_t i = 0; i < PAGES * 1024; i += 16) sum = fold(sum, words[i]);
  for (uint32_t i = 0; i < 40000; i++) {
    uint32_t at = next_random(&state) >> 13 & ~15u; /* 19 bits: one of the words written */
    sum += words[at] ^ i;
    words[at] = sum;
  }
  return sum;
}

/* Entries change one by one with INVLPG, pages come by page fault, address spaces alternate by CR3. */
uint32_t remap(void) {
  if (!root) paging_init();
  uint32_t sum = 0;
  faults = 0;
  for (uint32_t i = 0; i < PAGES; i++) {
    *(volatile uint32_t *)(frames + i * 4096) = i;
    remap_table[i] = i % 8 ? frame(i) : 0;
  }
  write_cr3((reg)root);
  for (uint32_t turn = 0; turn < 16; turn++) {
    for (uint32_t i = 0; i < 64; i++) {
      uint32_t page = (turn * 64 + i) % PAGES;
      sum = fold(sum, *remapped(page));
      remap_table[page] = frame(page * 7 + turn);
      invlpg(remapped(page));
      *remapped(page) += i;
    }
    write_cr3((reg)other_root);
    for (uint32_t i = 0; i < 32; i++) sum = fold(sum, *remapped(i * 9));
    write_cr3((reg)root);
    for (uint32_t i = 0; i < 32; i++) sum = fold(sum, *remapped((turn * 64 + i) % PAGES));
  }
  return fold(sum, faults);
}
