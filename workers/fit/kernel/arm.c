/* The arm in training: bits of the latents of one grid, and their gradients by everything they depend on, in one pass.
   Contexts and hidden layers of a few latents at a time stay in the cache. */

#include "lanes.h"

#define MAX_DIM 40
#define MAX_HIDDEN 16
#define MIN_PROBABILITY 0x1p-16f

typedef struct {
    long dim, n_neighbours, n_features, n_hidden; /* dim: neighbours and features, filled up with zeros */
    const long *offsets;  /* [n_neighbours], of each neighbour from a latent, in the padded grid */
    const float *weights; /* [out][in] of each layer, dim outputs of the hidden ones, 2 of the last; then, where there
                             is one, of the linear layer beside them, [2][dim] */
    const float *biases;  /* in the same order */
    long stabilised;      /* whether there is one */
    float least_log_scale;
} training_arm;

typedef struct {
    const float *padded;   /* the latents, rows `stride` long, zeros around them; `origin` is the first one's place */
    const float *features; /* [n_features][height][width], or NULL */
    long height, width, stride, origin;
} training_grid;

typedef struct {
    float *padded;   /* as the latents are; added to */
    float *features; /* as the features are; written */
    float *weights;  /* added to, as biases are: [LANES] partial sums of each */
    float *biases;
} arm_gradients;

/* sums[rows] = matrix x */
INLINE void product(const float *matrix, const int rows, const int dim, const chunk *x, chunk *sums)
{
    for (int o = 0; o < rows; o += 2) {
        chunk total[2] = {0};
        for (int i = 0; i < dim; i++)
            for (int j = 0; j < 2; j++)
                for (int v = 0; v < VECTORS; v++)
                    total[j][v] += matrix[(o + j) * dim + i] * x[i][v];
        for (int j = 0; j < 2; j++)
            for (int v = 0; v < VECTORS; v++)
                sums[o + j][v] = total[j][v];
    }
}

/* sums[dim] += transposed matrix x */
INLINE void transposed_product(const float *matrix, const int rows, const int dim, const chunk *x, chunk *sums)
{
    for (int i = 0; i < dim; i += 2) {
        chunk total[2];
        for (int j = 0; j < 2; j++)
            for (int v = 0; v < VECTORS; v++)
                total[j][v] = sums[i + j][v];
        for (int o = 0; o < rows; o++)
            for (int j = 0; j < 2; j++)
                for (int v = 0; v < VECTORS; v++)
                    total[j][v] += matrix[o * dim + i + j] * x[o][v];
        for (int j = 0; j < 2; j++)
            for (int v = 0; v < VECTORS; v++)
                sums[i + j][v] = total[j][v];
    }
}

/* Gradients of a layer's parameters: of outputs by inputs. */
INLINE void add_outer(const chunk *gradient, const int rows, const int dim, const chunk *x, float *weights, float *biases)
{
    for (int o = 0; o < rows; o++) {
        vec sum = load(biases + o * LANES);
        for (int v = 0; v < VECTORS; v++)
            sum += gradient[o][v];
        store(biases + o * LANES, sum);
        for (int i = 0; i < dim; i++) {
            float *const at = weights + (o * dim + i) * LANES;
            sum = load(at);
            for (int v = 0; v < VECTORS; v++)
                sum += gradient[o][v] * x[i][v];
            store(at, sum);
        }
    }
}

/* Bits of LANES latents, and their derivatives by the latents and the arm's outputs. */
INLINE vec bits_of(vec y, vec mu, vec raw, float least, vec *by_y, vec *by_mu, vec *by_raw)
{
    const vec log_scale = raw - 4.0f;
    const mask free = (log_scale >= all(least)) & (log_scale <= all(5.0f));
    const vec clamped = select_(log_scale < all(least), all(least), select_(log_scale > all(5.0f), all(5.0f), log_scale));
    const vec inverse = exponential(-clamped);
    const vec above = y - mu + 0.5f, below = y - mu - 0.5f;
    const vec e_above = exponential(-absolute(above) * inverse), e_below = exponential(-absolute(below) * inverse);
    /* The tails beyond both ends, each the smaller side of its end. */
    const vec tail = select_(above > all(0), all(1) - 0.5f * e_above, 0.5f * e_above)
                     - select_(below > all(0), all(1) - 0.5f * e_below, 0.5f * e_below);
    const vec same_side = 0.5f * absolute(e_above - e_below);
    const vec p = select_((above > all(0)) == (below > all(0)), same_side, tail);
    const mask cheap = p >= all(MIN_PROBABILITY);
    const vec least_p = select_(cheap, p, all(MIN_PROBABILITY));
    const vec slope = select_(cheap, all(-1.44269504088896341f), all(0)) / least_p;
    const vec density = 0.5f * inverse * (e_above - e_below);
    *by_y = slope * density;
    *by_mu = -*by_y;
    *by_raw = select_(free, slope * (-0.5f * inverse) * (above * e_above - below * e_below), all(0));
    return -logarithm(least_p);
}

INLINE double arm_pass(const training_arm *arm, const int dim, const training_grid *grid, const arm_gradients *gradients)
{
    chunk layers[MAX_HIDDEN + 1][MAX_DIM] = {0}, outputs[2], stable[2] = {0}, back[2][MAX_DIM], by_output[2];
    const long n_hidden = arm->n_hidden, last = n_hidden * dim * dim, beside = last + 2 * dim;
    double total = 0;
    for (long row = 0; row < grid->height; row++) {
        vec bits_of_row = all(0);
        for (long column = 0; column < grid->width; column += CHUNK) {
            const long at = grid->origin + row * grid->stride + column, n = grid->width - column;
            const long in_plane = row * grid->width + column, plane = grid->height * grid->width;
            for (long c = 0; c < arm->n_neighbours; c++)
                for (int v = 0; v < VECTORS; v++)
                    layers[0][c][v] = load(grid->padded + at + arm->offsets[c] + v * LANES);
            for (long f = 0; f < arm->n_features; f++)
                for (int v = 0; v < VECTORS; v++)
                    layers[0][arm->n_neighbours + f][v]
                        = grid->features ? load_first(grid->features + f * plane + in_plane + v * LANES, n - v * LANES)
                                         : all(0);
            for (long l = 0; l < n_hidden; l++) {
                product(arm->weights + l * dim * dim, dim, dim, layers[l], layers[l + 1]);
                for (int o = 0; o < dim; o++)
                    for (int v = 0; v < VECTORS; v++)
                        layers[l + 1][o][v] = relu(layers[l + 1][o][v] + arm->biases[l * dim + o]);
            }
            product(arm->weights + last, 2, dim, layers[n_hidden], outputs);
            if (arm->stabilised)
                product(arm->weights + beside, 2, dim, layers[0], stable);
            vec by_latent[VECTORS];
            for (int v = 0; v < VECTORS; v++) {
                for (int o = 0; o < 2; o++) {
                    outputs[o][v] += arm->biases[n_hidden * dim + o];
                    if (arm->stabilised)
                        outputs[o][v] += stable[o][v] + arm->biases[n_hidden * dim + 2 + o];
                }
                const mask inside = first_lanes(n - v * LANES);
                const vec bits = bits_of(load(grid->padded + at + v * LANES), outputs[0][v], outputs[1][v],
                                         arm->least_log_scale, by_latent + v, &by_output[0][v], &by_output[1][v]);
                bits_of_row += select_(inside, bits, all(0));
                by_latent[v] = select_(inside, by_latent[v], all(0));
                for (int o = 0; o < 2; o++)
                    by_output[o][v] = select_(inside, by_output[o][v], all(0));
            }

            chunk *by_input = back[0];
            memset(by_input, 0, sizeof(chunk) * (size_t)dim);
            add_outer(by_output, 2, dim, layers[n_hidden], gradients->weights + last * LANES,
                      gradients->biases + n_hidden * dim * LANES);
            transposed_product(arm->weights + last, 2, dim, by_output, by_input);
            for (long l = n_hidden - 1; l >= 0; l--) {
                chunk *const by_sum = by_input;
                for (int o = 0; o < dim; o++)
                    for (int v = 0; v < VECTORS; v++)
                        by_sum[o][v] = select_(layers[l + 1][o][v] > all(0), by_sum[o][v], all(0));
                add_outer(by_sum, dim, dim, layers[l], gradients->weights + l * dim * dim * LANES,
                          gradients->biases + l * dim * LANES);
                by_input = by_sum == back[0] ? back[1] : back[0];
                memset(by_input, 0, sizeof(chunk) * (size_t)dim);
                transposed_product(arm->weights + l * dim * dim, dim, dim, by_sum, by_input);
            }
            if (arm->stabilised) {
                add_outer(by_output, 2, dim, layers[0], gradients->weights + beside * LANES,
                          gradients->biases + (n_hidden * dim + 2) * LANES);
                transposed_product(arm->weights + beside, 2, dim, by_output, by_input);
            }
            for (int v = 0; v < VECTORS; v++) {
                float *const here = gradients->padded + at + v * LANES;
                store(here, load(here) + by_latent[v]);
                for (long c = 0; c < arm->n_neighbours; c++) {
                    float *const there = here + arm->offsets[c];
                    store(there, load(there) + by_input[c][v]);
                }
                if (grid->features)
                    for (long f = 0; f < arm->n_features; f++)
                        store_first(gradients->features + f * plane + in_plane + v * LANES,
                                    by_input[arm->n_neighbours + f][v], n - v * LANES);
            }
        }
        for (int l = 0; l < LANES; l++)
            total += bits_of_row[l];
    }
    return total;
}

/* Bits of all latents of a grid; dim is a constant in each case: that unrolls the products. */
double qsweep_train_arm(const training_arm *arm, const training_grid *grid, const arm_gradients *gradients)
{
    switch (arm->dim) {
    case 8: return arm_pass(arm, 8, grid, gradients);
    case 12: return arm_pass(arm, 12, grid, gradients);
    case 14: return arm_pass(arm, 14, grid, gradients);
    case 16: return arm_pass(arm, 16, grid, gradients);
    case 20: return arm_pass(arm, 20, grid, gradients);
    case 24: return arm_pass(arm, 24, grid, gradients);
    case 26: return arm_pass(arm, 26, grid, gradients);
    case 32: return arm_pass(arm, 32, grid, gradients);
    case 40: return arm_pass(arm, 40, grid, gradients);
    }
    return 0;
}

/* Numbers in a vector of this build: partial sums come in so many. */
int qsweep_train_lanes(void) { return LANES; }
