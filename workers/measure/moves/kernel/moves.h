/* What the moves of networks have in common: exact sums.

   Activations are multiples of 2^-16, or of 2^-20, of magnitude at most 2^11, weights are integers of at most 16 bits
   times a power of two. So every sum of products below is exact in double precision, as long as the magnitudes of the
   integers of one output add up to less than 2^26, or 2^22: no order of additions, fused multiplication or vector width
   changes a bit. What is left is rounded once, by single additions. */

#ifndef QSWEEP_MOVES_H
#define QSWEEP_MOVES_H

#include <stdlib.h>
#include <string.h>

/* One integer that moves: `at` is its place among the parameters, `delta` what is added to it. Of a bias, `in` is -1. */
struct change {
    long layer, out, in, tap, at;
    double delta;
};

static inline long at_least(long a, long b) { return a > b ? a : b; }
static inline long at_most(long a, long b) { return a < b ? a : b; }

/* To a multiple of 1 / scale, ties to even; the scale is a power of two. */
static inline double to_multiple(double x, double scale)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    x = x > 2048.0 ? 2048.0 : x;
    x = x < -2048.0 ? -2048.0 : x;
    return ((x * scale + magic) - magic) * (1.0 / scale);
}

static inline void add_scaled(double *restrict to, double factor, const double *restrict from, long n)
{
    for (long x = 0; x < n; x++)
        to[x] += factor * from[x];
}

static inline void add_scaled_4(double *restrict to, const double *factor, const double *restrict a,
                                const double *restrict b, const double *restrict c, const double *restrict d, long n)
{
    const double fa = factor[0], fb = factor[1], fc = factor[2], fd = factor[3];
    for (long x = 0; x < n; x++)
        to[x] += (fa * a[x] + fb * b[x]) + (fc * c[x] + fd * d[x]);
}

static inline void apply_changes(double *params, const struct change *changes, long n, double sign)
{
    for (long i = 0; i < n; i++)
        params[changes[i].at] += sign * changes[i].delta;
}

#endif
