/**
 * Three-byte opcode maps 0F 38 and 0F 3A (Intel SDM vol. 2D, tables ), and their VEX-encoded general-purpose
 * instructions (BMI1, BMI2). Format: see table.ts.
 */
export const THREE_BYTE_38_MAP = `
00 PSHUFB Pq,Qq NP mmx
00 PSHUFB Vdq,Wdq 66 sse
01 PHADDW Pq,Qq NP mmx
01 PHADDW Vdq,Wdq 66 sse
02 PHADDD Pq,Qq NP mmx
02 PHADDD Vdq,Wdq 66 sse
03 PHADDSW Pq,Qq NP mmx
03 PHADDSW Vdq,Wdq 66 sse
04 PMADDUBSW Pq,Qq NP mmx
04 PMADDUBSW Vdq,Wdq 66 sse
05 PHSUBW Pq,Qq NP mmx
05 PHSUBW Vdq,Wdq 66 sse
06 PHSUBD Pq,Qq NP mmx
06 PHSUBD Vdq,Wdq 66 sse
07 PHSUBSW Pq,Qq NP mmx
07 PHSUBSW Vdq,Wdq 66 sse
08 PSIGNB Pq,Qq NP mmx
08 PSIGNB Vdq,Wdq 66 sse
09 PSIGNW Pq,Qq NP mmx
09 PSIGNW Vdq,Wdq 66 sse
0a PSIGND Pq,Qq NP mmx
0a PSIGND Vdq,Wdq 66 sse
0b PMULHRSW Pq,Qq NP mmx
0b PMULHRSW Vdq,Wdq 66 sse
10 PBLENDVB Vdq,Wdq 66 sse
14 BLENDVPS Vps,Wps 66 sse
15 BLENDVPD Vpd,Wpd 66 sse
17 PTEST Vdq,Wdq 66 sse f=oszapc
1c PABSB Pq,Qq NP mmx
1c PABSB Vdq,Wdq 66 sse
1d PABSW Pq,Qq NP mmx
1d PABSW Vdq,Wdq 66 sse
1e PABSD Pq,Qq NP mmx
1e PABSD Vdq,Wdq 66 sse
20 PMOVSXBW Vdq,Wq 66 sse
21 PMOVSXBD Vdq,Wd 66 sse
22 PMOVSXBQ Vdq,Ww 66 sse
23 PMOVSXWD Vdq,Wq 66 sse
24 PMOVSXWQ Vdq,Wd 66 sse
25 PMOVSXDQ Vdq,Wq 66 sse
28 PMULDQ Vdq,Wdq 66 sse
29 PCMPEQQ Vdq,Wdq 66 sse
2a/m MOVNTDQA Vdq,Mdq 66 sse
2b PACKUSDW Vdq,Wdq 66 sse
30 PMOVZXBW Vdq,Wq 66 sse
31 PMOVZXBD Vdq,Wd 66 sse
32 PMOVZXBQ Vdq,Ww 66 sse
33 PMOVZXWD Vdq,Wq 66 sse
34 PMOVZXWQ Vdq,Wd 66 sse
35 PMOVZXDQ Vdq,Wq 66 sse
37 PCMPGTQ Vdq,Wdq 66 sse
38 PMINSB Vdq,Wdq 66 sse
39 PMINSD Vdq,Wdq 66 sse
3a PMINUW Vdq,Wdq 66 sse
3b PMINUD Vdq,Wdq 66 sse
3c PMAXSB Vdq,Wdq 66 sse
3d PMAXSD Vdq,Wdq 66 sse
3e PMAXUW Vdq,Wdq 66 sse
3f PMAXUD Vdq,Wdq 66 sse
40 PMULLD Vdq,Wdq 66 sse
41 PHMINPOSUW Vdq,Wdq 66 sse
f0/m MOVBE Gv,Mv NP66
f0 CRC32 Gd,Eb F2
f1/m MOVBE Mv,Gv NP66
f1 CRC32 Gd,Ev F2
f6 ADCX Gy,Ey 66 f=c t=c
f6 ADOX Gy,Ey F3 f=o t=o
`;
export const THREE_BYTE_3A_MAP = `
08 ROUNDPS Vps,Wps,Ib 66 sse
09 ROUNDPD Vpd,Wpd,Ib 66 sse
0a ROUNDSS Vss,Wss,Ib 66 sse
0b ROUNDSD Vsd,Wsd,Ib 66 sse
0c BLENDPS Vps,Wps,Ib 66 sse
0d BLENDPD Vpd,Wpd,Ib 66 sse
0e PBLENDW Vdq,Wdq,Ib 66 sse
0f PALIGNR Pq,Qq,Ib NP mmx
0f PALIGNR Vdq,Wdq,Ib 66 sse
14 PEXTRB RdMb,Vdq,Ib 66 sse
15 PEXTRW RdMw,Vdq,Ib 66 sse
16 PEXTRD Ey,Vdq,Ib 66 sse
17 EXTRACTPS Ed,Vdq,Ib 66 sse
20 PINSRB Vdq,RdMb,Ib 66 sse
21 INSERTPS Vdq,Wss,Ib 66 sse
22 PINSRD Vdq,Ey,Ib 66 sse
40 DPPS Vps,Wps,Ib 66 sse
41 DPPD Vpd,Wpd,Ib 66 sse
42 MPSADBW Vdq,Wdq,Ib 66 sse
60 PCMPESTRM Vdq,Wdq,Ib 66 sse f=oszapc
61 PCMPESTRI Vdq,Wdq,Ib 66 sse f=oszapc
62 PCMPISTRM Vdq,Wdq,Ib 66 sse f=oszapc
63 PCMPISTRI Vdq,Wdq,Ib 66 sse f=oszapc
`;
export const VEX_0F38_MAP = `
f2 ANDN Gy,By,Ey NP f=oszc u=ap
f3/1 BLSR By,Ey NP f=oszc u=ap
f3/2 BLSMSK By,Ey NP f=oszc u=ap
f3/3 BLSI By,Ey NP f=oszc u=ap
f5 BZHI Gy,Ey,By NP f=oszc u=ap
f5 PEXT Gy,By,Ey F3
f5 PDEP Gy,By,Ey F2
f6 MULX Gy,By,Ey F2
f7 BEXTR Gy,Ey,By NP f=ozc u=sap
f7 SHLX Gy,Ey,By 66
f7 SARX Gy,Ey,By F3
f7 SHRX Gy,Ey,By F2
`;
export const VEX_0F3A_MAP = `
f0 RORX Gy,Ey,Ib F2
`;
