/* IDT, TSS and the dispatch of traps: a handler of the vector, else the resumption of a TRAP(), else the end. */
#include "guest.h"

#ifdef __x86_64__
struct gate { uint16_t offset_low, selector; uint8_t ist, type; uint16_t offset_middle; uint32_t offset_high, reserved; };
#else
struct gate { uint16_t offset_low, selector; uint8_t zero, type; uint16_t offset_high; };
#endif

static struct gate idt[256] __attribute__((aligned(16)));
static trap_handler *handlers[256];
struct tss tss;
volatile struct trap_record trapped;
reg trap_resume, trap_resume_sp;

void set_gate(int vector, void *entry, uint16_t selector, uint8_t type_and_dpl, uint8_t ist) {
  reg offset = (reg)entry;
#ifdef __x86_64__
  idt[vector] = (struct gate){offset, selector, ist, type_and_dpl, offset >> 16, offset >> 32, 0};
#else
  (void)ist;
  idt[vector] = (struct gate){offset, selector, 0, type_and_dpl, offset >> 16};
#endif
}

void set_handler(int vector, trap_handler *handler) { handlers[vector] = handler; }

void traps_init(void) {
  for (int vector = 0; vector < 256; vector++)
    set_gate(vector, trap_entry[vector], SEL_KERNEL_CODE, GATE_INTERRUPT, 0);
  struct { uint16_t limit; reg base; } __attribute__((packed)) pointer = {sizeof idt - 1, (reg)idt};
  __asm__ volatile("lidt %0" ::"m"(pointer));

  reg base = (reg)&tss;
  tss.iomap_base = sizeof tss;
  gdt[SEL_TSS / 8] = (sizeof tss - 1) | (uint64_t)(base & 0xffffff) << 16 | 0x89ull << 40 | (uint64_t)(base >> 24 & 0xff) << 56;
#ifdef __x86_64__
  gdt[SEL_TSS / 8 + 1] = base >> 32;
#else
  tss.ss0 = SEL_KERNEL_DATA;
#endif
  __asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
  __asm__ volatile("lldt %w0" ::"r"(0));
  pic_init();
}

void trap_dispatch(struct trap_frame *frame) {
  if (handlers[frame->vector]) {
    handlers[frame->vector](frame);
    return;
  }
  reg cr2 = read_cr2();
  if (!trap_resume) {
    print("unexpected trap %lu, error 0x%lx, at 0x%lx:0x%lx, flags 0x%lx, cr2 0x%lx\n", (unsigned long)frame->vector,
          (unsigned long)frame->error, (unsigned long)frame->cs, (unsigned long)frame->ip, (unsigned long)frame->flags,
          (unsigned long)cr2);
    exit_status(EXIT_FAIL);
  }
  trapped.vector = frame->vector;
  trapped.error = frame->error;
  trapped.ip = frame->ip;
  trapped.cs = frame->cs;
  trapped.flags = frame->flags;
#ifdef __x86_64__
  trapped.sp = frame->sp;
#endif
  trapped.cr2 = cr2;
  frame->ip = trap_resume;
  frame->cs = SEL_KERNEL_CODE;
  frame->flags &= ~(reg)(RFLAGS_TF | RFLAGS_DF | RFLAGS_AC);
}
