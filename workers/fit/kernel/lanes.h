/* What the parts of the compiled kernel of training have in common: vectors, and functions of them.

   Plain C for GCC and Clang, built once per instruction set (see pyproject.toml) and called through the Python files
   beside this one, which say what the arguments are. Numbers that lie side by side are the lanes of a vector. */

#ifndef QSWEEP_FIT_LANES_H
#define QSWEEP_FIT_LANES_H

#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

#define VECTORS 2 /* of numbers that are computed together, for sums not to wait for each other */
#define CHUNK (VECTORS * LANES)

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int mask __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef vec chunk[VECTORS];

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }
INLINE vec all(float x) { return (vec){0} + x; }
INLINE vec select_(mask m, vec yes, vec no) { return (vec)(((mask)yes & m) | ((mask)no & ~m)); }
INLINE vec relu(vec x) { return select_(x < all(0), all(0), x); }
INLINE vec absolute(vec x) { return (vec)((mask)x & 0x7fffffff); }
INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE long larger(long a, long b) { return a > b ? a : b; }

INLINE float sum_of(vec v)
{
    float sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += v[l];
    return sum;
}

/* The lanes below n. */
INLINE mask first_lanes(long n)
{
    mask lane;
    for (int l = 0; l < LANES; l++)
        lane[l] = l;
    return lane < (mask){0} + (int)(n < 0 ? 0 : n > LANES ? LANES : n);
}

/* The first n numbers at p, at most LANES of them; zeros beyond. */
INLINE vec load_first(const float *p, long n)
{
    vec v = all(0);
    if (n >= LANES)
        return load(p);
    if (n > 0)
        memcpy(&v, p, sizeof(float) * (size_t)n);
    return v;
}

INLINE void store_first(float *p, vec v, long n)
{
    if (n >= LANES)
        store(p, v);
    else if (n > 0)
        memcpy(p, &v, sizeof(float) * (size_t)n);
}

/* e^x for x in [-87, 87], to about 1e-7: 2^k times a polynomial (Cephes' expf); below, next to 0. */
INLINE vec exponential(vec x)
{
    x = select_(x < all(-87.0f), all(-87.0f), x);
    const vec round = all(12582912.0f), k = (x * 1.44269504088896341f + round) - round;
    x = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    vec p = all(1.9875691500e-4f);
    p = p * x + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * x * x + x + 1.0f;
    return p * (vec)((__builtin_convertvector(k, mask) + 127) << 23);
}

/* log2(x) of positive normal numbers, to about 1e-7 of the larger of it and 1 (Cephes' logf). */
INLINE vec logarithm(vec x)
{
    const mask bits = (mask)x;
    vec e = __builtin_convertvector((bits >> 23) - 126, vec);
    vec m = (vec)((bits & 0x007fffff) | 0x3f000000); /* in [1/2, 1) */
    const mask low = m < all(0.707106781186547524f);
    e -= select_(low, all(1), all(0));
    m = select_(low, m + m, m) - 1.0f;
    vec p = all(7.0376836292e-2f);
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    const vec natural = p * m * m * m - 0.5f * m * m + m;
    return natural * 1.44269504088896341f + e;
}

#endif
