/**
 * Representative code whose translation is pinned, in GNU's Intel syntax. R14 and R15 are not for it: setting them marks
 * where the listing begins and ends.
 */

/** Straight code, listed without what surrounds it in a region; its flags are dead behind it. */
export interface Piece {
  readonly code: string;
  /** Memory by the TLB. */
  readonly paged?: boolean;
}

/** Code that is listed as a whole region. */
export interface Whole {
  readonly title: string;
  readonly code: string;
  readonly paged?: boolean;
  /** Offset from which on it hardly ever ran. */
  readonly cold?: number;
}

const direct = (...pieces: string[]): Piece[] => pieces.map((code) => ({ code }));
const paged = (...pieces: string[]): Piece[] => pieces.map((code) => ({ code, paged: true }));

/** File → pieces. */
export const PIECES: Readonly<Record<string, readonly Piece[]>> = {
  moves: direct(
    'mov eax, ecx',
    'mov rax, rcx',
    'mov eax, 0x12345678',
    'movabs rax, 0x123456789abcdef0',
    'mov al, cl',
    'mov ah, cl',
    'mov ax, cx',
    'movzx eax, cl',
    'movsx rax, cx',
    'movsxd rax, ecx',
    'lea rax, [rcx+rdx*4+0x10]',
    'lea eax, [rcx-1]',
    'lea rax, [rip+0x100]',
    'xchg rax, rcx',
    'cdqe',
    'cqo',
    'bswap eax',
    'nop dword ptr [rax]',
  ),
  alu: direct(
    'add eax, ecx',
    'add rax, rcx',
    'add rax, 8',
    'add al, cl',
    'add ax, 0x1234',
    'add eax, ecx; adc edx, ebx',
    'sub rsp, 0x28',
    'sub eax, ecx; sbb edx, ebx',
    'and eax, 0xff',
    'or rax, rcx',
    'xor eax, eax',
    'inc eax',
    'dec rcx',
    'neg eax',
    'not rax',
    'imul rax, rcx',
    'imul eax, ecx, 100',
    'mul rcx',
    'imul ecx',
    'div ecx',
    'idiv rcx',
    'shl eax, 3',
    'shr rax, 1',
    'sar eax, cl',
    'rol eax, 7',
    'rcr rax, 1',
    'shld rax, rcx, 5',
    'bt eax, 3; setc dl',
    'bts rax, rcx',
    'bsf eax, ecx',
    'tzcnt eax, ecx',
    'popcnt rax, rcx',
  ),
  flags: direct(
    'cmp eax, ecx; setb dl',
    'cmp eax, ecx; setle dl',
    'cmp rax, 0; sete dl',
    'cmp al, cl; seta dl',
    'test eax, eax; sets dl',
    'test rax, rcx; setnz dl',
    'add eax, ecx; setc dl',
    'add eax, ecx; seto dl',
    'sub rax, rcx; setg dl',
    'dec ecx; setnz dl',
    'shl eax, 1; setc dl',
    'imul eax, ecx; seto dl',
    'test al, al; setp dl',
    'cmp eax, ecx; cmovb edx, ebx',
    'cmp rax, rcx; cmovge rdx, [rsi]',
    'setz dl',
    'cmovz eax, ecx',
    'adc eax, ecx',
    'pushfq',
    'lahf',
    'stc; adc eax, 0',
    'clc',
    'cmp eax, ecx; mov edx, [rsi]; setl bl',
  ),
  branches: [
    ...direct(
      'cmp eax, ecx; jb 1f',
      'cmp rax, rcx; jg 1f',
      'test eax, eax; jz 1f',
      'dec ecx; jnz 1f',
      'bt eax, 3; jc 1f',
      'ucomisd xmm0, xmm1; ja 1f',
      'jz 1f',
      'jrcxz 1f',
    ),
  ],
  memory: direct(
    'mov eax, [rcx]',
    'mov rax, [rcx+8]',
    'mov al, [rcx+rdx]',
    'movzx eax, word ptr [rcx+rdx*2]',
    'mov rax, [0x1000]',
    'mov rax, [rip+0x2000]',
    'mov rax, fs:[0x28]',
    'mov [rcx], eax',
    'mov [rcx+8], rax',
    'mov byte ptr [rcx], 0',
    'mov dword ptr [0x1000], 5',
    'mov rax, [rcx]; mov rdx, [rcx+8]; mov rbx, [rcx+16]',
    'mov [rcx], rax; mov [rcx+8], rdx',
    'mov rax, [rcx]; mov [rdx], rax',
    'add eax, [rcx]',
    'cmp qword ptr [rcx+0x10], 0; sete al',
    'add [rcx], eax',
    'inc qword ptr [rcx+rdx*8]',
    'and byte ptr [rcx], 0x7f',
    'xchg eax, [rcx]',
    'lock add dword ptr [rcx], 1',
    'lock xadd [rcx], rax',
    'lock cmpxchg [rcx], edx',
    'mov eax, [ecx]',
  ),
  'memory-paged': paged(
    'mov eax, [rcx]',
    'mov al, [rcx]',
    'mov [rcx], rax',
    'mov rax, [rcx]; mov rdx, [rcx+8]',
    'add [rcx], eax',
    'mov rax, [0x1000]',
    'movups xmm0, [rcx]',
    'push rax',
  ),
  stack: direct(
    'push rax',
    'push 5',
    'push qword ptr [rcx]',
    'pop rax',
    'pop qword ptr [rcx]',
    'push rbp; mov rbp, rsp; push rbx; sub rsp, 8',
    'add rsp, 8; pop rbx; pop rbp',
    'leave',
    'popfq',
  ),
  strings: [
    ...direct('movsq', 'stosb', 'lodsd', 'scasb', 'cmpsb', 'rep movsb', 'rep movsq', 'rep stosd'),
    ...paged('rep movsb'),
    ...direct('repne scasb'),
  ],
  sse: direct(
    'movaps xmm0, xmm1',
    'movaps xmm0, [rcx]',
    'movups xmm0, [rcx]',
    'movups [rcx], xmm0',
    'movsd xmm0, qword ptr [rcx]',
    'movsd qword ptr [rcx], xmm0',
    'movss xmm0, xmm1',
    'movq xmm0, rax',
    'movd eax, xmm0',
    'movhps xmm0, [rcx]',
    'addsd xmm0, xmm1',
    'mulss xmm0, dword ptr [rcx]',
    'subpd xmm0, xmm1',
    'mulps xmm0, xmm1',
    'divsd xmm0, xmm1',
    'sqrtsd xmm0, xmm1',
    'minsd xmm0, xmm1',
    'ucomisd xmm0, xmm1; seta al',
    'cmpltpd xmm0, xmm1',
    'cvtsi2sd xmm0, eax',
    'cvttsd2si rax, xmm0',
    'cvtss2sd xmm0, xmm1',
    'cvtdq2ps xmm0, xmm1',
    'andpd xmm0, xmm1',
    'pxor xmm0, xmm0',
    'paddd xmm0, xmm1',
    'paddusb xmm0, xmm1',
    'pmulld xmm0, xmm1',
    'pmuludq xmm0, xmm1',
    'pmaddwd xmm0, xmm1',
    'pcmpeqb xmm0, xmm1; pmovmskb eax, xmm0',
    'pshufd xmm0, xmm1, 0x1b',
    'pshufb xmm0, xmm1',
    'punpcklbw xmm0, xmm1',
    'shufps xmm0, xmm1, 0x88',
    'psrldq xmm0, 4',
    'pslld xmm0, 3',
    'packuswb xmm0, xmm1',
  ),
  ports: direct('in al, 0x60', 'in eax, dx', 'out dx, al', 'out 0x80, al'),
  helpers: direct('cpuid', 'fld qword ptr [rcx]', 'sti'),
};

export const WHOLES: readonly Whole[] = [
  { title: 'nothing but a move', code: 'mov eax, ecx' },
  { title: 'a counted loop', code: '1: add rax, rcx; dec rcx; jnz 1b' },
  {
    title: 'sum of an array',
    code: 'xor eax, eax; xor edx, edx; 1: add rax, [rdi+rdx*8]; inc rdx; cmp rdx, rsi; jb 1b',
  },
  {
    title: 'the same by the TLB',
    paged: true,
    code: 'xor eax, eax; xor edx, edx; 1: add rax, [rdi+rdx*8]; inc rdx; cmp rdx, rsi; jb 1b',
  },
  {
    title: 'copying bytes up to a zero',
    code: '1: mov al, [rsi]; mov [rdi], al; inc rsi; inc rdi; test al, al; jnz 1b',
  },
  {
    title: 'a loop in a loop',
    code: '1: mov edx, 10; 2: add rax, rdx; dec edx; jnz 2b; dec ecx; jnz 1b',
  },
  { title: 'two ways that meet', code: 'cmp eax, ecx; jge 1f; mov eax, ecx; jmp 2f; 1: neg eax; 2: add eax, 1' },
  {
    title: 'a way that is cold',
    cold: 0xd,
    code: 'test rdi, rdi; jz 1f; mov eax, [rdi]; jmp 2f; 2: add eax, 1; ret; 1: neg eax; ret',
  },
  { title: 'a function that returns', code: 'lea eax, [rdi+rsi]; ret' },
  { title: 'a call of a small function', code: 'call 1f; add eax, 2; ret; 1: lea eax, [rdi+rdi]; ret' },
  {
    title: 'a call of a function in a loop',
    code: '2: mov rdi, rcx; call 1f; add rbx, rax; dec rcx; jnz 2b; ret; 1: lea rax, [rdi+rdi*2]; ret',
  },
  { title: 'a call of cold code', cold: 0xe, code: 'mov edi, 5; call 1f; add eax, 2; ret; 1: ret' },
  { title: 'an indirect jump', code: 'jmp [rax*8+0x3000]' },
  { title: 'an indirect call', code: 'call rax; add eax, 1' },
  { title: 'a system call', code: 'mov eax, 1; syscall' },
  { title: 'an instruction of a helper in a loop', code: '1: add ebx, 1; cpuid; dec edi; jnz 1b' },
];

/** Programs that run until they are translated: their first region as it is in the end. */
export const PROGRAMS: readonly { readonly title: string; readonly code: string }[] = [
  {
    title: 'a jump through a table of six',
    code: `
      mov ebx, 600; xor eax, eax; lea rsi, [rip+9f]
      1: mov ecx, ebx; and ecx, 7; cmp ecx, 6; jb 2f; xor ecx, ecx
      2: movsxd rdx, dword ptr [rsi+rcx*4]; add rdx, rsi; jmp rdx
      3: add eax, 1; jmp 8f
      4: add eax, 2; jmp 8f
      5: add eax, 3; jmp 8f
      6: xor eax, 5; jmp 8f
      7: shl eax, 1; jmp 8f
      10: sub eax, 7
      8: dec ebx; jnz 1b; hlt
      9: .long 3b-9b, 4b-9b, 5b-9b, 6b-9b, 7b-9b, 10b-9b`,
  },
  {
    title: 'a call through a pointer to one of two functions',
    code: `
      mov ebx, 600; xor eax, eax; lea rsi, [rip+7f]; lea rdi, [rip+8f]
      1: mov rdx, rsi; test ebx, 1; jz 2f; mov rdx, rdi
      2: call rdx; dec ebx; jnz 1b; hlt
      7: add eax, 1; ret
      8: add eax, 2; ret`,
  },
];

/** What compilers make of a hash table's look-up: instructions of the usual kinds. */
export const MIX = `
  push rbp; mov rbp, rsp; push r12; push rbx; mov r12, rdi; mov rbx, rsi
  mov eax, 5381; movzx edx, byte ptr [rbx]; test dl, dl; je 2f
  1: mov ecx, eax; shl ecx, 5; add eax, ecx; add eax, edx; inc rbx; movzx edx, byte ptr [rbx]; test dl, dl; jne 1b
  2: mov ecx, [r12+8]; dec ecx; and eax, ecx; mov rdx, [r12]; lea rdx, [rdx+rax*8]; mov rax, [rdx]
  3: test rax, rax; je 5f; cmp [rax+16], rsi; jne 4f; add dword ptr [rax+24], 1; mov eax, [rax+28]; jmp 6f
  4: mov rax, [rax]; jmp 3b
  5: mov rax, -1
  6: cmp eax, 0x10; sbb ecx, ecx; and eax, ecx; pop rbx; pop r12; pop rbp; ret`;
