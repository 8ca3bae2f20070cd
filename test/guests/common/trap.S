/*
 * The 256 trap entries, 16 bytes each: complete the frame to one shape (Intel SDM vol. 3, 6.13: vectors 8, 10-14, 17, 21,
 * 29 and 30 push an error code), save the general registers, call trap_dispatch(frame), go back by IRET.
 */
	.text
	.align 16
	.globl trap_entry
trap_entry:
	.set vector, 0
	.rept 256
	.align 16
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30
	push	$0
	.endif
#ifdef __x86_64__
	pushq	$vector
#else
	pushl	$vector
#endif
	jmp	common
	.set vector, vector + 1
	.endr

#ifdef __x86_64__
common:
	cld
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	mov	%rsp, %rbp
	and	$-16, %rsp
	call	trap_dispatch
	mov	%rbp, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	add	$16, %rsp
	iretq
#else
common:
	cld
	pusha
	mov	%esp, %eax
	push	%ds
	push	%es
	mov	$0x18, %edx
	mov	%edx, %ds
	mov	%edx, %es
	push	%eax
	call	trap_dispatch
	add	$4, %esp
	pop	%es
	pop	%ds
	popa
	add	$8, %esp
	iret
#endif
	.section .note.GNU-stack, "", @progbits
