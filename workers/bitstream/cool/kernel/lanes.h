/* What the parts of the compiled kernel have in common. Plain C for GCC and Clang; built once per instruction set (see
   pyproject.toml), and called through the Python files beside this one, which say what the arguments are. */

#ifndef QSWEEP_COOL_LANES_H
#define QSWEEP_COOL_LANES_H

#include <stdint.h>
#include <string.h>

/* Numbers of 64 bits in a register. */
#if defined(__AVX512F__)
#define WIDTH 8
#elif defined(__AVX__)
#define WIDTH 4
#else
#define WIDTH 2
#endif

/* Rows of a matrix, times registers of latents, at a time: so many sums do not wait for each other, and fit into the
   registers that there are. */
#define ROWS 4
#define VECTORS 2
#define LANES (WIDTH * VECTORS)

#define INLINE static inline __attribute__((always_inline))

INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long larger(long a, long b) { return a > b ? a : b; }
INLINE long between(long x, long low, long high) { return x < low ? low : x > high ? high : x; }

#endif
