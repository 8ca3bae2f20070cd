/* Round trips through the processor's gates: exceptions of ring 0, and system calls from ring 3. */
#include "kernels.h"

static uint32_t breakpoints, undefined, divisions;

static void on_breakpoint(struct trap_frame *frame) { breakpoints += (uint32_t)frame->vector; }
static void on_undefined(struct trap_frame *frame) {
  undefined++;
  frame->ip += 2; /* UD2 */
}
static void on_division(struct trap_frame *frame) {
  divisions++;
  frame->ip += 2; /* DIV ECX */
}

uint32_t exceptions(void) {
  set_handler(BP, on_breakpoint);
  set_handler(UD, on_undefined);
  set_handler(DE, on_division);
  breakpoints = undefined = divisions = 0;
  for (int i = 0; i < 700; i++) {
    __asm__ volatile("int3; ud2; div %%ecx" ::"a"(1), "d"(0), "c"(0) : "memory", "cc");
  }
  return fold(fold(breakpoints, undefined), divisions);
}

/* What the kernel does in a call. */
uint32_t syscall_dispatch(uint32_t number) __attribute__((used));
uint32_t syscall_dispatch(uint32_t number) { return number * 2654435761u >> 7; }

#define CALLS 4000
#define STACK_SIZE 4096
/* .data lies in the first 2 MiB, where boot64.S maps single pages. */
static uint8_t user_stack[STACK_SIZE] __attribute__((aligned(4096), section(".data")));
static uint8_t kernel_stack[STACK_SIZE] __attribute__((aligned(4096)));
reg resume_sp, kernel_sp, user_sp;
extern char user_code[], user_code_end[], syscall_entry[], user_left[];
uint32_t enter_user(reg stack_top);

/*
 * enter_user: leaves for user_code in ring 3, which makes CALLS system calls and ends by INT 0x80; that handler comes
 * back to user_left. 64-bit code calls by SYSCALL, 32-bit code by INT 0x81, as systems for each did.
 */
#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)
#ifdef __x86_64__
__asm__(".text\n"
        "enter_user: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, resume_sp\n"
        "push $0x2b; push %rdi; push $2; push $0x33; push $user_code; iretq\n"
        "user_left: mov resume_sp, %rsp; mov %r13d, %eax\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
        "syscall_entry: mov %rsp, user_sp; mov kernel_sp, %rsp; push %rcx; push %r11\n"
        "call syscall_dispatch\n"
        "pop %r11; pop %rcx; mov user_sp, %rsp; sysretq\n"
        ".balign 4096\n"
        "user_code: mov $" TEXT_OF(CALLS) ", %r12d; xor %r13d, %r13d\n"
        "1: mov %r12d, %edi; syscall; add %eax, %r13d; dec %r12d; jnz 1b\n"
        "int $0x80\n"
        "user_code_end: .balign 4096");
#else
__asm__(".text\n"
        "enter_user: mov 4(%esp), %eax; push %ebx; push %ebp; push %esi; push %edi\n"
        "mov %esp, resume_sp\n"
        "push $0x2b; push %eax; push $2; push $0x23; push $user_code; iret\n"
        "user_left: mov $0x18, %eax; mov %eax, %ds; mov %eax, %es; mov resume_sp, %esp; mov %esi, %eax\n"
        "pop %edi; pop %esi; pop %ebp; pop %ebx; ret\n"
        ".balign 4096\n"
        "user_code: mov $" TEXT_OF(CALLS) ", %edi; xor %esi, %esi\n"
        "1: mov %edi, %eax; int $0x81; add %eax, %esi; dec %edi; jnz 1b\n"
        "int $0x80\n"
        "user_code_end: .balign 4096");

static void on_call(struct trap_frame *frame) { frame->eax = syscall_dispatch(frame->eax); }
#endif

static void on_leave(struct trap_frame *frame) {
  frame->ip = (reg)user_left;
  frame->cs = SEL_KERNEL_CODE;
#ifdef __x86_64__
  frame->ss = SEL_KERNEL_DATA; /* IRETQ pops a stack always, IRET only when the privilege level changes */
  frame->sp = resume_sp;
#endif
}

#ifdef __x86_64__
extern reg boot_pt[];

/* The pages of the first 2 MiB are the kernel's until said otherwise. */
static void allow_user(const void *from, const void *end) {
  for (reg page = (reg)from / 4096; page < ((reg)end + 4095) / 4096; page++) {
    if (page >= 512) panic("syscalls: a page of ring 3 is beyond 2 MiB");
    boot_pt[page] |= 4;
    invlpg((void *)(page * 4096));
  }
}
#endif

static void syscalls_init(void) {
  kernel_sp = (reg)kernel_stack + STACK_SIZE;
  set_handler(0x80, on_leave);
  set_gate(0x80, trap_entry[0x80], SEL_KERNEL_CODE, GATE_INTERRUPT | 3 << 5, 0);
#ifdef __x86_64__
  allow_user(user_code, user_code_end);
  allow_user(user_stack, user_stack + STACK_SIZE);
  tss.rsp[0] = kernel_sp;
  wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
  wrmsr(MSR_STAR, (uint64_t)(SEL_USER_CODE32 | 3) << 48 | (uint64_t)SEL_KERNEL_CODE << 32);
  wrmsr(MSR_LSTAR, (reg)syscall_entry);
  wrmsr(MSR_SFMASK, RFLAGS_IF | RFLAGS_DF);
#else
  tss.esp0 = kernel_sp;
  set_handler(0x81, on_call);
  set_gate(0x81, trap_entry[0x81], SEL_KERNEL_CODE, GATE_INTERRUPT | 3 << 5, 0);
#endif
}

uint32_t syscalls(void) {
  if (!kernel_sp) syscalls_init();
  return enter_user((reg)user_stack + STACK_SIZE);
}
