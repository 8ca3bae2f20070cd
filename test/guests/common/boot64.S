/*
 * Multiboot 1 entry (Multiboot Specification 0.6.96, §3.2) to long mode (Intel SDM vol. 3, 10.8.5).
 * As Unikraft: 64-bit code in an ELF32 shell, 4 GiB mapped 1:1, the first 2 MiB by 4 KiB pages with page 0 absent.
 */
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x3 /* page-aligned modules, memory information */

	.section .multiboot, "a"
	.align 4
	.long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

	.text
	.code32
	.globl _start
_start:
	cli
	cld
	cmp	$0x2badb002, %eax
	jne	halt
	mov	$boot_stack_end, %esp
	mov	%ebx, %edi			/* the multiboot information: first argument of machine_init */
	mov	$0x620, %eax			/* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$boot_pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx		/* EFER.LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	$0x80010033, %eax		/* PG, WP, NE, ET, MP, PE */
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$0x10, $1f
halt:	hlt
	jmp	halt

	.code64
1:	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$boot_stack_end, %rsp
	fninit
	mov	%edi, %edi
	call	machine_init
	call	traps_init
	call	guest_main
	call	checks_done

	.data
	.align 8
	.globl gdt
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 0x08 code, 32-bit */
	.quad 0x00af9b000000ffff	/* 0x10 kernel code, 64-bit */
	.quad 0x00cf93000000ffff	/* 0x18 kernel data */
	.quad 0x00cffb000000ffff	/* 0x20 user code, 32-bit */
	.quad 0x00cff3000000ffff	/* 0x28 user data */
	.quad 0x00affb000000ffff	/* 0x30 user code, 64-bit */
	.quad 0x00cff3000000ffff	/* 0x38 user data again: SYSEXIT takes SS = CS + 8 */
	.quad 0, 0			/* 0x40 TSS, filled by traps_init */
	.fill 8, 8, 0			/* 0x50 spare */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt

/* U/S is set in the upper levels, so that the leaf alone decides. */
	.align 4096
	.globl boot_pml4, boot_pdpt, boot_pd, boot_pt
boot_pml4:
	.quad boot_pdpt + 7
	.fill 511, 8, 0
boot_pdpt:
	.quad boot_pd + 7, boot_pd + 0x1007, boot_pd + 0x2007, boot_pd + 0x3007
	.fill 508, 8, 0
boot_pd:
	.quad boot_pt + 7
	.set frame, 0x200000
	.rept 2047
	.quad frame + 0x83		/* P, RW, PS */
	.set frame, frame + 0x200000
	.endr
boot_pt:
	.quad 0
	.set frame, 0x1000
	.rept 511
	.quad frame + 3
	.set frame, frame + 0x1000
	.endr

	.bss
	.align 4096
	.skip 65536
boot_stack_end:
	.section .note.GNU-stack, "", @progbits
