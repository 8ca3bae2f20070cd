/* An interpreter of bytecode, one switch in a loop, as in Lua or SQLite; it runs the sieve of Eratosthenes. */
#include "kernels.h"

enum opcode { LOAD, ADD, ADD_CONSTANT, MULTIPLY, LESS, JUMP, JUMP_IF_ZERO, GET, SET, HALT };
struct instruction { uint8_t opcode, a, b, c; };

#define LIMIT 4000
enum { I, J, N, FLAG, COUNT, ONE, REGISTERS };

/* count = 0; for (i = 2; i < n; i++) if (!memory[i]) { count++; for (j = i * i; j < n; j += i) memory[j] = 1; } */
static const struct instruction program[] = {
  [0] = {LOAD, I, 2, 0},
  [1] = {LOAD, COUNT, 0, 0},
  [2] = {LOAD, ONE, 1, 0},
  [3] = {LESS, FLAG, I, N},
  [4] = {JUMP_IF_ZERO, FLAG, 17, 0},
  [5] = {GET, FLAG, I, 0},
  [6] = {JUMP_IF_ZERO, FLAG, 8, 0},
  [7] = {JUMP, 0, 15, 0},
  [8] = {ADD_CONSTANT, COUNT, COUNT, 1},
  [9] = {MULTIPLY, J, I, I},
  [10] = {LESS, FLAG, J, N},
  [11] = {JUMP_IF_ZERO, FLAG, 15, 0},
  [12] = {SET, J, ONE, 0},
  [13] = {ADD, J, J, I},
  [14] = {JUMP, 0, 10, 0},
  [15] = {ADD_CONSTANT, I, I, 1},
  [16] = {JUMP, 0, 3, 0},
  [17] = {HALT, 0, 0, 0},
};

static uint32_t memory[LIMIT];

static uint32_t interpret(const struct instruction *code, uint32_t *r) {
  uint32_t executed = 0;
  for (uint32_t at = 0;;) {
    const struct instruction *in = &code[at++];
    executed++;
    switch (in->opcode) {
      case LOAD: r[in->a] = in->b; break;
      case ADD: r[in->a] = r[in->b] + r[in->c]; break;
      case ADD_CONSTANT: r[in->a] = r[in->b] + in->c; break;
      case MULTIPLY: r[in->a] = r[in->b] * r[in->c]; break;
      case LESS: r[in->a] = r[in->b] < r[in->c]; break;
      case JUMP: at = in->b; break;
      case JUMP_IF_ZERO: if (!r[in->a]) at = in->b; break;
      case GET: r[in->a] = memory[r[in->b]]; break;
      case SET: memory[r[in->a]] = r[in->b]; break;
      case HALT: return executed;
    }
  }
}

uint32_t bytecode(void) {
  uint32_t registers[REGISTERS] = {[N] = LIMIT};
  for (int i = 0; i < LIMIT; i++) memory[i] = 0;
  uint32_t executed = interpret(program, registers);
  return fold(executed, registers[COUNT]);
}
