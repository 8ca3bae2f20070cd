/**
 * Functions on the lanes within an int32, four of 8 bits or two of 16: SIMD operations call them once for each of a
 * vector's four parts. As source, since V8 would not inline what all of them shared.
 */

/** Lane by lane: bits, sign-extended or not, and the result in terms of x and y (cut to the lane's width). */
const LANEWISE: Record<string, readonly [bits: 8 | 16, signed: boolean, result: string]> = {
  addSatS8: [8, true, 'clampS8(x+y)'],
  addSatU8: [8, false, 'min(x+y,255)'],
  subSatS8: [8, true, 'clampS8(x-y)'],
  subSatU8: [8, false, 'max(x-y,0)'],
  minS8: [8, true, 'min(x,y)'],
  minU8: [8, false, 'min(x,y)'],
  maxS8: [8, true, 'max(x,y)'],
  maxU8: [8, false, 'max(x,y)'],
  average8: [8, false, '(x+y+1)>>1'],
  abs8: [8, true, 'abs(x)'],
  equal8: [8, false, '(x===y?-1:0)'],
  greater8: [8, true, '(x>y?-1:0)'],
  addSatS16: [16, true, 'clampS16(x+y)'],
  addSatU16: [16, false, 'min(x+y,65535)'],
  subSatS16: [16, true, 'clampS16(x-y)'],
  subSatU16: [16, false, 'max(x-y,0)'],
  mul16: [16, false, 'imul(x,y)'],
  minS16: [16, true, 'min(x,y)'],
  minU16: [16, false, 'min(x,y)'],
  maxS16: [16, true, 'max(x,y)'],
  maxU16: [16, false, 'max(x,y)'],
  average16: [16, false, '(x+y+1)>>1'],
  abs16: [16, true, 'abs(x)'],
  equal16: [16, false, '(x===y?-1:0)'],
  greater16: [16, true, '(x>y?-1:0)'],
  q15: [16, true, 'clampS16(imul(x,y)+16384>>15)'],
};

/** The lane of `name` that starts at `bit`, as an expression. */
function lane(name: string, bits: number, bit: number, signed: boolean): string {
  const up = 32 - bits - bit;
  if (signed) return up === 0 ? `(${name}>>${bit})` : `(${name}<<${up}>>${32 - bits})`;
  return up === 0 ? `(${name}>>>${bit})` : `(${name}>>>${bit}&${2 ** bits - 1})`;
}

function lanewise(name: string, bits: number, signed: boolean, result: string): string {
  const terms: string[] = [];
  for (let bit = 0; bit < 32; bit += bits) {
    const value = result.replace(/\b[xy]\b/g, (operand) => lane(operand === 'x' ? 'a' : 'b', bits, bit, signed));
    const cut = bit + bits === 32 ? `(${value})` : `(${value}&${2 ** bits - 1})`;
    terms.push(bit === 0 ? cut : `${cut}<<${bit}`);
  }
  return `function ${name}(a,b){return ${terms.join('|')}}`;
}

/** Those that have a form of their own. */
const OTHERS = [
  // Carries are kept from the next lane.
  'function add8(a,b){return (a&0x7f7f7f7f)+(b&0x7f7f7f7f)^(a^b)&0x80808080}',
  'function sub8(a,b){return (a|0x80808080)-(b&0x7f7f7f7f)^(a^~b)&0x80808080}',
  'function add16(a,b){return (a&0x7fff7fff)+(b&0x7fff7fff)^(a^b)&0x80008000}',
  'function sub16(a,b){return (a|0x80008000)-(b&0x7fff7fff)^(a^~b)&0x80008000}',
  'function shrS8(a,n){n=24+(n&7);return bytes(a<<24>>n,a<<16>>n,a<<8>>n,a>>n)}',
  'function shl16(a,n){n&=15;return a<<n&0xffff|a>>>16<<16+n}',
  'function shrS16(a,n){n&=15;return a<<16>>16+n&0xffff|a>>16+n<<16}',
  'function shrU16(a,n){n&=15;return (a&0xffff)>>>n|a>>>16+n<<16}',
  // Sum of the products of both words.
  'function dot16(a,b){return imul(a<<16>>16,b<<16>>16)+imul(a>>16,b>>16)|0}',
  // Low words of two int32, and low bytes of four, side by side.
  'function words(a,b){return a&0xffff|b<<16}',
  'function bytes(a,b,c,d){return a&255|(b&255)<<8|(c&255)<<16|d<<24}',
  // The words of two int32 as bytes, and two int32 as words.
  'function narrowS8(a,b){return bytes(clampS8(a<<16>>16),clampS8(a>>16),clampS8(b<<16>>16),clampS8(b>>16))}',
  'function narrowU8(a,b){return bytes(clampU8(a<<16>>16),clampU8(a>>16),clampU8(b<<16>>16),clampU8(b>>16))}',
  'function narrowS16(a,b){return words(clampS16(a),clampS16(b))}',
  'function narrowU16(a,b){return words(clampU16(a),clampU16(b))}',
  // Neighbouring bytes added.
  'function pairwise8(a){return words((a&255)+(a>>>8&255),(a>>>16&255)+(a>>>24))}',
  // The top bits of four bytes.
  'function mask8(a){return imul(a>>>7&0x01010101,0x10204080)>>>28}',
  'function clampS8(x){return min(max(x,-128),127)}',
  'function clampU8(x){return min(max(x,0),255)}',
  'function clampS16(x){return min(max(x,-32768),32767)}',
  'function clampU16(x){return min(max(x,0),65535)}',
];

/** Declarations of all of them. */
export const LANES_SOURCE = [
  ...OTHERS,
  ...Object.entries(LANEWISE).map(([name, [bits, signed, result]]) => lanewise(name, bits, signed, result)),
].join('\n');
