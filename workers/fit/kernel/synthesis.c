/* The synthesis in training: pointwise layers together, from the input to the last one's output and back; larger
   convolutions one by one. */

#include "lanes.h"

#define MAX_CHANNELS 64
#define MAX_POINTWISE 8

typedef struct {
    long n_in, n_out, size, residual, relu;
} layer_shape;

typedef struct {
    long n_layers;
    const layer_shape *layers;
    const float *weights; /* [out][in] of each layer, one after the other */
    const float *biases;
} pointwise_stack;

/* Inputs of every layer, and the output, of one chunk. */
typedef chunk activations[MAX_POINTWISE + 1][MAX_CHANNELS];

INLINE void evaluate(const pointwise_stack *stack, activations x)
{
    const float *weights = stack->weights, *bias = stack->biases;
    for (long l = 0; l < stack->n_layers; l++) {
        const layer_shape *layer = stack->layers + l;
        for (long o = 0; o < layer->n_out; o++, bias++, weights += layer->n_in) {
            chunk sum;
            for (int v = 0; v < VECTORS; v++)
                sum[v] = all(*bias);
            for (long i = 0; i < layer->n_in; i++)
                for (int v = 0; v < VECTORS; v++)
                    sum[v] += weights[i] * x[l][i][v];
            for (int v = 0; v < VECTORS; v++) {
                if (layer->residual)
                    sum[v] += x[l][o][v];
                x[l + 1][o][v] = layer->relu ? relu(sum[v]) : sum[v];
            }
        }
    }
}

INLINE void load_planes(const float *planes, long n_planes, long n_pixels, long at, chunk *x)
{
    for (long i = 0; i < n_planes; i++)
        for (int v = 0; v < VECTORS; v++)
            x[i][v] = load_first(planes + i * n_pixels + at + v * LANES, n_pixels - at - v * LANES);
}

INLINE void store_planes(float *planes, long n_planes, long n_pixels, long at, const chunk *x)
{
    for (long i = 0; i < n_planes; i++)
        for (int v = 0; v < VECTORS; v++)
            store_first(planes + i * n_pixels + at + v * LANES, x[i][v], n_pixels - at - v * LANES);
}

/* [n_in][n_pixels] to [n_out][n_pixels] of the last layer. */
void qsweep_train_pointwise(const pointwise_stack *stack, const float *dense, long n_pixels, float *out)
{
    activations x;
    const long n_out = stack->layers[stack->n_layers - 1].n_out;
    for (long at = 0; at < n_pixels; at += CHUNK) {
        load_planes(dense, stack->layers[0].n_in, n_pixels, at, x[0]);
        evaluate(stack, x);
        store_planes(out, n_out, n_pixels, at, x[stack->n_layers]);
    }
}

/* Gradients of the same: by the input; and by the parameters, added to [LANES] partial sums of each. */
void qsweep_train_pointwise_backward(const pointwise_stack *stack, const float *dense, long n_pixels,
                                     const float *by_out, float *by_dense, float *by_weights, float *by_biases)
{
    activations x;
    chunk back[2][MAX_CHANNELS];
    const long n_out = stack->layers[stack->n_layers - 1].n_out;
    long all_weights = 0, all_biases = 0;
    for (long l = 0; l < stack->n_layers; l++) {
        all_weights += stack->layers[l].n_in * stack->layers[l].n_out;
        all_biases += stack->layers[l].n_out;
    }
    for (long at = 0; at < n_pixels; at += CHUNK) {
        load_planes(dense, stack->layers[0].n_in, n_pixels, at, x[0]);
        evaluate(stack, x);
        chunk *by_sum = back[0], *by_input = back[1];
        load_planes(by_out, n_out, n_pixels, at, by_sum);
        long weights = all_weights, biases = all_biases;
        for (long l = stack->n_layers - 1; l >= 0; l--) {
            const layer_shape *layer = stack->layers + l;
            weights -= layer->n_in * layer->n_out;
            biases -= layer->n_out;
            for (long o = 0; o < layer->n_out; o++) {
                float *const to = by_biases + (biases + o) * LANES;
                vec sum = load(to);
                for (int v = 0; v < VECTORS; v++) {
                    if (layer->relu)
                        by_sum[o][v] = select_(x[l + 1][o][v] > all(0), by_sum[o][v], all(0));
                    sum += by_sum[o][v];
                }
                store(to, sum);
            }
            for (long i = 0; i < layer->n_in; i++) {
                chunk total;
                for (int v = 0; v < VECTORS; v++)
                    total[v] = layer->residual ? by_sum[i][v] : all(0);
                for (long o = 0; o < layer->n_out; o++) {
                    const long place = weights + o * layer->n_in + i;
                    vec sum = load(by_weights + place * LANES);
                    for (int v = 0; v < VECTORS; v++) {
                        total[v] += stack->weights[place] * by_sum[o][v];
                        sum += by_sum[o][v] * x[l][i][v];
                    }
                    store(by_weights + place * LANES, sum);
                }
                for (int v = 0; v < VECTORS; v++)
                    by_input[i][v] = total[v];
            }
            chunk *const swapped = by_sum;
            by_sum = by_input;
            by_input = swapped;
        }
        store_planes(by_dense, stack->layers[0].n_in, n_pixels, at, by_sum);
    }
}

/* A convolution of a picture. Padded planes are [n_in][height + 2 pad][width + 2 pad], CHUNK numbers more behind them. */
typedef struct {
    layer_shape shape;
    long height, width;
    const float *weights; /* [out][in][size][size] */
    const float *bias;
} convolution;

INLINE long clamped(long at, long n) { return at < 0 ? 0 : at >= n ? n - 1 : at; }

/* Replicates the borders of [n_in][height][width]. */
INLINE void pad_planes(const convolution *layer, const float *x, float *padded)
{
    const long pad = layer->shape.size / 2, stride = layer->width + 2 * pad;
    for (long c = 0; c < layer->shape.n_in; c++)
        for (long y = -pad; y < layer->height + pad; y++, padded += stride) {
            const float *row = x + (c * layer->height + clamped(y, layer->height)) * layer->width;
            memcpy(padded + pad, row, sizeof(float) * (size_t)layer->width);
            for (long i = 0; i < pad; i++) {
                padded[i] = row[0];
                padded[pad + layer->width + i] = row[layer->width - 1];
            }
        }
    memset(padded, 0, sizeof(float) * CHUNK);
}

/* [n_in][height][width] to [n_out][height][width]; the padded input is kept for the way back. */
void qsweep_train_convolution(const convolution *layer, const float *x, float *padded, float *out)
{
    const layer_shape *shape = &layer->shape;
    const long size = shape->size, pad = size / 2, stride = layer->width + 2 * pad;
    const long plane = stride * (layer->height + 2 * pad), n_pixels = layer->height * layer->width;
    pad_planes(layer, x, padded);
    for (long y = 0; y < layer->height; y++)
        for (long column = 0; column < layer->width; column += CHUNK)
            for (long o = 0; o < shape->n_out; o++) {
                const float *weights = layer->weights + o * shape->n_in * size * size;
                const long at = o * n_pixels + y * layer->width + column;
                chunk sum;
                for (int v = 0; v < VECTORS; v++)
                    sum[v] = all(layer->bias[o]);
                for (long i = 0; i < shape->n_in; i++)
                    for (long dy = 0; dy < size; dy++)
                        for (long dx = 0; dx < size; dx++, weights++)
                            for (int v = 0; v < VECTORS; v++)
                                sum[v] += *weights
                                          * load(padded + i * plane + (y + dy) * stride + column + dx + v * LANES);
                for (int v = 0; v < VECTORS; v++) {
                    if (shape->residual)
                        sum[v] += load(padded + o * plane + (y + pad) * stride + column + pad + v * LANES);
                    store_first(out + at + v * LANES, shape->relu ? relu(sum[v]) : sum[v],
                                layer->width - column - v * LANES);
                }
            }
}

/* Adds what the borders of a padded gradient stand for to the gradient itself. */
INLINE void fold_planes(const convolution *layer, const float *by_padded, float *by_x)
{
    const long pad = layer->shape.size / 2, stride = layer->width + 2 * pad;
    memset(by_x, 0, sizeof(float) * (size_t)(layer->shape.n_in * layer->height * layer->width));
    for (long c = 0; c < layer->shape.n_in; c++)
        for (long y = -pad; y < layer->height + pad; y++, by_padded += stride) {
            float *row = by_x + (c * layer->height + clamped(y, layer->height)) * layer->width;
            for (long i = 0; i < pad; i++) {
                row[0] += by_padded[i];
                row[layer->width - 1] += by_padded[pad + layer->width + i];
            }
            for (long column = 0; column < layer->width; column++)
                row[column] += by_padded[pad + column];
        }
}

/* Gradients of the same: by the input, with a workspace as large as the padded input; and by the parameters, added to
   [LANES] partial sums of each. */
void qsweep_train_convolution_backward(const convolution *layer, const float *padded, const float *out,
                                       const float *by_out, float *workspace, float *by_x, float *by_weights,
                                       float *by_bias)
{
    const layer_shape *shape = &layer->shape;
    const long size = shape->size, pad = size / 2, stride = layer->width + 2 * pad;
    const long plane = stride * (layer->height + 2 * pad), n_pixels = layer->height * layer->width;
    chunk by_sum[MAX_CHANNELS];
    memset(workspace, 0, sizeof(float) * (size_t)(shape->n_in * plane + CHUNK));
    for (long y = 0; y < layer->height; y++)
        for (long column = 0; column < layer->width; column += CHUNK) {
            for (long o = 0; o < shape->n_out; o++) {
                const long at = o * n_pixels + y * layer->width + column;
                vec sum = load(by_bias + o * LANES);
                for (int v = 0; v < VECTORS; v++) {
                    const long n = layer->width - column - v * LANES;
                    by_sum[o][v] = load_first(by_out + at + v * LANES, n);
                    if (shape->relu)
                        by_sum[o][v] = select_(load_first(out + at + v * LANES, n) > all(0), by_sum[o][v], all(0));
                    sum += by_sum[o][v];
                    if (shape->residual) {
                        float *to = workspace + o * plane + (y + pad) * stride + column + pad + v * LANES;
                        store(to, load(to) + by_sum[o][v]);
                    }
                }
                store(by_bias + o * LANES, sum);
            }
            for (long i = 0; i < shape->n_in; i++)
                for (long dy = 0; dy < size; dy++)
                    for (long dx = 0; dx < size; dx++) {
                        const long there = i * plane + (y + dy) * stride + column + dx;
                        chunk x, total;
                        for (int v = 0; v < VECTORS; v++) {
                            x[v] = load(padded + there + v * LANES);
                            total[v] = load(workspace + there + v * LANES);
                        }
                        for (long o = 0; o < shape->n_out; o++) {
                            const long place = ((o * shape->n_in + i) * size + dy) * size + dx;
                            vec sum = load(by_weights + place * LANES);
                            for (int v = 0; v < VECTORS; v++) {
                                total[v] += layer->weights[place] * by_sum[o][v];
                                sum += by_sum[o][v] * x[v];
                            }
                            store(by_weights + place * LANES, sum);
                        }
                        for (int v = 0; v < VECTORS; v++)
                            store(workspace + there + v * LANES, total[v]);
                    }
        }
    fold_planes(layer, workspace, by_x);
}
