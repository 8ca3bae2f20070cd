/** One-byte opcode map (Intel SDM vol. 2D, table A-2), in the order of the manual. Format: see table.ts. */
export const ONE_BYTE_MAP = `
00 ADD Eb,Gb lock f=oszapc
01 ADD Ev,Gv lock f=oszapc
02 ADD Gb,Eb f=oszapc
03 ADD Gv,Ev f=oszapc
04 ADD AL,Ib f=oszapc
05 ADD rAX,Iz f=oszapc
06 PUSH ES i64
07 POP ES i64 end
08 OR Eb,Gb lock f=oszpc u=a
09 OR Ev,Gv lock f=oszpc u=a
0a OR Gb,Eb f=oszpc u=a
0b OR Gv,Ev f=oszpc u=a
0c OR AL,Ib f=oszpc u=a
0d OR rAX,Iz f=oszpc u=a
0e PUSH CS i64
10 ADC Eb,Gb lock f=oszapc t=c
11 ADC Ev,Gv lock f=oszapc t=c
12 ADC Gb,Eb f=oszapc t=c
13 ADC Gv,Ev f=oszapc t=c
14 ADC AL,Ib f=oszapc t=c
15 ADC rAX,Iz f=oszapc t=c
16 PUSH SS i64
17 POP SS i64 end
18 SBB Eb,Gb lock f=oszapc t=c
19 SBB Ev,Gv lock f=oszapc t=c
1a SBB Gb,Eb f=oszapc t=c
1b SBB Gv,Ev f=oszapc t=c
1c SBB AL,Ib f=oszapc t=c
1d SBB rAX,Iz f=oszapc t=c
1e PUSH DS i64
1f POP DS i64 end
20 AND Eb,Gb lock f=oszpc u=a
21 AND Ev,Gv lock f=oszpc u=a
22 AND Gb,Eb f=oszpc u=a
23 AND Gv,Ev f=oszpc u=a
24 AND AL,Ib f=oszpc u=a
25 AND rAX,Iz f=oszpc u=a
27 DAA - i64 f=szapc u=o t=ac
28 SUB Eb,Gb lock f=oszapc
29 SUB Ev,Gv lock f=oszapc
2a SUB Gb,Eb f=oszapc
2b SUB Gv,Ev f=oszapc
2c SUB AL,Ib f=oszapc
2d SUB rAX,Iz f=oszapc
2f DAS - i64 f=szapc u=o t=ac
30 XOR Eb,Gb lock f=oszpc u=a
31 XOR Ev,Gv lock f=oszpc u=a
32 XOR Gb,Eb f=oszpc u=a
33 XOR Gv,Ev f=oszpc u=a
34 XOR AL,Ib f=oszpc u=a
35 XOR rAX,Iz f=oszpc u=a
37 AAA - i64 f=ac u=oszp t=a
38 CMP Eb,Gb f=oszapc
39 CMP Ev,Gv f=oszapc
3a CMP Gb,Eb f=oszapc
3b CMP Gv,Ev f=oszapc
3c CMP AL,Ib f=oszapc
3d CMP rAX,Iz f=oszapc
3f AAS - i64 f=ac u=oszp t=a
40+ INC Zv i64 f=oszap
48+ DEC Zv i64 f=oszap
50+ PUSH Zv d64
58+ POP Zv d64
60 PUSHA - i64
61 POPA - i64
62 BOUND Gv,Ma i64
63 ARPL Ew,Gw i64 f=z
63 MOVSXD Gv,Ed o64
68 PUSH Iz d64
69 IMUL Gv,Ev,Iz f=oc u=szap
6a PUSH Ibs d64
6b IMUL Gv,Ev,Ibs f=oc u=szap
6c INS Yb,DX rep
6d INS Yz,DX rep
6e OUTS DX,Xb rep
6f OUTS DX,Xz rep
70 JO Jb f64 end t=o
71 JNO Jb f64 end t=o
72 JB Jb f64 end t=c
73 JNB Jb f64 end t=c
74 JZ Jb f64 end t=z
75 JNZ Jb f64 end t=z
76 JBE Jb f64 end t=zc
77 JNBE Jb f64 end t=zc
78 JS Jb f64 end t=s
79 JNS Jb f64 end t=s
7a JP Jb f64 end t=p
7b JNP Jb f64 end t=p
7c JL Jb f64 end t=os
7d JNL Jb f64 end t=os
7e JLE Jb f64 end t=osz
7f JNLE Jb f64 end t=osz
80/0 ADD Eb,Ib lock f=oszapc
80/1 OR Eb,Ib lock f=oszpc u=a
80/2 ADC Eb,Ib lock f=oszapc t=c
80/3 SBB Eb,Ib lock f=oszapc t=c
80/4 AND Eb,Ib lock f=oszpc u=a
80/5 SUB Eb,Ib lock f=oszapc
80/6 XOR Eb,Ib lock f=oszpc u=a
80/7 CMP Eb,Ib f=oszapc
81/0 ADD Ev,Iz lock f=oszapc
81/1 OR Ev,Iz lock f=oszpc u=a
81/2 ADC Ev,Iz lock f=oszapc t=c
81/3 SBB Ev,Iz lock f=oszapc t=c
81/4 AND Ev,Iz lock f=oszpc u=a
81/5 SUB Ev,Iz lock f=oszapc
81/6 XOR Ev,Iz lock f=oszpc u=a
81/7 CMP Ev,Iz f=oszapc
82/0 ADD Eb,Ib i64 lock f=oszapc
82/1 OR Eb,Ib i64 lock f=oszpc u=a
82/2 ADC Eb,Ib i64 lock f=oszapc t=c
82/3 SBB Eb,Ib i64 lock f=oszapc t=c
82/4 AND Eb,Ib i64 lock f=oszpc u=a
82/5 SUB Eb,Ib i64 lock f=oszapc
82/6 XOR Eb,Ib i64 lock f=oszpc u=a
82/7 CMP Eb,Ib i64 f=oszapc
83/0 ADD Ev,Ibs lock f=oszapc
83/1 OR Ev,Ibs lock f=oszpc u=a
83/2 ADC Ev,Ibs lock f=oszapc t=c
83/3 SBB Ev,Ibs lock f=oszapc t=c
83/4 AND Ev,Ibs lock f=oszpc u=a
83/5 SUB Ev,Ibs lock f=oszapc
83/6 XOR Ev,Ibs lock f=oszpc u=a
83/7 CMP Ev,Ibs f=oszapc
84 TEST Eb,Gb f=oszpc u=a
85 TEST Ev,Gv f=oszpc u=a
86 XCHG Eb,Gb lock
87 XCHG Ev,Gv lock
88 MOV Eb,Gb
89 MOV Ev,Gv
8a MOV Gb,Eb
8b MOV Gv,Ev
8c MOV_FROM_SREG Ev,Sw
8d LEA Gv,M
8e MOV_TO_SREG Sw,Ew end
8f/0 POP Ev d64
90+ XCHG Zv,rAX
90 NOP -
90 PAUSE - F3
98 CBW -
99 CWD -
9a CALLF Ap i64 end
9b FWAIT - x87
9c PUSHF Fv d64
9d POPF Fv d64 end f=oszapc
9e SAHF - f=szapc
9f LAHF - t=szapc
a0 MOV AL,Ob
a1 MOV rAX,Ov
a2 MOV Ob,AL
a3 MOV Ov,rAX
a4 MOVS Yb,Xb rep
a5 MOVS Yv,Xv rep
a6 CMPS Xb,Yb rep f=oszapc
a7 CMPS Xv,Yv rep f=oszapc
a8 TEST AL,Ib f=oszpc u=a
a9 TEST rAX,Iz f=oszpc u=a
aa STOS Yb,AL rep
ab STOS Yv,rAX rep
ac LODS AL,Xb rep
ad LODS rAX,Xv rep
ae SCAS AL,Yb rep f=oszapc
af SCAS rAX,Yv rep f=oszapc
b0+ MOV Zb,Ib
b8+ MOV Zv,Iv
c0/0 ROL Eb,Ib f=oc u=o
c0/1 ROR Eb,Ib f=oc u=o
c0/2 RCL Eb,Ib f=oc u=o t=c
c0/3 RCR Eb,Ib f=oc u=o t=c
c0/4 SHL Eb,Ib f=oszpc u=oa
c0/5 SHR Eb,Ib f=oszpc u=oa
c0/6 SHL Eb,Ib f=oszpc u=oa
c0/7 SAR Eb,Ib f=oszpc u=oa
c1/0 ROL Ev,Ib f=oc u=o
c1/1 ROR Ev,Ib f=oc u=o
c1/2 RCL Ev,Ib f=oc u=o t=c
c1/3 RCR Ev,Ib f=oc u=o t=c
c1/4 SHL Ev,Ib f=oszpc u=oa
c1/5 SHR Ev,Ib f=oszpc u=oa
c1/6 SHL Ev,Ib f=oszpc u=oa
c1/7 SAR Ev,Ib f=oszpc u=oa
c2 RET Iw f64 end
c3 RET - f64 end
c4 LES Gz,Mp i64 end
c5 LDS Gz,Mp i64 end
c6/0 MOV Eb,Ib
c7/0 MOV Ev,Iz
c8 ENTER Iw,Ib d64
c9 LEAVE - d64
ca RETF Iw end
cb RETF - end
cc INT3 - end
cd INT Ib end
ce INTO - i64 end t=o
cf IRET - end f=oszapc
d0/0 ROL Eb,1 f=oc
d0/1 ROR Eb,1 f=oc
d0/2 RCL Eb,1 f=oc t=c
d0/3 RCR Eb,1 f=oc t=c
d0/4 SHL Eb,1 f=oszpc u=a
d0/5 SHR Eb,1 f=oszpc u=a
d0/6 SHL Eb,1 f=oszpc u=a
d0/7 SAR Eb,1 f=oszpc u=a
d1/0 ROL Ev,1 f=oc
d1/1 ROR Ev,1 f=oc
d1/2 RCL Ev,1 f=oc t=c
d1/3 RCR Ev,1 f=oc t=c
d1/4 SHL Ev,1 f=oszpc u=a
d1/5 SHR Ev,1 f=oszpc u=a
d1/6 SHL Ev,1 f=oszpc u=a
d1/7 SAR Ev,1 f=oszpc u=a
d2/0 ROL Eb,CL f=oc u=o
d2/1 ROR Eb,CL f=oc u=o
d2/2 RCL Eb,CL f=oc u=o t=c
d2/3 RCR Eb,CL f=oc u=o t=c
d2/4 SHL Eb,CL f=oszpc u=oa
d2/5 SHR Eb,CL f=oszpc u=oa
d2/6 SHL Eb,CL f=oszpc u=oa
d2/7 SAR Eb,CL f=oszpc u=oa
d3/0 ROL Ev,CL f=oc u=o
d3/1 ROR Ev,CL f=oc u=o
d3/2 RCL Ev,CL f=oc u=o t=c
d3/3 RCR Ev,CL f=oc u=o t=c
d3/4 SHL Ev,CL f=oszpc u=oa
d3/5 SHR Ev,CL f=oszpc u=oa
d3/6 SHL Ev,CL f=oszpc u=oa
d3/7 SAR Ev,CL f=oszpc u=oa
d4 AAM Ib i64 f=szp u=oac
d5 AAD Ib i64 f=szp u=oac
d6 SALC - i64 t=c
d7 XLAT -
e0 LOOPNE Jb f64 end t=z
e1 LOOPE Jb f64 end t=z
e2 LOOP Jb f64 end
e3 JCXZ Jb f64 end
e4 IN AL,Ib
e5 IN rAXz,Ib
e6 OUT Ib,AL
e7 OUT Ib,rAXz
e8 CALL Jz f64 end
e9 JMP Jz f64 end
ea JMPF Ap i64 end
eb JMP Jb f64 end
ec IN AL,DX
ed IN rAXz,DX
ee OUT DX,AL
ef OUT DX,rAXz
f1 INT1 - end
f4 HLT - cpl0 end
f5 CMC - f=c t=c
f6/0 TEST Eb,Ib f=oszpc u=a
f6/1 TEST Eb,Ib f=oszpc u=a
f6/2 NOT Eb lock
f6/3 NEG Eb lock f=oszapc
f6/4 MUL Eb f=oc u=szap
f6/5 IMUL1 Eb f=oc u=szap
f6/6 DIV Eb u=oszapc
f6/7 IDIV Eb u=oszapc
f7/0 TEST Ev,Iz f=oszpc u=a
f7/1 TEST Ev,Iz f=oszpc u=a
f7/2 NOT Ev lock
f7/3 NEG Ev lock f=oszapc
f7/4 MUL Ev f=oc u=szap
f7/5 IMUL1 Ev f=oc u=szap
f7/6 DIV Ev u=oszapc
f7/7 IDIV Ev u=oszapc
f8 CLC - f=c
f9 STC - f=c
fa CLI -
fb STI - end
fc CLD -
fd STD -
fe/0 INC Eb lock f=oszap
fe/1 DEC Eb lock f=oszap
ff/0 INC Ev lock f=oszap
ff/1 DEC Ev lock f=oszap
ff/2 CALL Ev f64 end
ff/3 CALLF Mp end
ff/4 JMP Ev f64 end
ff/5 JMPF Mp end
ff/6 PUSH Ev d64
`;
