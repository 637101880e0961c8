/* Moves of the networks that give the picture: the convolutions of a synthesis, after them a 1x1 convolution of the
   input that is added, and one of the output.

   Planes are kept of the sums and activations of every layer. A move changes one sum of one layer and what follows from
   it. All layers advance through the frame together, row by row, so that what one wrote is still in the cache when the
   next one reads it. */

#include "moves.h"

static inline double fixed(double x) { return to_multiple(x, 1048576.0); }

#define MARGIN 16 /* columns on either side of a row, which repeat its first and last sample */
#define MAX_LAYERS 16

struct convolution {
    long n_in, n_out, size, residual, relu;
    long weight, bias; /* places among the parameters */
};

struct picture_network {
    long n_layers, n_latents, n_outputs;
    const struct convolution *layers;
    long stabiliser_weight, stabiliser_bias; /* -1 where there is none */
    long transform_weight, transform_bias;
};

/* A plane is `height` rows of `stride` numbers, MARGIN of them before the first sample. */
struct picture_frame {
    long height, width, stride;
    double maximum;
    long chroma; /* 0: of full size; 1: every second row and column; 2: means of 2x2 samples; -1: output is written */
    const double *samples; /* [3][height][width], integers; chroma in the places that it is compared at */
};

struct picture_state {
    double *activations[MAX_LAYERS + 1]; /* planes; the first ones are the input */
    double *sums[MAX_LAYERS + 1];        /* planes; the first ones are of the stabiliser */
};

struct pass {
    const struct picture_network *net;
    const struct picture_frame *frame;
    const struct picture_state *state;
    const double *params;
    const struct change *changes;
    long n_changes;
    int commit;
    long count[MAX_LAYERS + 1];     /* activations that change */
    long *list[MAX_LAYERS + 1];     /* which */
    long *place[MAX_LAYERS + 1];    /* place of each in the list, or -1 */
    double *deltas[MAX_LAYERS + 1]; /* rows of what changes, `rows` of each activation in the list */
    long rows[MAX_LAYERS + 1];
    double *work; /* rows: a sum, outputs */
};

static inline double *row_of(double *planes, const struct picture_frame *frame, long channel, long row)
{
    return planes + (channel * frame->height + row) * frame->stride + MARGIN;
}

static inline double *delta_row(const struct pass *pass, long layer, long place, long row)
{
    const long rows = pass->rows[layer];
    return pass->deltas[layer] + (place * rows + row % rows) * pass->frame->stride + MARGIN;
}

static inline long inside(long row, long height) { return row < 0 ? 0 : row >= height ? height - 1 : row; }

static void fill_margins(double *row, long width)
{
    for (long x = 1; x <= MARGIN; x++)
        row[-x] = row[0];
    const long end = MARGIN;
    for (long x = 0; x < end; x++)
        row[width + x] = row[width - 1];
}

static void convolve_row(double *restrict sum, const double *weights, const double *restrict from, long size, long n)
{
    if (size == 1)
        add_scaled(sum, weights[0], from, n);
    else if (size == 3) {
        const double a = weights[0], b = weights[1], c = weights[2];
        for (long x = 0; x < n; x++)
            sum[x] += (a * from[x - 1] + b * from[x]) + c * from[x + 1];
    } else
        for (long tap = 0; tap < size; tap++)
            add_scaled(sum, weights[tap], from + tap - size / 2, n);
}

/* Three rows of a 3x3 kernel at a time: the usual case by far. */
static void convolve_3(double *restrict sum, const double *w, const double *restrict a, const double *restrict b,
                       const double *restrict c, long n)
{
    const double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3], w4 = w[4], w5 = w[5], w6 = w[6], w7 = w[7], w8 = w[8];
    for (long x = 0; x < n; x++)
        sum[x] += ((w0 * a[x - 1] + w1 * a[x] + w2 * a[x + 1]) + (w3 * b[x - 1] + w4 * b[x] + w5 * b[x + 1])) +
                  (w6 * c[x - 1] + w7 * c[x] + w8 * c[x + 1]);
}

static int is_changed(const struct pass *pass, long layer, long out)
{
    for (long i = 0; i < pass->n_changes; i++)
        if (pass->changes[i].layer == layer && (out < 0 || pass->changes[i].out == out))
            return 1;
    return 0;
}

/* What changes of a layer's own parameters make of one row of one sum. */
static void add_changed(const struct pass *pass, double *sum, long layer, long out, long row, double *planes, long size)
{
    for (long i = 0; i < pass->n_changes; i++) {
        const struct change *change = pass->changes + i;
        if (change->layer != layer || change->out != out || change->in < 0)
            continue;
        const long from = inside(row + change->tap / size - size / 2, pass->frame->height);
        add_scaled(sum, change->delta, row_of(planes, pass->frame, change->in, from) + change->tap % size - size / 2,
                   pass->frame->width);
    }
}

/* What changes of the input make of one row of one sum. */
static void add_convolved(const struct pass *pass, double *sum, const double *weights, long in_layer, long size,
                          long row)
{
    const long width = pass->frame->width, height = pass->frame->height, pad = size / 2;
    long j = 0;
    if (size == 1)
        for (; j + 4 <= pass->count[in_layer]; j += 4) {
            const long *list = pass->list[in_layer] + j;
            const double factors[4] = {weights[list[0]], weights[list[1]], weights[list[2]], weights[list[3]]};
            add_scaled_4(sum, factors, delta_row(pass, in_layer, j, row), delta_row(pass, in_layer, j + 1, row),
                         delta_row(pass, in_layer, j + 2, row), delta_row(pass, in_layer, j + 3, row), width);
        }
    for (; j < pass->count[in_layer]; j++) {
        const double *kernel = weights + pass->list[in_layer][j] * size * size;
        if (size == 3)
            convolve_3(sum, kernel, delta_row(pass, in_layer, j, inside(row - 1, height)),
                       delta_row(pass, in_layer, j, row), delta_row(pass, in_layer, j, inside(row + 1, height)), width);
        else
            for (long tap = 0; tap < size; tap++)
                convolve_row(sum, kernel + tap * size, delta_row(pass, in_layer, j, inside(row + tap - pad, height)),
                             size, width);
    }
}

/* One row of one layer, numbered from 1. */
static void layer_row(const struct pass *pass, long layer, long row)
{
    const struct picture_frame *frame = pass->frame;
    const struct convolution *conv = pass->net->layers + layer - 1;
    const long width = frame->width, kernel = conv->n_in * conv->size * conv->size;
    for (long place = 0; place < pass->count[layer]; place++) {
        const long o = pass->list[layer][place];
        double *kept = row_of(pass->state->sums[layer], frame, o, row), *sum = pass->commit ? kept : pass->work;
        if (!pass->commit)
            memcpy(sum, kept, sizeof(double) * (size_t)width);
        add_changed(pass, sum, layer, o, row, pass->state->activations[layer - 1], conv->size);
        add_convolved(pass, sum, pass->params + conv->weight + o * kernel, layer - 1, conv->size, row);
        const double bias = pass->params[conv->bias + o], *old = row_of(pass->state->activations[layer], frame, o, row);
        double *delta = delta_row(pass, layer, place, row);
        if (conv->residual) {
            const double *own = row_of(pass->state->activations[layer - 1], frame, o, row);
            const long listed = pass->place[layer - 1][o];
            if (listed >= 0) {
                const double *more = delta_row(pass, layer - 1, listed, row);
                for (long x = 0; x < width; x++)
                    delta[x] = (sum[x] + bias) + (own[x] + more[x]);
            } else
                for (long x = 0; x < width; x++)
                    delta[x] = (sum[x] + bias) + own[x];
        } else
            for (long x = 0; x < width; x++)
                delta[x] = sum[x] + bias;
        if (conv->relu)
            for (long x = 0; x < width; x++)
                delta[x] = delta[x] > 0 ? delta[x] : 0;
        for (long x = 0; x < width; x++)
            delta[x] = fixed(delta[x]) - old[x];
        fill_margins(delta, width);
    }
}

/* Outputs of one row, before they are rounded to samples: [n_outputs] rows of `stride`. */
static void output_row(const struct pass *pass, long row, double *outputs)
{
    const struct picture_network *net = pass->net;
    const struct picture_frame *frame = pass->frame;
    const long width = frame->width, last = net->n_layers;
    double *image = net->transform_weight < 0 ? outputs : pass->work + frame->stride;
    for (long o = 0; o < net->n_outputs; o++) {
        double *to = image + o * frame->stride;
        memcpy(to, row_of(pass->state->activations[last], frame, o, row), sizeof(double) * (size_t)width);
        if (pass->place[last][o] >= 0)
            add_scaled(to, 1.0, delta_row(pass, last, pass->place[last][o], row), width);
        if (net->stabiliser_weight < 0)
            continue;
        double *kept = row_of(pass->state->sums[0], frame, o, row), *sum = pass->commit ? kept : pass->work;
        if (!pass->commit)
            memcpy(sum, kept, sizeof(double) * (size_t)width);
        add_changed(pass, sum, last + 1, o, row, pass->state->activations[0], 1);
        for (long j = 0; j < pass->count[0]; j++)
            if (pass->list[0][j] < net->n_latents)
                add_scaled(sum, pass->params[net->stabiliser_weight + o * net->n_latents + pass->list[0][j]],
                           delta_row(pass, 0, j, row), width);
        const double bias = pass->params[net->stabiliser_bias + o];
        for (long x = 0; x < width; x++)
            to[x] = fixed(to[x] + (sum[x] + bias));
    }
    if (net->transform_weight < 0)
        return;
    for (long o = 0; o < net->n_outputs; o++) {
        double *to = outputs + o * frame->stride;
        memset(to, 0, sizeof(double) * (size_t)width);
        for (long i = 0; i < net->n_outputs; i++)
            add_scaled(to, pass->params[net->transform_weight + o * net->n_outputs + i], image + i * frame->stride,
                       width);
        const double bias = pass->params[net->transform_bias + o];
        for (long x = 0; x < width; x++)
            to[x] = fixed(to[x] + bias);
    }
}

static inline double sample(double x, double maximum)
{
    const double magic = 6755399441055744.0;
    x = (x * maximum + magic) - magic;
    x = x > maximum ? maximum : x;
    return x < 0 ? 0 : x;
}

static double squared_error(const double *out, const double *target, double maximum, long width, long step)
{
    double totals[8] = {0}, total = 0; /* exact in any order */
    long x = 0;
    if (step == 1)
        for (; x + 8 <= width; x += 8)
            for (long i = 0; i < 8; i++) {
                const double error = sample(out[x + i], maximum) - target[x + i];
                totals[i] += error * error;
            }
    for (; x < width; x += step) {
        const double error = sample(out[x], maximum) - target[x];
        total += error * error;
    }
    for (long i = 0; i < 8; i++)
        total += totals[i];
    return total;
}

static double mean_error(const double *upper, const double *lower, const double *target, double maximum, long width)
{
    double total = 0;
    for (long x = 0; x + 1 < width; x += 2) {
        const double mean = ((upper[x] + upper[x + 1]) + (lower[x] + lower[x + 1])) * 0.25;
        const double error = sample(mean, maximum) - target[x];
        total += error * error;
    }
    return total;
}

/* Squared error that the outputs of one row complete. */
static double row_error(const struct picture_frame *frame, long row, const double *outputs, const double *before)
{
    const long size = frame->height * frame->width;
    const double *target = frame->samples + row * frame->width;
    double total = squared_error(outputs, target, frame->maximum, frame->width, 1);
    for (long c = 1; c < 3; c++) {
        const double *out = outputs + c * frame->stride;
        if (frame->chroma == 0)
            total += squared_error(out, target + c * size, frame->maximum, frame->width, 1);
        else if (frame->chroma == 1 && row % 2 == 0)
            total += squared_error(out, target + c * size, frame->maximum, frame->width, 2);
        else if (frame->chroma == 2 && row % 2 == 1)
            total += mean_error(before + c * frame->stride, out, target + c * size - frame->width, frame->maximum,
                                frame->width);
    }
    return total;
}

/* Which activations change: those that a change names, and all that read one that changes. */
static void find_changed(struct pass *pass, int fresh, long n_inputs)
{
    for (long layer = 0; layer <= pass->net->n_layers; layer++) {
        const long n = layer ? pass->net->layers[layer - 1].n_out : n_inputs;
        const int all = layer ? pass->count[layer - 1] > 0 : fresh;
        pass->count[layer] = 0;
        for (long o = 0; o < n; o++) {
            pass->place[layer][o] = -1;
            if (all || (layer && is_changed(pass, layer, o))) {
                pass->place[layer][o] = pass->count[layer];
                pass->list[layer][pass->count[layer]++] = o;
            }
        }
    }
}

/* One pass over some rows of the frame; the squared error in them. */
static double run(struct pass *pass, long first, long end, double *written)
{
    const struct picture_network *net = pass->net;
    const struct picture_frame *frame = pass->frame;
    long lag[MAX_LAYERS + 1] = {0};
    for (long layer = 1; layer <= net->n_layers; layer++)
        lag[layer] = lag[layer - 1] + net->layers[layer - 1].size / 2;
    const long total_lag = lag[net->n_layers];
    double *outputs = pass->work + (1 + net->n_outputs) * frame->stride, total = 0;
    for (long t = at_least(first - total_lag, 0); t < end + total_lag; t++) {
        for (long layer = 1; layer <= net->n_layers; layer++) {
            const long row = t - lag[layer], ahead = total_lag - lag[layer];
            if (row >= at_least(first - ahead, 0) && row < at_most(end + ahead, frame->height))
                layer_row(pass, layer, row);
        }
        const long row = t - total_lag;
        if (row < first || row >= end)
            continue;
        double *out = outputs + (row % 2) * net->n_outputs * frame->stride;
        output_row(pass, row, out);
        if (written)
            for (long o = 0; o < net->n_outputs; o++)
                memcpy(written + (o * frame->height + row) * frame->width, out + o * frame->stride,
                       sizeof(double) * (size_t)frame->width);
        else
            total += row_error(frame, row, out, outputs + (1 - row % 2) * net->n_outputs * frame->stride);
    }
    return total;
}

static void store(const struct pass *pass)
{
    const struct picture_frame *frame = pass->frame;
    for (long layer = 1; layer <= pass->net->n_layers; layer++)
        for (long place = 0; place < pass->count[layer]; place++)
            for (long row = 0; row < frame->height; row++) {
                double *to = row_of(pass->state->activations[layer], frame, pass->list[layer][place], row);
                add_scaled(to, 1.0, delta_row(pass, layer, place, row), frame->width);
                fill_margins(to, frame->width);
            }
}

static void release(struct pass *pass)
{
    for (long layer = 0; layer <= pass->net->n_layers; layer++) {
        free(pass->list[layer]);
        free(pass->place[layer]);
        if (layer)
            free(pass->deltas[layer]);
    }
    free(pass->work);
}

/* Buffers of a pass. Without `whole`, only as many rows of what changes are kept as the next layer reads. */
static int prepare(struct pass *pass, long n_inputs, int whole)
{
    const struct picture_network *net = pass->net;
    const size_t row = sizeof(double) * (size_t)pass->frame->stride;
    int ready = (pass->work = malloc(row * (size_t)(1 + 3 * net->n_outputs))) != NULL;
    for (long layer = 0; layer <= net->n_layers; layer++) {
        const long n = layer ? net->layers[layer - 1].n_out : n_inputs;
        const long next = layer < net->n_layers ? net->layers[layer].size : 1;
        pass->rows[layer] = whole ? pass->frame->height : at_most(pass->frame->height, next);
        pass->list[layer] = malloc(sizeof(long) * (size_t)n);
        pass->place[layer] = malloc(sizeof(long) * (size_t)n);
        if (layer)
            pass->deltas[layer] = malloc(row * (size_t)(n * pass->rows[layer]));
        ready = ready && pass->list[layer] && pass->place[layer] && (!layer || pass->deltas[layer]);
    }
    return ready;
}

/* The error of a frame whose input is `input`, and with `keep` a state: sums and activations of it, which hold zeros
   before. `written` takes the outputs instead, where chroma is -1. Returns 0 without memory. */
int qsweep_picture_begin(const struct picture_network *net, const struct picture_frame *frame,
                         const struct picture_state *state, const double *params, double *input, int keep,
                         double *written, double *cost)
{
    struct pass pass = {.net = net, .frame = frame, .state = state, .params = params, .commit = keep};
    const long n_inputs = net->layers[0].n_in;
    const int ready = prepare(&pass, n_inputs, keep);
    if (ready) {
        pass.deltas[0] = input;
        pass.rows[0] = frame->height;
        find_changed(&pass, 1, n_inputs);
        *cost = run(&pass, 0, frame->height, written);
        if (keep)
            store(&pass);
    }
    release(&pass);
    return ready;
}

/* Squared error in some bands of rows after each of some moves; see qsweep_rate_moves. */
int qsweep_picture_moves(const struct picture_network *net, const struct picture_frame *frame,
                         const struct picture_state *state, double *params, const long *bands, long n_bands,
                         const struct change *changes, const long *starts, long n_moves, int commit, double *written,
                         double *costs)
{
    struct pass pass = {.net = net, .frame = frame, .state = state, .params = params, .commit = commit};
    const int ready = prepare(&pass, net->layers[0].n_in, commit);
    for (long m = 0; ready && m < n_moves; m++) {
        pass.changes = changes + starts[m];
        pass.n_changes = starts[m + 1] - starts[m];
        apply_changes(params, pass.changes, pass.n_changes, 1.0);
        find_changed(&pass, 0, net->layers[0].n_in);
        costs[m] = 0;
        for (long b = 0; b < n_bands; b++)
            costs[m] += run(&pass, bands[2 * b], bands[2 * b + 1], written);
        if (commit)
            store(&pass);
        else
            apply_changes(params, pass.changes, pass.n_changes, -1.0);
    }
    release(&pass);
    return ready;
}
