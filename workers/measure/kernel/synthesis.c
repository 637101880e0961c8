/* The synthesis, for many candidates at a time, from its input to the squared errors. Sums are added up in the order in
   which torch's own convolutions do it on a CPU, for inputs that are not small:

   - 1x1 convolutions start with the bias and add channel by channel;
   - larger convolutions add row by row of the kernel, in it tap by tap, in it channel by channel; then the bias. */

#include "lanes.h"

#define VECTORS 4 /* of pixels, and */
#define OUTPUTS 3 /* channels that are computed together: their sums stay in registers */
#define CHUNK (VECTORS * LANES)
#define MAX_CHANNELS 64

typedef struct {
    long n_in, n_out, size, residual, relu;
} layer_shape;

typedef struct {
    long n_layers, n_pointwise, n_candidates, n_biases; /* n_pointwise layers come first, one at least */
    long n_stabilised; /* channels of the input that a 1x1 layer adds to the output, 0 for none */
    long transformed;  /* whether a 1x1 layer ends it all */
    const layer_shape *layers;
    const float *weights; /* layer after layer, [out][in] of a pointwise one, else [ky][kx][in][out]; then what is
                             added to the output, [3][n_stabilised], and what ends it, [3][3] */
    const float *biases;  /* [n_candidates][n_biases], in the same order */
    long share;           /* whether the first product is computed once for all candidates, its bias added last */
} synthesis_block;

typedef struct {
    const float *samples; /* [3][height][width], integers 0 to maximum; a load may reach LANES - 1 beyond them */
    long height, width;
    float maximum;
    long chroma; /* how it is sampled: see below */
} frame_target;

enum { FULL, EVEN, MEAN }; /* of chroma: all samples, every second row and column, means of 2x2 */

typedef struct {
    long top, left, rows, columns;
} rectangle;

INLINE vec finish(vec sum, const layer_shape *layer, const float *residual)
{
    if (layer->residual)
        sum += load(residual);
    return layer->relu ? relu(sum) : sum;
}

/* What comes before a 1x1 layer whose input is not stored: its bias, and its non-linearity. */
typedef struct {
    const float *bias;
    long relu;
} before_layer;

/* n channels of a 1x1 layer; x and out are [channels][CHUNK]. Without biases the sum alone. */
INLINE void pointwise_channels(const layer_shape *layer, const int n, long o, const float *weights, const float *bias,
                               const float *x, const before_layer *before, float *out)
{
    vec sum[OUTPUTS][VECTORS];
    for (int j = 0; j < n; j++)
        for (int v = 0; v < VECTORS; v++)
            sum[j][v] = bias ? all(bias[o + j]) : all(0);
    for (long i = 0; i < layer->n_in; i++)
        for (int v = 0; v < VECTORS; v++) {
            vec xi = load(x + i * CHUNK + v * LANES);
            if (before) {
                xi += before->bias[i];
                xi = before->relu ? relu(xi) : xi;
            }
            for (int j = 0; j < n; j++)
                sum[j][v] += weights[(o + j) * layer->n_in + i] * xi;
        }
    for (int j = 0; j < n; j++)
        for (int v = 0; v < VECTORS; v++) {
            const long at = (o + j) * CHUNK + v * LANES;
            store(out + at, bias ? finish(sum[j][v], layer, x + at) : sum[j][v]);
        }
}

INLINE void pointwise(const layer_shape *layer, const float *weights, const float *bias, const float *x, float *out)
{
    long o = 0;
    for (; o + OUTPUTS <= layer->n_out; o += OUTPUTS)
        pointwise_channels(layer, OUTPUTS, o, weights, bias, x, NULL, out);
    for (; o < layer->n_out; o++)
        pointwise_channels(layer, 1, o, weights, bias, x, NULL, out);
}

/* The first n of CHUNK numbers, n at most CHUNK. */
INLINE void copy_first(float *to, const float *from, long n)
{
    for (long at = 0; at < n; at += LANES)
        if (n - at >= LANES)
            store(to + at, load(from + at));
        else
            memcpy(to + at, from + at, sizeof(float) * (size_t)(n - at));
}

/* The pointwise layers of n pixels side by side, at most CHUNK, for every candidate: into out[candidate][channel]. */
INLINE void pointwise_of(const synthesis_block *block, const float *dense, long dense_plane, long n, float *out,
                         long candidate_stride, long plane)
{
    float x[MAX_CHANNELS * CHUNK] = {0}, buffers[2][MAX_CHANNELS * CHUNK], shared[MAX_CHANNELS * CHUNK];
    const layer_shape *first = block->layers;
    for (long i = 0; i < first->n_in; i++)
        copy_first(x + i * CHUNK, dense + i * dense_plane, n);
    if (block->share)
        pointwise(first, block->weights, NULL, x, shared);
    /* The second layer of a published architecture takes the first one without a store in between. */
    const int fused = block->share && block->n_pointwise > 1 && !first[0].residual && !first[1].residual
                      && first[1].n_out == OUTPUTS;
    for (long k = 0; k < block->n_candidates; k++) {
        const float *weights = block->weights, *bias = block->biases + k * block->n_biases, *in = x;
        float *result = buffers[0];
        for (long l = 0; l < block->n_pointwise; l++) {
            const layer_shape *layer = first + l;
            result = buffers[l % 2];
            if (fused && l == 1) {
                const before_layer before = {bias - first->n_out, first->relu};
                pointwise_channels(layer, OUTPUTS, 0, weights, bias, shared, &before, result);
            } else if (l || !block->share)
                pointwise(layer, weights, bias, in, result);
            else if (!fused)
                for (long c = 0; c < layer->n_out; c++)
                    for (long p = c * CHUNK; p < (c + 1) * CHUNK; p += LANES)
                        store(result + p, finish(load(shared + p) + bias[c], layer, in + p));
            weights += layer->n_out * layer->n_in;
            bias += layer->n_out;
            in = result;
        }
        for (long c = 0; c < first[block->n_pointwise - 1].n_out; c++)
            copy_first(out + k * candidate_stride + c * plane, result + c * CHUNK, n);
    }
}

/* The pointwise layers of a whole frame, `dense` [n_in][n_pixels], into out[n_candidates][n_out][n_pixels]. */
void qsweep_pointwise(const synthesis_block *block, const float *dense, long n_pixels, float *out)
{
    const long n_out = block->layers[block->n_pointwise - 1].n_out;
    for (long at = 0; at < n_pixels; at += CHUNK)
        pointwise_of(block, dense + at, n_pixels, smaller(CHUNK, n_pixels - at), out + at, n_out * n_pixels, n_pixels);
}

/* n channels of a larger layer, CHUNK pixels of a row; x and out point at the first of them. */
INLINE void conv_channels(const layer_shape *layer, const int n, long o,
                          const float *weights, const float *bias, const float *x, float *out, long stride, long plane)
{
    vec sum[OUTPUTS][VECTORS];
    const long pad = layer->size / 2;
    for (int j = 0; j < n; j++)
        for (int v = 0; v < VECTORS; v++)
            sum[j][v] = all(0);
    for (long dy = -pad; dy <= pad; dy++)
        for (long dx = -pad; dx <= pad; dx++)
            for (long i = 0; i < layer->n_in; i++, weights += layer->n_out)
                for (int v = 0; v < VECTORS; v++) {
                    const vec xi = load(x + i * plane + dy * stride + dx + v * LANES);
                    for (int j = 0; j < n; j++)
                        sum[j][v] += weights[o + j] * xi;
                }
    for (int j = 0; j < n; j++)
        for (int v = 0; v < VECTORS; v++) {
            const long at = (o + j) * plane + v * LANES;
            store(out + at, finish(sum[j][v] + bias[o + j], layer, x + at));
        }
}

INLINE void convolution(const layer_shape *layer, const float *weights, const float *bias, const float *x, float *out,
                        long stride, long plane)
{
    long o = 0;
    for (; o + OUTPUTS <= layer->n_out; o += OUTPUTS)
        conv_channels(layer, OUTPUTS, o, weights, bias, x, out, stride, plane);
    for (; o < layer->n_out; o++)
        conv_channels(layer, 1, o, weights, bias, x, out, stride, plane);
}

/* What lies outside the frame repeats its border. `x` stands at the frame's row `from.top` and column `from.left`. */
INLINE void replicate(float *x, long n_channels, long stride, long plane, rectangle from, const frame_target *frame)
{
    const long above = larger(0, -from.top), left = larger(0, -from.left);
    const long bottom = smaller(from.rows, frame->height - from.top);
    const long right = smaller(from.columns, frame->width - from.left);
    for (long c = 0; c < n_channels; c++, x += plane) {
        for (long y = above; y < bottom; y++) {
            for (long column = 0; column < left; column++)
                x[y * stride + column] = x[y * stride + left];
            for (long column = right; column < from.columns; column++)
                x[y * stride + column] = x[y * stride + right - 1];
        }
        for (long y = 0; y < above; y++)
            memcpy(x + y * stride, x + above * stride, sizeof(float) * (size_t)from.columns);
        for (long y = bottom; y < from.rows; y++)
            memcpy(x + y * stride, x + (bottom - 1) * stride, sizeof(float) * (size_t)from.columns);
    }
}

/* Sums of 2x2 samples, one after the other, of which every second one is wanted; the mean is a quarter. */
INLINE vec mean_of_four(const float *x, long stride)
{
    return (((load(x) + load(x + 1)) + load(x + stride)) + load(x + stride + 1)) * 0.25f;
}

/* Sum of squared errors of each plane, into sums[3]. */
INLINE void squared_errors(const frame_target *frame, rectangle tile, const float *decoded, long stride, long plane,
                           double *sums)
{
    /* To add it and take it away again rounds to the nearest integer, ties to even. */
    const float round = 12582912.0f; /* 1.5 * 2^23 */
    vec lane, odd = all(0);
    for (int l = 0; l < LANES; l++) {
        lane[l] = l;
        odd[l] = l % 2;
    }
    for (long c = 0; c < 3; c++) {
        dvec total = {0};
        const long chroma = c ? frame->chroma : FULL;
        /* The last row and column have no mean where they stand alone. */
        const long rows = chroma == MEAN ? tile.rows / 2 * 2 : tile.rows;
        const long columns = chroma == MEAN ? tile.columns / 2 * 2 : tile.columns;
        for (long y = 0; y < rows; y += chroma == FULL ? 1 : 2) {
            const float *target = frame->samples + (c * frame->height + tile.top + y) * frame->width + tile.left;
            const float *x = decoded + c * plane + y * stride;
            vec sum = {0}; /* of as many integers as float32 holds exactly */
            for (long column = 0; column < columns; column += LANES) {
                const vec sample = chroma == MEAN ? mean_of_four(x + column, stride) : load(x + column);
                vec error = (clamp(sample * frame->maximum, 0, frame->maximum) + round) - round;
                error -= load(target + column);
                if (chroma != FULL)
                    error = select_(odd > all(0), all(0), error); /* beyond the tile there may be anything */
                if (column + LANES > columns)
                    error = select_(lane < all(columns - column), error, all(0));
                sum += error * error;
                if (column % CHUNK == CHUNK - LANES) {
                    total += __builtin_convertvector(sum, dvec);
                    sum = all(0);
                }
            }
            total += __builtin_convertvector(sum, dvec);
        }
        sums[c] = 0;
        for (int l = 0; l < LANES; l++)
            sums[c] += total[l];
    }
}

/* What the stabiliser adds, of a tile, without its biases: into [3] planes. */
INLINE void stabilise(const synthesis_block *block, const float *weights, const frame_target *frame, rectangle tile,
                      const float *dense, float *out, long stride, long plane)
{
    const layer_shape shape = {block->n_stabilised, 3, 1, 0, 0};
    float x[MAX_CHANNELS * CHUNK] = {0}, result[3 * CHUNK];
    for (long y = 0; y < tile.rows; y++)
        for (long column = 0; column < tile.columns; column += CHUNK) {
            const long n = smaller(CHUNK, tile.columns - column);
            const float *from = dense + (tile.top + y) * frame->width + tile.left + column;
            for (long i = 0; i < block->n_stabilised; i++)
                copy_first(x + i * CHUNK, from + i * frame->height * frame->width, n);
            pointwise(&shape, weights, NULL, x, result);
            for (long c = 0; c < 3; c++)
                copy_first(out + c * plane + y * stride + column, result + c * CHUNK, CHUNK);
        }
}

/* The output of a tile, in place: the stabiliser added, then transformed. */
INLINE void end_layers(const synthesis_block *block, const float *transform, const float *bias, rectangle tile,
                       const float *stable, float *x, long stride, long plane)
{
    for (long y = 0; y < tile.rows; y++)
        for (long at = y * stride; at < y * stride + tile.columns; at += LANES) {
            vec v[3], out[3];
            for (long c = 0; c < 3; c++) {
                v[c] = load(x + c * plane + at);
                if (block->n_stabilised)
                    v[c] += load(stable + c * plane + at) + bias[c];
            }
            const float *own = bias + (block->n_stabilised ? 3 : 0);
            for (long c = 0; c < 3; c++) {
                out[c] = v[c];
                if (block->transformed)
                    out[c] = ((own[c] + transform[3 * c] * v[0]) + transform[3 * c + 1] * v[1])
                             + transform[3 * c + 2] * v[2];
            }
            for (long c = 0; c < 3; c++)
                store(x + c * plane + at, out[c]);
        }
}

/* Sums of squared errors, in units of 1 / maximum^2, of a tile of the frame, into sums[n_candidates][3]: by plane.

   `dense` is [n_in][height][width]; the tile's first row and column are even. The workspace holds, for every candidate
   and once more, MAX_CHANNELS at most planes of the tile with its margins, rows a multiple of CHUNK wide; with a
   stabiliser 3 planes more. */
void qsweep_synthesis(const synthesis_block *block, const frame_target *frame, const float *dense, rectangle tile,
                      long n_channels, float *workspace, double *sums)
{
    long reach = 0;
    for (long l = block->n_pointwise; l < block->n_layers; l++)
        reach += block->layers[l].size / 2;
    const long n_out = block->layers[block->n_pointwise - 1].n_out;
    const long rows = tile.rows + 2 * reach, columns = tile.columns + 2 * reach;
    const long stride = (columns + CHUNK - 1) / CHUNK * CHUNK, plane = rows * stride + CHUNK;
    const long candidate_stride = n_channels * plane;
    const rectangle all_of_it = {tile.top - reach, tile.left - reach, rows, columns};

    const long left = larger(0, all_of_it.left), right = smaller(frame->width, all_of_it.left + columns);
    const long bottom = smaller(frame->height, all_of_it.top + rows);
    for (long y = larger(0, all_of_it.top); y < bottom; y++)
        for (long x = left; x < right; x += CHUNK)
            pointwise_of(block, dense + y * frame->width + x, frame->height * frame->width, smaller(CHUNK, right - x),
                         workspace + (y - all_of_it.top) * stride + x - all_of_it.left, candidate_stride, plane);

    float *const spare = workspace + block->n_candidates * candidate_stride, *const stable = spare + candidate_stride;
    const float *ending = block->weights;
    for (long l = 0; l < block->n_layers; l++)
        ending += block->layers[l].size * block->layers[l].size * block->layers[l].n_in * block->layers[l].n_out;
    if (block->n_stabilised)
        stabilise(block, ending, frame, tile, dense, stable, stride, plane);
    ending += 3 * block->n_stabilised;
    for (long k = 0; k < block->n_candidates; k++) {
        const float *weights = block->weights, *bias = block->biases + k * block->n_biases;
        float *x = workspace + k * candidate_stride, *out = spare;
        rectangle region = all_of_it;
        for (long l = 0; l < block->n_pointwise; l++) {
            weights += block->layers[l].n_out * block->layers[l].n_in;
            bias += block->layers[l].n_out;
        }
        replicate(x, n_out, stride, plane, region, frame);
        for (long l = block->n_pointwise; l < block->n_layers; l++) {
            const layer_shape *layer = block->layers + l;
            const long pad = layer->size / 2;
            region = (rectangle){region.top + pad, region.left + pad, region.rows - 2 * pad, region.columns - 2 * pad};
            for (long y = 0; y < region.rows; y++)
                for (long column = 0; column < region.columns; column += CHUNK) {
                    const float *from = x + (y + pad) * stride + column + pad;
                    convolution(layer, weights, bias, from, out + y * stride + column, stride, plane);
                }
            replicate(out, layer->n_out, stride, plane, region, frame);
            weights += layer->size * layer->size * layer->n_in * layer->n_out;
            bias += layer->n_out;
            float *swapped = x;
            x = out;
            out = swapped;
        }
        if (block->n_stabilised || block->transformed)
            end_layers(block, ending, bias, tile, stable, x, stride, plane);
        squared_errors(frame, tile, x, stride, plane, sums + 3 * k);
    }
}
