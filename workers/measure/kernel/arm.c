/* The arm, for many candidates at a time, and the bits of the latents. Matrix products add input by input; then the bias,
   then the residual: so do torch's, for all layers but the last. Exponentials and logarithms are left to torch, which is
   called in between: where weights are few integers, thousands of latents have the same probability, and it matters to
   the last digit. */

#include "lanes.h"

#define MAX_DIM 32
#define ROWS 2 /* of a matrix at a time: more did not stay in registers */

typedef struct {
    long dim, n_hidden, n_candidates;
    const long *offsets;  /* [dim], of each neighbour from a latent, in its padded grid */
    const float *weights; /* layer after layer, [out][in] each: the candidates share them */
    const float *biases;  /* [n_candidates][n_hidden * dim + 2] */
} arm_block;

/* A few rows of a matrix at a time, for the sums not to wait for each other. */
INLINE void product(const float *rows, const int n_rows, const vec *x, const int n, vec *sum)
{
    for (int j = 0; j < n_rows; j++)
        sum[j] = rows[j * n] * x[0];
    for (int i = 1; i < n; i++)
        for (int j = 0; j < n_rows; j++)
            sum[j] += rows[j * n + i] * x[i];
}

INLINE vec gather(const float *from, const long *at)
{
    vec x;
    for (int l = 0; l < LANES; l++)
        x[l] = from[at[l]];
    return x;
}

/* dim is a constant wherever this is called: that unrolls the products. */
INLINE void arm_outputs(const arm_block *block, const int dim, const float *padded, const long *positions, long n,
                        float *out)
{
    const long n_biases = block->n_hidden * dim + 2;
    for (long first = 0; first < n; first += LANES) {
        vec context[MAX_DIM], shared[MAX_DIM] = {0}, h[MAX_DIM], next[MAX_DIM];
        long at[LANES];
        int side_by_side = 1;
        for (int l = 0; l < LANES; l++) {
            at[l] = positions[smaller(first + l, n - 1)];
            side_by_side &= at[l] == at[0] + l;
        }
        for (int c = 0; c < dim; c++)
            context[c] = side_by_side ? load(padded + at[0] + block->offsets[c])
                                      : gather(padded + block->offsets[c], at);
        if (block->n_hidden)
            for (int o = 0; o < dim; o += ROWS)
                product(block->weights + o * dim, ROWS, context, dim, shared + o);
        for (long k = 0; k < block->n_candidates; k++) {
            const float *weights = block->weights, *bias = block->biases + k * n_biases;
            for (int c = 0; c < dim; c++)
                h[c] = context[c];
            for (long layer = 0; layer < block->n_hidden; layer++) {
                if (layer)
                    for (int o = 0; o < dim; o += ROWS)
                        product(weights + o * dim, ROWS, h, dim, next + o);
                for (int o = 0; o < dim; o++)
                    next[o] = relu((layer ? next[o] : shared[o]) + bias[o] + h[o]);
                for (int o = 0; o < dim; o++)
                    h[o] = next[o];
                weights += dim * dim;
                bias += dim;
            }
            vec outputs[2];
            product(weights, 2, h, dim, outputs);
            outputs[0] = outputs[0] + bias[0];
            outputs[1] = clamp(outputs[1] + bias[1] - 4, -4.6f, 5.0f);
            for (int o = 0; o < 2; o++)
                store_first(out + (o * block->n_candidates + k) * n + first, outputs[o], n - first);
        }
    }
}

/* Expectation and logarithm of the scale, [2][n_candidates][n], of the latents at n positions of a padded grid. */
void qsweep_arm(const arm_block *block, const float *padded, const long *positions, long n, float *out)
{
    switch (block->dim) {
    case 8: arm_outputs(block, 8, padded, positions, n, out); break;
    case 16: arm_outputs(block, 16, padded, positions, n, out); break;
    case 24: arm_outputs(block, 24, padded, positions, n, out); break;
    case 32: arm_outputs(block, 32, padded, positions, n, out); break;
    }
}

/* Arguments of the Laplace cdf's expm1 at both ends of the latents' intervals, [2][n_candidates][n_latents]. */
void qsweep_laplace(long n_candidates, long n_latents, const float *latents, const float *mu, const float *scale,
                    float *arguments)
{
    for (long end = 0; end < 2; end++)
        for (long k = 0; k < n_candidates; k++)
            for (long i = 0; i < n_latents; i++) {
                const long at = k * n_latents + i;
                const float shifted = latents[i] + (end ? 0.5f : -0.5f) - mu[at];
                arguments[end * n_candidates * n_latents + at] = -__builtin_fabsf(shifted) / scale[at];
            }
}

/* Probabilities of the latents, 2^-16 at least, from the expm1 of these arguments; four of them multiplied into each of
   [n_candidates][ceil(n_latents / 4)]. */
void qsweep_probability(long n_candidates, long n_latents, const float *latents, const float *mu, const float *expm1,
                        float *products)
{
    const long n_products = (n_latents + 3) / 4;
    for (long k = 0; k < n_candidates; k++) {
        float *const product = products + k * n_products;
        for (long i = 0; i < n_products; i++)
            product[i] = 1;
        for (long first = 0; first < n_latents; first += n_products)
            for (long i = 0; i < smaller(n_products, n_latents - first); i++) {
                const long at = k * n_latents + first + i;
                float cdf[2];
                for (int end = 0; end < 2; end++) {
                    const float shifted = latents[first + i] + (end ? 0.5f : -0.5f) - mu[at];
                    const float sign = shifted > 0 ? 0.5f : shifted < 0 ? -0.5f : 0.0f;
                    cdf[end] = 0.5f - sign * expm1[end * n_candidates * n_latents + at];
                }
                const float probability = cdf[1] - cdf[0];
                product[i] *= probability < 0x1p-16f ? 0x1p-16f : probability;
            }
    }
}
