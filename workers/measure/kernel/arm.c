/* The arm, for many candidates at a time, and the bits of the latents. Matrix products add input by input; then the bias,
   then the residual: so do torch's, for all layers but the last. Exponentials and logarithms are left to torch, which is
   called in between: where weights are few integers, thousands of latents have the same probability, and it matters to
   the last digit. */

#include "lanes.h"

#define MAX_DIM 40
#define ROWS 4 /* of a matrix, and */
#if defined(__AVX512F__)
#define VECTORS 4 /* of latents at a time: their sums stay in registers */
#else
#define VECTORS 2
#endif
#define CHUNK (VECTORS * LANES)

typedef vec chunk[VECTORS];

typedef struct {
    long dim, n_spatial, n_hidden, n_candidates; /* dim is a multiple of ROWS: what is beyond the context is 0 */
    const long *offsets;      /* [n_spatial], of each neighbour from a latent, in its padded grid */
    const float *weights;     /* layer after layer, [out][in] each: the candidates share them */
    const float *stabiliser;  /* [2][dim], or NULL */
    const float *biases;      /* [n_candidates][n_hidden * dim + 2], with a stabiliser 2 more */
    long n_features, n_inputs; /* the context goes on with features: a linear layer of inputs, or 0 */
    const float *feature_weights; /* [n_features][n_inputs], or NULL */
    const float *feature_biases;  /* [n_features] */
    float least_log_scale;
} arm_block;

typedef struct {
    const float *padded; /* the grid, zeros around it */
    const float *inputs; /* [n_inputs][n_coarse], of the features; NULL for a grid that has none */
    long n_coarse;
} arm_grid;

typedef struct {
    const long *positions; /* [n], in the padded grid */
    const int *coarse;     /* [n], in the inputs */
    long n;
} arm_latents;

/* A few rows of a matrix at a time, for the sums not to wait for each other. */
INLINE void product(const float *rows, const int n_rows, const chunk *x, const int n, chunk *sum)
{
    chunk total[ROWS];
    for (int j = 0; j < n_rows; j++)
        for (int v = 0; v < VECTORS; v++)
            total[j][v] = rows[j * n] * x[0][v];
    for (int i = 1; i < n; i++)
        for (int j = 0; j < n_rows; j++)
            for (int v = 0; v < VECTORS; v++)
                total[j][v] += rows[j * n + i] * x[i][v];
    for (int j = 0; j < n_rows; j++)
        for (int v = 0; v < VECTORS; v++)
            sum[j][v] = total[j][v];
}

INLINE vec gather(const float *from, const long *at)
{
    vec x;
    for (int l = 0; l < LANES; l++)
        x[l] = from[at[l]];
    return x;
}

/* Features of LANES latents, n of them at least 1, from the inputs at the places that lie under them. */
INLINE void features(const arm_block *block, const arm_grid *grid, const int *coarse, long n, int v, chunk *out)
{
    vec x = all(0);
    for (long f = 0; f < block->n_features; f++)
        out[f][v] = grid->inputs ? all(block->feature_biases[f]) : all(0);
    if (!grid->inputs)
        return;
    for (long i = 0; i < block->n_inputs; i++) {
        for (int l = 0; l < LANES; l++)
            x[l] = grid->inputs[i * grid->n_coarse + coarse[smaller(l, n - 1)]];
        for (long f = 0; f < block->n_features; f++)
            out[f][v] += block->feature_weights[f * block->n_inputs + i] * x;
    }
}

/* Contexts of CHUNK latents from the first-th on; beyond the last one it is repeated. */
INLINE void contexts(const arm_block *block, const arm_grid *grid, const arm_latents *latents, long first, chunk *out)
{
    for (int v = 0; v < VECTORS; v++) {
        const long start = smaller(first + v * LANES, latents->n - 1);
        long at[LANES];
        int side_by_side = 1;
        for (int l = 0; l < LANES; l++) {
            at[l] = latents->positions[smaller(start + l, latents->n - 1)];
            side_by_side &= at[l] == at[0] + l;
        }
        for (long c = 0; c < block->n_spatial; c++)
            out[c][v] = side_by_side ? load(grid->padded + at[0] + block->offsets[c])
                                     : gather(grid->padded + block->offsets[c], at);
        if (block->n_features)
            features(block, grid, latents->coarse + start, latents->n - start, v, out + block->n_spatial);
    }
}

/* dim is a constant wherever this is called: that unrolls the products. */
INLINE void arm_outputs(const arm_block *block, const int dim, const arm_grid *grid, const arm_latents *latents,
                        float *out)
{
    const long n = latents->n, n_biases = block->n_hidden * dim + (block->stabiliser ? 4 : 2);
    chunk context[MAX_DIM] = {0}, shared[MAX_DIM], stable[2] = {0}, buffers[2][MAX_DIM], outputs[2];
    for (long first = 0; first < n; first += CHUNK) {
        contexts(block, grid, latents, first, context);
        if (block->n_hidden)
            for (int o = 0; o < dim; o += ROWS)
                product(block->weights + o * dim, ROWS, context, dim, shared + o);
        if (block->stabiliser)
            product(block->stabiliser, 2, context, dim, stable);
        for (long k = 0; k < block->n_candidates; k++) {
            const float *weights = block->weights, *bias = block->biases + k * n_biases;
            const chunk *h = context;
            for (long layer = 0; layer < block->n_hidden; layer++) {
                chunk *const next = buffers[layer % 2];
                for (int o = 0; o < dim; o += ROWS) {
                    chunk sum[ROWS];
                    if (layer)
                        product(weights + o * dim, ROWS, h, dim, sum);
                    for (int j = 0; j < ROWS; j++)
                        for (int v = 0; v < VECTORS; v++)
                            next[o + j][v] = relu((layer ? sum[j][v] : shared[o + j][v]) + bias[o + j] + h[o + j][v]);
                }
                h = next;
                weights += dim * dim;
                bias += dim;
            }
            product(weights, 2, h, dim, outputs);
            for (int v = 0; v < VECTORS && first + v * LANES < n; v++)
                for (int o = 0; o < 2; o++) {
                    vec result = outputs[o][v] + bias[o];
                    if (block->stabiliser)
                        result += stable[o][v] + bias[2 + o];
                    if (o)
                        result = clamp(result - 4, block->least_log_scale, 5.0f);
                    const long at = first + v * LANES;
                    store_first(out + (o * block->n_candidates + k) * n + at, result, n - at);
                }
        }
    }
}

/* Expectation and logarithm of the scale, [2][n_candidates][n], of some latents of a grid. */
void qsweep_arm(const arm_block *block, const arm_grid *grid, const arm_latents *latents, float *out)
{
    switch (block->dim) {
    case 8: arm_outputs(block, 8, grid, latents, out); break;
    case 12: arm_outputs(block, 12, grid, latents, out); break;
    case 16: arm_outputs(block, 16, grid, latents, out); break;
    case 20: arm_outputs(block, 20, grid, latents, out); break;
    case 24: arm_outputs(block, 24, grid, latents, out); break;
    case 28: arm_outputs(block, 28, grid, latents, out); break;
    case 32: arm_outputs(block, 32, grid, latents, out); break;
    case 40: arm_outputs(block, 40, grid, latents, out); break;
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
