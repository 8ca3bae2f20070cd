/* Multiboot 1 entry of the 32-bit kernels: flat protected mode, paging off, our own GDT. */
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x3

	.section .multiboot, "a"
	.align 4
	.long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.text
	.globl _start
_start:
	cli
	cld
	cmp	$0x2badb002, %eax
	jne	halt
	mov	$boot_stack_end, %esp
	lgdt	gdt_pointer
	ljmp	$0x10, $1f
1:	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	fninit
	push	%ebx
	call	machine_init
	call	traps_init
	call	guest_main
	call	checks_done
halt:	hlt
	jmp	halt

	.data
	.align 8
	.globl gdt, gdt_pointer
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 0x08 code */
	.quad 0x00cf9b000000ffff	/* 0x10 kernel code: the numbers are those of boot64.S */
	.quad 0x00cf93000000ffff	/* 0x18 kernel data */
	.quad 0x00cffb000000ffff	/* 0x20 user code */
	.quad 0x00cff3000000ffff	/* 0x28 user data */
	.quad 0, 0
	.quad 0, 0			/* 0x40 TSS */
	.fill 8, 8, 0			/* 0x50 spare */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

	.bss
	.align 4096
	.skip 65536
boot_stack_end:
	.section .note.GNU-stack, "", @progbits
