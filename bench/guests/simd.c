/* SSE2 integers: blending of pixels, counting of bytes, sums of absolute differences. */
#include "kernels.h"

typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef char i8x16 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef long long i64x2 __attribute__((vector_size(16)));

#define VECTORS 4096
static u8x16 front[VECTORS], back[VECTORS], out[VECTORS];

uint32_t simd(void) {
  uint32_t state = 13, sum = 0;
  for (int i = 0; i < VECTORS; i++) {
    u32x4 words = {next_random(&state), state ^ 0x1234567, state * 7, state >> 3};
    front[i] = (u8x16)words;
    back[i] = (u8x16)(words * 5 + 1);
  }
  u32x4 totals = {0}, hashes = {1, 2, 3, 4};
  i64x2 distance = {0};
  const u8x16 wanted = {0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f, 0x2f};
  for (int turn = 0; turn < 8; turn++)
    for (int i = 0; i < VECTORS; i++) {
      u16x8 f = (u16x8)front[i], g = (u16x8)back[i];
      /* pmullw, psrlw, pand, por: alpha blending of the even and the odd bytes */
      u16x8 even = ((f & 0xff) * 77 + (g & 0xff) * 179) >> 8, odd = ((f >> 8) * 77 + (g >> 8) * 179) & 0xff00;
      u8x16 blended = (u8x16)(even | odd);
      out[i] = blended;
      totals += (u32x4)blended;
      hashes = (hashes << 5 | hashes >> 27) ^ (u32x4)blended;
      distance += (i64x2)__builtin_ia32_psadbw128((i8x16)blended, (i8x16)back[i]);
      sum += (uint32_t)__builtin_ia32_pmovmskb128((i8x16)(blended == wanted));
    }
  for (int lane = 0; lane < 4; lane++) sum = fold(sum, totals[lane] + hashes[lane]);
  return fold(sum, (uint32_t)(distance[0] + distance[1]) + out[VECTORS - 1][3]);
}
