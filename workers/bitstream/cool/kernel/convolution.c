/* Convolutions of the synthesis, in single precision. */

#include "lanes.h"

typedef float pixels __attribute__((vector_size(8 * WIDTH), aligned(4), may_alias));

#define STEP (2 * WIDTH)        /* pixels in a register */
#define BLOCK (VECTORS * STEP) /* pixels at a time */

typedef struct {
    const float *x; /* [n_in][rows + k - 1][columns + k - 1], borders repeated */
    const float *weight, *bias;
    const float *residual; /* [n_out][rows][columns], or null */
    float *out;            /* likewise */
    long n_in, n_out, k, rows, columns, relu;
} convolution;

INLINE float finish(const convolution *c, float sum, long at)
{
    if (c->residual)
        sum += c->residual[at];
    return c->relu && sum < 0 ? 0 : sum; /* NaN stays NaN */
}

/* Some outputs of a block of pixels of one row. */
INLINE void block(const convolution *c, const int n_out, const long o, const long y, const long x)
{
    const long k = c->k, stride = c->columns + k - 1, plane = (c->rows + k - 1) * stride, size = c->n_in * k * k;
    const float *weight = c->weight + o * size;
    pixels sum[ROWS * VECTORS];
    for (int r = 0; r < n_out; r++)
        for (int v = 0; v < VECTORS; v++)
            sum[r * VECTORS + v] = (pixels){0} + c->bias[o + r];
    for (long i = 0; i < c->n_in; i++)
        for (long dy = 0; dy < k; dy++)
            for (long dx = 0; dx < k; dx++, weight++) {
                const float *const at = c->x + i * plane + (y + dy) * stride + x + dx;
                for (int r = 0; r < n_out; r++)
                    for (int v = 0; v < VECTORS; v++)
                        sum[r * VECTORS + v] += weight[r * size] * *(const pixels *)(at + v * STEP);
            }
    for (int r = 0; r < n_out; r++) {
        const float *const sums = (const float *)(sum + r * VECTORS);
        const long at = ((o + r) * c->rows + y) * c->columns + x;
        for (long l = 0; l < BLOCK; l++)
            c->out[at + l] = finish(c, sums[l], at + l);
    }
}

static void pixel(const convolution *c, long o, long y, long x)
{
    const long k = c->k, stride = c->columns + k - 1, plane = (c->rows + k - 1) * stride;
    const float *weight = c->weight + o * c->n_in * k * k;
    float sum = c->bias[o];
    for (long i = 0; i < c->n_in; i++)
        for (long dy = 0; dy < k; dy++)
            for (long dx = 0; dx < k; dx++)
                sum += *weight++ * c->x[i * plane + (y + dy) * stride + x + dx];
    const long at = (o * c->rows + y) * c->columns + x;
    c->out[at] = finish(c, sum, at);
}

void qsweep_cool_convolve(const convolution *c)
{
    for (long y = 0; y < c->rows; y++) {
        for (long x = 0; x < c->columns && c->columns >= BLOCK; x += BLOCK) {
            const long first = smaller(x, c->columns - BLOCK); /* the last block ends with the row */
            long o = 0;
            for (; o + ROWS <= c->n_out; o += ROWS)
                block(c, ROWS, o, y, first);
            if (c->n_out - o == 3)
                block(c, 3, o, y, first);
            else
                for (; o < c->n_out; o++)
                    block(c, 1, o, y, first);
        }
        if (c->columns < BLOCK)
            for (long o = 0; o < c->n_out; o++)
                for (long x = 0; x < c->columns; x++)
                    pixel(c, o, y, x);
    }
}
