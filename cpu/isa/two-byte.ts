/** Two-byte opcode map 0F xx (Intel SDM vol. 2D, table A-3), in the order of the manual. Format: see table.ts. */
export const TWO_BYTE_MAP = `
00/0 SLDT Ev
00/1 STR Ev
00/2 LLDT Ew cpl0
00/3 LTR Ew cpl0
00/4 VERR Ew f=z
00/5 VERW Ew f=z
01/0m SGDT Ms
01/1m SIDT Ms
01/2m LGDT Ms cpl0
01/3m LIDT Ms cpl0
01/4 SMSW Ev
01/6 LMSW Ew cpl0 end
01/7m INVLPG Mb cpl0
01=ca CLAC - NP cpl0 end
01=cb STAC - NP cpl0 end
01=d0 XGETBV - NP
01=d1 XSETBV - NP cpl0 end
01=f8 SWAPGS - o64 cpl0
01=f9 RDTSCP -
02 LAR Gv,Ew f=z
03 LSL Gv,Ew f=z
05 SYSCALL - o64 end
06 CLTS - cpl0 end
07 SYSRET - o64 cpl0 end
08 INVD - cpl0
09 WBINVD - cpl0
0b UD2 - end
0d/m NOP Ev
10 MOVUPS Vps,Wps NP sse
10 MOVUPD Vpd,Wpd 66 sse
10 MOVSS Vss,Wss F3 sse
10 MOVSD Vsd,Wsd F2 sse
11 MOVUPS Wps,Vps NP sse
11 MOVUPD Wpd,Vpd 66 sse
11 MOVSS Wss,Vss F3 sse
11 MOVSD Wsd,Vsd F2 sse
12/m MOVLPS Vq,Mq NP sse
12/r MOVHLPS Vq,Uq NP sse
12/m MOVLPD Vq,Mq 66 sse
12 MOVSLDUP Vps,Wps F3 sse
12 MOVDDUP Vpd,Wq F2 sse
13/m MOVLPS Mq,Vq NP sse
13/m MOVLPD Mq,Vq 66 sse
14 UNPCKLPS Vps,Wps NP sse
14 UNPCKLPD Vpd,Wpd 66 sse
15 UNPCKHPS Vps,Wps NP sse
15 UNPCKHPD Vpd,Wpd 66 sse
16/m MOVHPS Vq,Mq NP sse
16/r MOVLHPS Vq,Uq NP sse
16/m MOVHPD Vq,Mq 66 sse
16 MOVSHDUP Vps,Wps F3 sse
17/m MOVHPS Mq,Vq NP sse
17/m MOVHPD Mq,Vq 66 sse
18 NOP Ev
19 NOP Ev
1a NOP Ev
1b NOP Ev
1c NOP Ev
1d NOP Ev
1e NOP Ev
1f NOP Ev
20 MOV_FROM_CR Ry,Cy cpl0
21 MOV_FROM_DR Ry,Dy cpl0
22 MOV_TO_CR Cy,Ry cpl0
23 MOV_TO_DR Dy,Ry cpl0 end
28 MOVAPS Vps,Wps NP sse
28 MOVAPD Vpd,Wpd 66 sse
29 MOVAPS Wps,Vps NP sse
29 MOVAPD Wpd,Vpd 66 sse
2a CVTPI2PS Vps,Qq NP sse mmx
2a CVTPI2PD Vpd,Qq 66 sse mmx
2a CVTSI2SS Vss,Ey F3 sse
2a CVTSI2SD Vsd,Ey F2 sse
2b/m MOVNTPS Mps,Vps NP sse
2b/m MOVNTPD Mpd,Vpd 66 sse
2c CVTTPS2PI Pq,Wq NP sse mmx
2c CVTTPD2PI Pq,Wpd 66 sse mmx
2c CVTTSS2SI Gy,Wss F3 sse
2c CVTTSD2SI Gy,Wsd F2 sse
2d CVTPS2PI Pq,Wq NP sse mmx
2d CVTPD2PI Pq,Wpd 66 sse mmx
2d CVTSS2SI Gy,Wss F3 sse
2d CVTSD2SI Gy,Wsd F2 sse
2e UCOMISS Vss,Wss NP sse f=oszapc
2e UCOMISD Vsd,Wsd 66 sse f=oszapc
2f COMISS Vss,Wss NP sse f=oszapc
2f COMISD Vsd,Wsd 66 sse f=oszapc
30 WRMSR - cpl0 end
31 RDTSC -
32 RDMSR - cpl0
33 RDPMC -
34 SYSENTER - end
35 SYSEXIT - cpl0 end
40 CMOVO Gv,Ev t=o
41 CMOVNO Gv,Ev t=o
42 CMOVB Gv,Ev t=c
43 CMOVNB Gv,Ev t=c
44 CMOVZ Gv,Ev t=z
45 CMOVNZ Gv,Ev t=z
46 CMOVBE Gv,Ev t=zc
47 CMOVNBE Gv,Ev t=zc
48 CMOVS Gv,Ev t=s
49 CMOVNS Gv,Ev t=s
4a CMOVP Gv,Ev t=p
4b CMOVNP Gv,Ev t=p
4c CMOVL Gv,Ev t=os
4d CMOVNL Gv,Ev t=os
4e CMOVLE Gv,Ev t=osz
4f CMOVNLE Gv,Ev t=osz
50/r MOVMSKPS Gd,Ups NP sse
50/r MOVMSKPD Gd,Upd 66 sse
51 SQRTPS Vps,Wps NP sse
51 SQRTPD Vpd,Wpd 66 sse
51 SQRTSS Vss,Wss F3 sse
51 SQRTSD Vsd,Wsd F2 sse
52 RSQRTPS Vps,Wps NP sse
52 RSQRTSS Vss,Wss F3 sse
53 RCPPS Vps,Wps NP sse
53 RCPSS Vss,Wss F3 sse
54 ANDPS Vps,Wps NP sse
54 ANDPD Vpd,Wpd 66 sse
55 ANDNPS Vps,Wps NP sse
55 ANDNPD Vpd,Wpd 66 sse
56 ORPS Vps,Wps NP sse
56 ORPD Vpd,Wpd 66 sse
57 XORPS Vps,Wps NP sse
57 XORPD Vpd,Wpd 66 sse
58 ADDPS Vps,Wps NP sse
58 ADDPD Vpd,Wpd 66 sse
58 ADDSS Vss,Wss F3 sse
58 ADDSD Vsd,Wsd F2 sse
59 MULPS Vps,Wps NP sse
59 MULPD Vpd,Wpd 66 sse
59 MULSS Vss,Wss F3 sse
59 MULSD Vsd,Wsd F2 sse
5a CVTPS2PD Vpd,Wq NP sse
5a CVTPD2PS Vps,Wpd 66 sse
5a CVTSS2SD Vsd,Wss F3 sse
5a CVTSD2SS Vss,Wsd F2 sse
5b CVTDQ2PS Vps,Wdq NP sse
5b CVTPS2DQ Vdq,Wps 66 sse
5b CVTTPS2DQ Vdq,Wps F3 sse
5c SUBPS Vps,Wps NP sse
5c SUBPD Vpd,Wpd 66 sse
5c SUBSS Vss,Wss F3 sse
5c SUBSD Vsd,Wsd F2 sse
5d MINPS Vps,Wps NP sse
5d MINPD Vpd,Wpd 66 sse
5d MINSS Vss,Wss F3 sse
5d MINSD Vsd,Wsd F2 sse
5e DIVPS Vps,Wps NP sse
5e DIVPD Vpd,Wpd 66 sse
5e DIVSS Vss,Wss F3 sse
5e DIVSD Vsd,Wsd F2 sse
5f MAXPS Vps,Wps NP sse
5f MAXPD Vpd,Wpd 66 sse
5f MAXSS Vss,Wss F3 sse
5f MAXSD Vsd,Wsd F2 sse
60 PUNPCKLBW Pq,Qd NP mmx
60 PUNPCKLBW Vdq,Wdq 66 sse
61 PUNPCKLWD Pq,Qd NP mmx
61 PUNPCKLWD Vdq,Wdq 66 sse
62 PUNPCKLDQ Pq,Qd NP mmx
62 PUNPCKLDQ Vdq,Wdq 66 sse
63 PACKSSWB Pq,Qq NP mmx
63 PACKSSWB Vdq,Wdq 66 sse
64 PCMPGTB Pq,Qq NP mmx
64 PCMPGTB Vdq,Wdq 66 sse
65 PCMPGTW Pq,Qq NP mmx
65 PCMPGTW Vdq,Wdq 66 sse
66 PCMPGTD Pq,Qq NP mmx
66 PCMPGTD Vdq,Wdq 66 sse
67 PACKUSWB Pq,Qq NP mmx
67 PACKUSWB Vdq,Wdq 66 sse
68 PUNPCKHBW Pq,Qq NP mmx
68 PUNPCKHBW Vdq,Wdq 66 sse
69 PUNPCKHWD Pq,Qq NP mmx
69 PUNPCKHWD Vdq,Wdq 66 sse
6a PUNPCKHDQ Pq,Qq NP mmx
6a PUNPCKHDQ Vdq,Wdq 66 sse
6b PACKSSDW Pq,Qq NP mmx
6b PACKSSDW Vdq,Wdq 66 sse
6c PUNPCKLQDQ Vdq,Wdq 66 sse
6d PUNPCKHQDQ Vdq,Wdq 66 sse
6e MOVD Pq,Ey NP mmx
6e MOVD Vdq,Ey 66 sse
6f MOVQ Pq,Qq NP mmx
6f MOVDQA Vdq,Wdq 66 sse
6f MOVDQU Vdq,Wdq F3 sse
70 PSHUFW Pq,Qq,Ib NP mmx
70 PSHUFD Vdq,Wdq,Ib 66 sse
70 PSHUFHW Vdq,Wdq,Ib F3 sse
70 PSHUFLW Vdq,Wdq,Ib F2 sse
71/2r PSRLW Nq,Ib NP mmx
71/2r PSRLW Udq,Ib 66 sse
71/4r PSRAW Nq,Ib NP mmx
71/4r PSRAW Udq,Ib 66 sse
71/6r PSLLW Nq,Ib NP mmx
71/6r PSLLW Udq,Ib 66 sse
72/2r PSRLD Nq,Ib NP mmx
72/2r PSRLD Udq,Ib 66 sse
72/4r PSRAD Nq,Ib NP mmx
72/4r PSRAD Udq,Ib 66 sse
72/6r PSLLD Nq,Ib NP mmx
72/6r PSLLD Udq,Ib 66 sse
73/2r PSRLQ Nq,Ib NP mmx
73/2r PSRLQ Udq,Ib 66 sse
73/3r PSRLDQ Udq,Ib 66 sse
73/6r PSLLQ Nq,Ib NP mmx
73/6r PSLLQ Udq,Ib 66 sse
73/7r PSLLDQ Udq,Ib 66 sse
74 PCMPEQB Pq,Qq NP mmx
74 PCMPEQB Vdq,Wdq 66 sse
75 PCMPEQW Pq,Qq NP mmx
75 PCMPEQW Vdq,Wdq 66 sse
76 PCMPEQD Pq,Qq NP mmx
76 PCMPEQD Vdq,Wdq 66 sse
77 EMMS - NP mmx
7c HADDPD Vpd,Wpd 66 sse
7c HADDPS Vps,Wps F2 sse
7d HSUBPD Vpd,Wpd 66 sse
7d HSUBPS Vps,Wps F2 sse
7e MOVD Ey,Pq NP mmx
7e MOVD Ey,Vdq 66 sse
7e MOVQ Vq,Wq F3 sse
7f MOVQ Qq,Pq NP mmx
7f MOVDQA Wdq,Vdq 66 sse
7f MOVDQU Wdq,Vdq F3 sse
80 JO Jz f64 end t=o
81 JNO Jz f64 end t=o
82 JB Jz f64 end t=c
83 JNB Jz f64 end t=c
84 JZ Jz f64 end t=z
85 JNZ Jz f64 end t=z
86 JBE Jz f64 end t=zc
87 JNBE Jz f64 end t=zc
88 JS Jz f64 end t=s
89 JNS Jz f64 end t=s
8a JP Jz f64 end t=p
8b JNP Jz f64 end t=p
8c JL Jz f64 end t=os
8d JNL Jz f64 end t=os
8e JLE Jz f64 end t=osz
8f JNLE Jz f64 end t=osz
90 SETO Eb t=o
91 SETNO Eb t=o
92 SETB Eb t=c
93 SETNB Eb t=c
94 SETZ Eb t=z
95 SETNZ Eb t=z
96 SETBE Eb t=zc
97 SETNBE Eb t=zc
98 SETS Eb t=s
99 SETNS Eb t=s
9a SETP Eb t=p
9b SETNP Eb t=p
9c SETL Eb t=os
9d SETNL Eb t=os
9e SETLE Eb t=osz
9f SETNLE Eb t=osz
a0 PUSH FS d64
a1 POP FS d64 end
a2 CPUID -
a3 BT Ev,Gv f=c u=osap
a4 SHLD Ev,Gv,Ib f=oszpc u=oa
a5 SHLD Ev,Gv,CL f=oszpc u=oa
a8 PUSH GS d64
a9 POP GS d64 end
aa RSM - end
ab BTS Ev,Gv lock f=c u=osap
ac SHRD Ev,Gv,Ib f=oszpc u=oa
ad SHRD Ev,Gv,CL f=oszpc u=oa
ae/0m FXSAVE M512 NP x87
ae/1m FXRSTOR M512 NP x87
ae/2m LDMXCSR Md NP sse
ae/3m STMXCSR Md NP sse
ae/4m XSAVE M512 NP
ae/5m XRSTOR M512 NP
ae/6m XSAVEOPT M512 NP
ae/7m CLFLUSH Mb NP
ae/6m CLWB Mb 66
ae/7m CLFLUSHOPT Mb 66
ae/0r RDFSBASE Ry F3 o64
ae/1r RDGSBASE Ry F3 o64
ae/2r WRFSBASE Ry F3 o64
ae/3r WRGSBASE Ry F3 o64
ae/5r LFENCE - NP
ae/6r MFENCE - NP
ae/7r SFENCE - NP
af IMUL Gv,Ev f=oc u=szap
b0 CMPXCHG Eb,Gb lock f=oszapc
b1 CMPXCHG Ev,Gv lock f=oszapc
b2 LSS Gv,Mp end
b3 BTR Ev,Gv lock f=c u=osap
b4 LFS Gv,Mp end
b5 LGS Gv,Mp end
b6 MOVZX Gv,Eb
b7 MOVZX Gv,Ew
b8 POPCNT Gv,Ev F3 f=oszapc
b9 UD1 Gv,Ev end
ba/4 BT Ev,Ib f=c u=osap
ba/5 BTS Ev,Ib lock f=c u=osap
ba/6 BTR Ev,Ib lock f=c u=osap
ba/7 BTC Ev,Ib lock f=c u=osap
bb BTC Ev,Gv lock f=c u=osap
bc BSF Gv,Ev NP66 f=z u=osapc
bc TZCNT Gv,Ev F3 f=zc u=osap
bc BSF Gv,Ev F2 f=z u=osapc
bd BSR Gv,Ev NP66 f=z u=osapc
bd LZCNT Gv,Ev F3 f=zc u=osap
bd BSR Gv,Ev F2 f=z u=osapc
be MOVSX Gv,Eb
bf MOVSX Gv,Ew
c0 XADD Eb,Gb lock f=oszapc
c1 XADD Ev,Gv lock f=oszapc
c2 CMPPS Vps,Wps,Ib NP sse
c2 CMPPD Vpd,Wpd,Ib 66 sse
c2 CMPSS Vss,Wss,Ib F3 sse
c2 CMPSD Vsd,Wsd,Ib F2 sse
c3/m MOVNTI My,Gy NP
c4 PINSRW Pq,RdMw,Ib NP mmx
c4 PINSRW Vdq,RdMw,Ib 66 sse
c5/r PEXTRW Gd,Nq,Ib NP mmx
c5/r PEXTRW Gd,Udq,Ib 66 sse
c6 SHUFPS Vps,Wps,Ib NP sse
c6 SHUFPD Vpd,Wpd,Ib 66 sse
c7/1m CMPXCHG8B Mx lock f=z
c7/6r RDRAND Rv NP66 f=oszapc
c7/7r RDSEED Rv NP66 f=oszapc
c7/7r RDPID Ry F3
c8+ BSWAP Zv
d0 ADDSUBPD Vpd,Wpd 66 sse
d0 ADDSUBPS Vps,Wps F2 sse
d1 PSRLW Pq,Qq NP mmx
d1 PSRLW Vdq,Wdq 66 sse
d2 PSRLD Pq,Qq NP mmx
d2 PSRLD Vdq,Wdq 66 sse
d3 PSRLQ Pq,Qq NP mmx
d3 PSRLQ Vdq,Wdq 66 sse
d4 PADDQ Pq,Qq NP mmx
d4 PADDQ Vdq,Wdq 66 sse
d5 PMULLW Pq,Qq NP mmx
d5 PMULLW Vdq,Wdq 66 sse
d6 MOVQ Wq,Vq 66 sse
d6/r MOVQ2DQ Vdq,Nq F3 sse mmx
d6/r MOVDQ2Q Pq,Uq F2 sse mmx
d7/r PMOVMSKB Gd,Nq NP mmx
d7/r PMOVMSKB Gd,Udq 66 sse
d8 PSUBUSB Pq,Qq NP mmx
d8 PSUBUSB Vdq,Wdq 66 sse
d9 PSUBUSW Pq,Qq NP mmx
d9 PSUBUSW Vdq,Wdq 66 sse
da PMINUB Pq,Qq NP mmx
da PMINUB Vdq,Wdq 66 sse
db PAND Pq,Qq NP mmx
db PAND Vdq,Wdq 66 sse
dc PADDUSB Pq,Qq NP mmx
dc PADDUSB Vdq,Wdq 66 sse
dd PADDUSW Pq,Qq NP mmx
dd PADDUSW Vdq,Wdq 66 sse
de PMAXUB Pq,Qq NP mmx
de PMAXUB Vdq,Wdq 66 sse
df PANDN Pq,Qq NP mmx
df PANDN Vdq,Wdq 66 sse
e0 PAVGB Pq,Qq NP mmx
e0 PAVGB Vdq,Wdq 66 sse
e1 PSRAW Pq,Qq NP mmx
e1 PSRAW Vdq,Wdq 66 sse
e2 PSRAD Pq,Qq NP mmx
e2 PSRAD Vdq,Wdq 66 sse
e3 PAVGW Pq,Qq NP mmx
e3 PAVGW Vdq,Wdq 66 sse
e4 PMULHUW Pq,Qq NP mmx
e4 PMULHUW Vdq,Wdq 66 sse
e5 PMULHW Pq,Qq NP mmx
e5 PMULHW Vdq,Wdq 66 sse
e6 CVTTPD2DQ Vdq,Wpd 66 sse
e6 CVTDQ2PD Vpd,Wq F3 sse
e6 CVTPD2DQ Vdq,Wpd F2 sse
e7/m MOVNTQ Mq,Pq NP mmx
e7/m MOVNTDQ Mdq,Vdq 66 sse
e8 PSUBSB Pq,Qq NP mmx
e8 PSUBSB Vdq,Wdq 66 sse
e9 PSUBSW Pq,Qq NP mmx
e9 PSUBSW Vdq,Wdq 66 sse
ea PMINSW Pq,Qq NP mmx
ea PMINSW Vdq,Wdq 66 sse
eb POR Pq,Qq NP mmx
eb POR Vdq,Wdq 66 sse
ec PADDSB Pq,Qq NP mmx
ec PADDSB Vdq,Wdq 66 sse
ed PADDSW Pq,Qq NP mmx
ed PADDSW Vdq,Wdq 66 sse
ee PMAXSW Pq,Qq NP mmx
ee PMAXSW Vdq,Wdq 66 sse
ef PXOR Pq,Qq NP mmx
ef PXOR Vdq,Wdq 66 sse
f0/m LDDQU Vdq,Mdq F2 sse
f1 PSLLW Pq,Qq NP mmx
f1 PSLLW Vdq,Wdq 66 sse
f2 PSLLD Pq,Qq NP mmx
f2 PSLLD Vdq,Wdq 66 sse
f3 PSLLQ Pq,Qq NP mmx
f3 PSLLQ Vdq,Wdq 66 sse
f4 PMULUDQ Pq,Qq NP mmx
f4 PMULUDQ Vdq,Wdq 66 sse
f5 PMADDWD Pq,Qq NP mmx
f5 PMADDWD Vdq,Wdq 66 sse
f6 PSADBW Pq,Qq NP mmx
f6 PSADBW Vdq,Wdq 66 sse
f7/r MASKMOVQ Pq,Nq NP mmx
f7/r MASKMOVDQU Vdq,Udq 66 sse
f8 PSUBB Pq,Qq NP mmx
f8 PSUBB Vdq,Wdq 66 sse
f9 PSUBW Pq,Qq NP mmx
f9 PSUBW Vdq,Wdq 66 sse
fa PSUBD Pq,Qq NP mmx
fa PSUBD Vdq,Wdq 66 sse
fb PSUBQ Pq,Qq NP mmx
fb PSUBQ Vdq,Wdq 66 sse
fc PADDB Pq,Qq NP mmx
fc PADDB Vdq,Wdq 66 sse
fd PADDW Pq,Qq NP mmx
fd PADDW Vdq,Wdq 66 sse
fe PADDD Pq,Qq NP mmx
fe PADDD Vdq,Wdq 66 sse
ff UD0 Gv,Ev end
`;
