/* What the parts of the compiled kernel have in common: vectors.

   Plain C for GCC and Clang. The kernel is built once per instruction set (see pyproject.toml), and called through the
   Python files beside this one, which say what the arguments are. Pixels, or latents, that lie side by side are the
   lanes of a vector; every one of them goes through the same operations in the same order, whatever the tile and
   wherever it lies in it. Comparisons are written so that NaN stays NaN. */

#ifndef QSWEEP_LANES_H
#define QSWEEP_LANES_H

#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int mask __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef double dvec __attribute__((vector_size(8 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }
INLINE void store_first(float *p, vec v, long n)
{
    if (n >= LANES)
        store(p, v);
    else
        memcpy(p, &v, sizeof(float) * (size_t)n);
}
INLINE vec all(float x) { return (vec){0} + x; }
INLINE vec select_(mask m, vec yes, vec no) { return (vec)(((mask)yes & m) | ((mask)no & ~m)); }
INLINE vec relu(vec x) { return select_(x < all(0), all(0), x); }
INLINE vec clamp(vec x, float low, float high)
{
    x = select_(x < all(low), all(low), x);
    return select_(x > all(high), all(high), x);
}
INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long larger(long a, long b) { return a > b ? a : b; }

#endif
