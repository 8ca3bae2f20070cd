/** x87 escape opcodes D8–DF (Intel SDM vol. 2D, tables ). Format: see table.ts. */
export const X87_MAP = `
d8/m X87 M32 x87
d8/r X87 - x87
d9/0m X87 M32 x87
d9/2m X87 M32 x87
d9/3m X87 M32 x87
d9/4m FLDENV M x87
d9/5m FLDCW Mw x87
d9/6m FNSTENV M x87
d9/7m FNSTCW Mw x87
d9/0r X87 - x87
d9/1r X87 - x87
d9=d0 X87 - x87
d9/3r X87 - x87
d9=e0 X87 - x87
d9=e1 X87 - x87
d9=e4 X87 - x87
d9=e5 X87 - x87
d9=e8 X87 - x87
d9=e9 X87 - x87
d9=ea X87 - x87
d9=eb X87 - x87
d9=ec X87 - x87
d9=ed X87 - x87
d9=ee X87 - x87
d9/6r X87 - x87
d9/7r X87 - x87
da/m X87 M32 x87
da/0r X87 - x87 t=c
da/1r X87 - x87 t=z
da/2r X87 - x87 t=zc
da/3r X87 - x87 t=p
da=e9 X87 - x87
db/0m X87 M32 x87
db/1m X87 M32 x87
db/2m X87 M32 x87
db/3m X87 M32 x87
db/5m X87 M80 x87
db/7m X87 M80 x87
db/0r X87 - x87 t=c
db/1r X87 - x87 t=z
db/2r X87 - x87 t=zc
db/3r X87 - x87 t=p
db=e0 NOP - x87
db=e1 NOP - x87
db=e2 FNCLEX - x87
db=e3 FNINIT - x87
db=e4 NOP - x87
db/5r X87 - x87 f=oszapc
db/6r X87 - x87 f=oszapc
dc/m X87 M64 x87
dc/r X87 - x87
dd/0m X87 M64 x87
dd/1m X87 M64 x87
dd/2m X87 M64 x87
dd/3m X87 M64 x87
dd/4m FRSTOR M x87
dd/6m FNSAVE M x87
dd/7m FNSTSW Mw x87
dd/0r X87 - x87
dd/1r X87 - x87
dd/2r X87 - x87
dd/3r X87 - x87
dd/4r X87 - x87
dd/5r X87 - x87
de/m X87 M16 x87
de/0r X87 - x87
de/1r X87 - x87
de/2r X87 - x87
de=d9 X87 - x87
de/4r X87 - x87
de/5r X87 - x87
de/6r X87 - x87
de/7r X87 - x87
df/0m X87 M16 x87
df/1m X87 M16 x87
df/2m X87 M16 x87
df/3m X87 M16 x87
df/4m X87 M80 x87
df/5m X87 M64 x87
df/6m X87 M80 x87
df/7m X87 M64 x87
df/0r X87 - x87
df/1r X87 - x87
df/2r X87 - x87
df/3r X87 - x87
df=e0 FNSTSW AX x87
df/5r X87 - x87 f=oszapc
df/6r X87 - x87 f=oszapc
`;
