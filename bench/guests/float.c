/* SSE2 double precision: products of matrices (mulsd, addsd), planets (divsd, sqrtsd). */
#include "kernels.h"

static uint32_t bits_of(double value) {
  union { double number; uint64_t bits; } u = {value};
  return (uint32_t)(u.bits >> 32) ^ (uint32_t)u.bits;
}

#define N 48
static double a[N][N], b[N][N], c[N][N];

uint32_t matrix(void) {
  uint32_t sum = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      a[i][j] = 1.0 / (i + j + 1);
      b[i][j] = (i - j) * 0.25;
    }
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      double product = 0;
      for (int n = 0; n < N; n++) product += a[i][n] * b[n][j];
      c[i][j] = product;
    }
  for (int i = 0; i < N; i++) sum = fold(sum, bits_of(c[i][N - 1 - i]));
  return sum;
}

static double square_root(double x) {
  __asm__("sqrtsd %1, %0" : "=x"(x) : "x"(x));
  return x;
}

struct body { double x, y, z, vx, vy, vz, mass; };

/* The outer solar system of the Computer Language Benchmarks Game, in units of AU, years and solar masses. */
uint32_t nbody(void) {
  struct body bodies[5] = {
    {0, 0, 0, 0, 0, 0, 39.47841760435743},
    {4.84143144246472090, -1.16032004402742839, -0.10362204447112311, 0.60632639299583202, 2.81198684491626020, -0.02521836165988763, 0.03769367487038949},
    {8.34336671824457987, 4.12479856412430479, -0.40352341711432138, -1.01077434617879236, 1.82566237123041186, 0.00841576137658415, 0.01128632613196877},
    {12.8943695621391310, -15.1111514016986312, -0.22330757889265573, 1.08279100644153536, 0.86871301816960822, -0.01083263740136363, 0.00172372405705971},
    {15.3796971148509165, -25.9193146099879641, 0.17925877295037118, 0.97909073224389797, 0.59469899864767617, -0.03475595555078104, 0.00203368686992463},
  };
  for (int step = 0; step < 400; step++) {
    for (int i = 0; i < 5; i++)
      for (int j = i + 1; j < 5; j++) {
        double dx = bodies[i].x - bodies[j].x, dy = bodies[i].y - bodies[j].y, dz = bodies[i].z - bodies[j].z;
        double square = dx * dx + dy * dy + dz * dz, force = 0.01 / (square * square_root(square));
        bodies[i].vx -= dx * bodies[j].mass * force;
        bodies[i].vy -= dy * bodies[j].mass * force;
        bodies[i].vz -= dz * bodies[j].mass * force;
        bodies[j].vx += dx * bodies[i].mass * force;
        bodies[j].vy += dy * bodies[i].mass * force;
        bodies[j].vz += dz * bodies[i].mass * force;
      }
    for (int i = 0; i < 5; i++) {
      bodies[i].x += 0.01 * bodies[i].vx;
      bodies[i].y += 0.01 * bodies[i].vy;
      bodies[i].z += 0.01 * bodies[i].vz;
    }
  }
  uint32_t sum = 0;
  for (int i = 0; i < 5; i++) sum = fold(sum, bits_of(bodies[i].x) + bits_of(bodies[i].vz));
  return sum;
}
