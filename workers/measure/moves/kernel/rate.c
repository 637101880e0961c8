/* Moves of the networks that give the bits of the latents: an auto-regressive module, and the linear layers that give
   part of its contexts, one for each grid.

   Latents are kept in tiles, each of one grid, with the sums and activations of every layer. A move changes one sum of
   one layer, what follows from it, and no more. */

#include "moves.h"

static inline double fixed(double x) { return to_multiple(x, 65536.0); }

#define TILE 256 /* latents of a tile at most; what a tile keeps stays in the cache */
#define SCALES 32 /* of the tables: steps of a logarithm of the scale in a unit */
#define PARTS 128 /* distances in half a unit */

struct linear {
    long weight, bias; /* places among the parameters; -1 where there is none */
};

struct rate_network {
    long width, n_spatial, n_features, n_hidden;
    const struct linear *layers; /* hidden ones, output */
    struct linear stabiliser;
    const struct linear *features; /* of each grid that has them */
    double least_log_scale;
    const double *near, *slope, *offset; /* tables */
};

/* `state`: rows of TILE numbers. Contexts; sums and activations of each hidden layer; sums of the output. */
struct rate_tile {
    long n, grid, n_inputs; /* grid: which layer gives its features, or -1 */
    const double *latents, *inputs; /* inputs of the linear layer of its grid: rows of TILE numbers */
    double *state;
    double cost;
};

struct scratch {
    double *deltas, *sum, *outputs; /* deltas of contexts and of each hidden layer: rows of TILE */
    long *lists, *counts; /* which rows of them are in use */
    char *listed;
};

static void add_rows(double *sum, const double *weights, const double *rows, const long *list, long n_rows, long n)
{
    long j = 0;
    for (; j + 4 <= n_rows; j += 4) {
        const double factors[4] = {weights[list[j]], weights[list[j + 1]], weights[list[j + 2]], weights[list[j + 3]]};
        add_scaled_4(sum, factors, rows + list[j] * TILE, rows + list[j + 1] * TILE, rows + list[j + 2] * TILE,
                     rows + list[j + 3] * TILE, n);
    }
    for (; j < n_rows; j++)
        add_scaled(sum, weights[list[j]], rows + list[j] * TILE, n);
}

/* Adds what changes of one layer make of an output; whether there are any. */
static int add_changed(double *sum, const struct change *changes, long n_changes, long layer, long out,
                       const double *in, long n)
{
    int any = 0;
    for (long i = 0; i < n_changes; i++)
        if (changes[i].layer == layer && changes[i].out == out) {
            any = 1;
            if (changes[i].in >= 0)
                add_scaled(sum, changes[i].delta, in + changes[i].in * TILE, n);
        }
    return any;
}

static int is_changed(const struct change *changes, long n_changes, long layer, long out)
{
    for (long i = 0; i < n_changes; i++)
        if (changes[i].layer == layer && changes[i].out == out)
            return 1;
    return 0;
}

static int subtract(double *restrict to, const double *restrict from, long n)
{
    double any = 0;
    for (long x = 0; x < n; x++) {
        to[x] -= from[x];
        any += to[x] * to[x];
    }
    return any != 0;
}

static long spatial_deltas(const struct rate_network *net, struct rate_tile *tile, struct scratch *scratch)
{
    for (long c = 0; c < net->n_spatial; c++) {
        memcpy(scratch->deltas + c * TILE, tile->state + c * TILE, sizeof(double) * TILE);
        memset(tile->state + c * TILE, 0, sizeof(double) * TILE);
        scratch->lists[c] = c;
    }
    return net->n_spatial;
}

static long feature_deltas(const struct rate_network *net, const double *params, const struct rate_tile *tile,
                           const struct change *changes, long n_changes, int fresh, struct scratch *scratch, long count)
{
    if (tile->grid < 0)
        return count;
    const struct linear *layer = net->features + tile->grid;
    const long number = net->n_hidden + 2 + tile->grid;
    for (long f = 0; f < net->n_features; f++) {
        if (!fresh && !is_changed(changes, n_changes, number, f))
            continue;
        const long c = net->n_spatial + f;
        double *row = scratch->deltas + c * TILE;
        memset(row, 0, sizeof(double) * TILE);
        for (long i = 0; i < tile->n_inputs; i++)
            add_scaled(row, params[layer->weight + f * tile->n_inputs + i], tile->inputs + i * TILE, tile->n);
        const double bias = params[layer->bias + f];
        for (long x = 0; x < tile->n; x++)
            row[x] = fixed(row[x] + bias);
        if (subtract(row, tile->state + c * TILE, tile->n))
            scratch->lists[count++] = c;
    }
    return count;
}

/* One hidden layer: which of its activations change, and by what. */
static void hidden_layer(const struct rate_network *net, const double *params, struct rate_tile *tile,
                         const struct change *changes, long n_changes, long layer, int commit, struct scratch *scratch)
{
    const long width = net->width, size = width * TILE, n = tile->n, n_in = scratch->counts[layer];
    const double *in = tile->state + (layer ? 2 * layer : 0) * size, *deltas = scratch->deltas + layer * size;
    double *sums = tile->state + (2 * layer + 1) * size, *out = tile->state + (2 * layer + 2) * size;
    const long *list = scratch->lists + layer * width;
    long count = 0;
    memset(scratch->listed, 0, (size_t)width);
    for (long j = 0; j < n_in; j++)
        scratch->listed[list[j]] = 1;
    for (long o = 0; o < width; o++) {
        if (!n_in && !is_changed(changes, n_changes, layer, o))
            continue;
        double *sum = commit ? sums + o * TILE : scratch->sum, *row = scratch->deltas + (layer + 1) * size + o * TILE;
        if (!commit)
            memcpy(sum, sums + o * TILE, sizeof(double) * TILE);
        add_changed(sum, changes, n_changes, layer, o, in, n);
        add_rows(sum, params + net->layers[layer].weight + o * width, deltas, list, n_in, n);
        const double bias = params[net->layers[layer].bias + o];
        const double *own = in + o * TILE, *own_delta = deltas + o * TILE;
        if (scratch->listed[o])
            for (long x = 0; x < n; x++) {
                const double pre = (sum[x] + bias) + (own[x] + own_delta[x]);
                row[x] = fixed(pre > 0 ? pre : 0);
            }
        else
            for (long x = 0; x < n; x++) {
                const double pre = (sum[x] + bias) + own[x];
                row[x] = fixed(pre > 0 ? pre : 0);
            }
        if (subtract(row, out + o * TILE, n))
            scratch->lists[(layer + 1) * width + count++] = o;
    }
    scratch->counts[layer + 1] = count;
}

/* Bits of the latents of a tile, in units of 2^-16. */
static double latent_bits(const struct rate_network *net, const struct rate_tile *tile, const double *mu,
                          const double *log_scale, double *restrict each)
{
    for (long x = 0; x < tile->n; x++) {
        double d = tile->latents[x] - mu[x], s = log_scale[x] - 4.0;
        d = d < 0 ? -d : d;
        d = d > 2048.0 ? 2048.0 : d;
        s = s < net->least_log_scale ? net->least_log_scale : s;
        s = s > 5.0 ? 5.0 : s;
        const double place = (s + 5.0) * SCALES;
        const int i = (int)place;
        const double part = place - i;
        const double slope = fixed(net->slope[i] + (net->slope[i + 1] - net->slope[i]) * part);
        const double far = d * slope - (net->offset[i] + (net->offset[i + 1] - net->offset[i]) * part);
        const double inner = (d < 0.5 ? d : 0.5) * (2 * PARTS);
        int j = (int)inner;
        j = j < PARTS ? j : PARTS - 1;
        const double rest = inner - j;
        const double *row = net->near + i * (PARTS + 1) + j, *next = row + PARTS + 1;
        const double low = row[0] + (next[0] - row[0]) * part, high = row[1] + (next[1] - row[1]) * part;
        const double close = low + (high - low) * rest;
        double bits = d < 0.5 ? close : far;
        bits = bits > 16.0 ? 16.0 : bits;
        each[x] = fixed(bits) * 65536.0;
    }
    /* Exact in any order: several sums at a time. */
    double totals[8] = {0}, total = 0;
    long x = 0;
    for (; x + 8 <= tile->n; x += 8)
        for (long i = 0; i < 8; i++)
            totals[i] += each[x + i];
    for (; x < tile->n; x++)
        total += each[x];
    for (long i = 0; i < 8; i++)
        total += totals[i];
    return total;
}

/* Outputs of the module for a tile, and the bits that follow. */
static double tile_bits(const struct rate_network *net, const double *params, struct rate_tile *tile,
                        const struct change *changes, long n_changes, int commit, struct scratch *scratch)
{
    const long width = net->width, size = width * TILE, n = tile->n, last = net->n_hidden;
    const double *in = tile->state + (last ? 2 * last : 0) * size;
    double *sums = tile->state + (2 * last + 1) * size;
    int any = scratch->counts[last] > 0;
    for (long o = 0; o < 2; o++) {
        double *sum = commit ? sums + o * TILE : scratch->sum;
        if (!commit)
            memcpy(sum, sums + o * TILE, sizeof(double) * TILE);
        any |= add_changed(sum, changes, n_changes, last, o, in, n);
        add_rows(sum, params + net->layers[last].weight + o * width, scratch->deltas + last * size,
                 scratch->lists + last * width, scratch->counts[last], n);
        double bias = params[net->layers[last].bias + o];
        if (net->stabiliser.weight >= 0) {
            any |= add_changed(sum, changes, n_changes, last + 1, o, tile->state, n) || scratch->counts[0] > 0;
            add_rows(sum, params + net->stabiliser.weight + o * width, scratch->deltas, scratch->lists,
                     scratch->counts[0], n);
            bias += params[net->stabiliser.bias + o];
        }
        for (long x = 0; x < n; x++)
            scratch->outputs[o * TILE + x] = fixed(sum[x] + bias);
    }
    return any ? latent_bits(net, tile, scratch->outputs, scratch->outputs + TILE, scratch->sum) : tile->cost;
}

static double evaluate_tile(const struct rate_network *net, const double *params, struct rate_tile *tile,
                            const struct change *changes, long n_changes, int fresh, int commit,
                            struct scratch *scratch)
{
    const long width = net->width, size = width * TILE;
    long count = fresh ? spatial_deltas(net, tile, scratch) : 0;
    scratch->counts[0] = feature_deltas(net, params, tile, changes, n_changes, fresh, scratch, count);
    for (long layer = 0; layer < net->n_hidden; layer++)
        hidden_layer(net, params, tile, changes, n_changes, layer, commit, scratch);
    const double cost = tile_bits(net, params, tile, changes, n_changes, commit, scratch);
    if (!commit)
        return cost;
    tile->cost = cost;
    for (long layer = 0; layer <= net->n_hidden; layer++)
        for (long j = 0; j < scratch->counts[layer]; j++) {
            const long c = scratch->lists[layer * width + j];
            add_scaled(tile->state + 2 * layer * size + c * TILE, 1.0, scratch->deltas + layer * size + c * TILE,
                       tile->n);
        }
    return cost;
}

static int make_scratch(struct scratch *scratch, const struct rate_network *net)
{
    const size_t layers = (size_t)net->n_hidden + 1, width = (size_t)net->width;
    scratch->deltas = malloc(sizeof(double) * TILE * layers * width);
    scratch->sum = malloc(sizeof(double) * TILE * 3);
    scratch->lists = malloc(sizeof(long) * layers * width);
    scratch->counts = malloc(sizeof(long) * layers);
    scratch->listed = malloc(width);
    if (!scratch->deltas || !scratch->sum || !scratch->lists || !scratch->counts || !scratch->listed)
        return 0;
    scratch->outputs = scratch->sum + TILE;
    return 1;
}

static void free_scratch(struct scratch *scratch)
{
    free(scratch->deltas);
    free(scratch->sum);
    free(scratch->lists);
    free(scratch->counts);
    free(scratch->listed);
}

/* Fills the states of tiles, which hold spatial contexts and zeros. Returns 0 without memory. */
int qsweep_rate_begin(const struct rate_network *net, const double *params, struct rate_tile *tiles, long n_tiles)
{
    struct scratch scratch = {0};
    const int ready = make_scratch(&scratch, net);
    for (long t = 0; ready && t < n_tiles; t++)
        evaluate_tile(net, params, tiles + t, NULL, 0, 1, 1, &scratch);
    free_scratch(&scratch);
    return ready;
}

/* Bits over some tiles after each of some moves: move m is changes[starts[m]] up to changes[starts[m + 1]]. With
   `commit` there is one move, which is made. Returns 0 without memory. */
int qsweep_rate_moves(const struct rate_network *net, double *params, struct rate_tile *tiles, const long *chosen,
                      long n_chosen, const struct change *changes, const long *starts, long n_moves, int commit,
                      double *costs)
{
    struct scratch scratch = {0};
    const int ready = make_scratch(&scratch, net);
    for (long m = 0; ready && m < n_moves; m++) {
        const struct change *move = changes + starts[m];
        const long n = starts[m + 1] - starts[m];
        apply_changes(params, move, n, 1.0);
        costs[m] = 0;
        for (long t = 0; t < n_chosen; t++)
            costs[m] += evaluate_tile(net, params, tiles + chosen[t], move, n, 0, commit, &scratch);
        if (!commit)
            apply_changes(params, move, n, -1.0);
    }
    free_scratch(&scratch);
    return ready;
}
