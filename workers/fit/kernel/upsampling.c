/* The upsampling in training: separable filters along the width, then along the height, and their gradients. */

#include "lanes.h"


/* A filter that makes `phases` numbers of each: 2 in upsampling, else 1. Number `phase` of those at i is the sum over t of
   taps[phase][t] times the number at i + t - halo; outside there are the border's, or zeros. */
typedef struct {
    long phases, n_taps, halo, replicate;
    const float *taps; /* [phases][n_taps] */
} filter;

typedef struct {
    long n_planes, height, width; /* of the input */
    long out_height, out_width;   /* at most `phases` times as much */
} planes_shape;

INLINE long clamped(long at, long n) { return at < 0 ? 0 : at >= n ? n - 1 : at; }

INLINE void interleave(vec even, vec odd, float *out)
{
    float both[2 * LANES];
    for (int l = 0; l < LANES; l++) {
        both[2 * l] = even[l];
        both[2 * l + 1] = odd[l];
    }
    memcpy(out, both, sizeof both);
}

/* Row of n numbers with what is around it, into a buffer with slack behind. */
INLINE void pad_row(const filter *f, const float *x, long n, float *row)
{
    for (long i = 0; i < f->halo; i++) {
        row[i] = f->replicate ? x[0] : 0;
        row[f->halo + n + i] = f->replicate ? x[n - 1] : 0;
    }
    memcpy(row + f->halo, x, sizeof(float) * (size_t)n);
    memset(row + 2 * f->halo + n, 0, sizeof(float) * LANES);
}

INLINE void along_row(const filter *f, const float *row, long n, float *out, long n_out, float *spare)
{
    float *const to = f->phases == 2 ? spare : out;
    for (long i = 0; i < n; i += LANES) {
        vec sum[2] = {all(0), all(0)};
        for (long t = 0; t < f->n_taps; t++)
            for (long p = 0; p < f->phases; p++)
                sum[p] += f->taps[p * f->n_taps + t] * load(row + i + t);
        if (f->phases == 2)
            interleave(sum[0], sum[1], to + 2 * i);
        else
            store_first(to + i, sum[0], n_out - i);
    }
    if (f->phases == 2)
        memcpy(out, spare, sizeof(float) * (size_t)n_out);
}

/* [n_planes][height][width] to [n_planes][height][out_width], kept for the way back, to
   [n_planes][out_height][out_width]; the input is added to the output if `add`. Workspace: two padded rows of the output
   and more. */
void qsweep_train_filter(const filter *f, const planes_shape *shape, long add, const float *x, float *between, float *out,
                         float *workspace)
{
    float *const row = workspace, *const spare = workspace + shape->width + 2 * f->halo + LANES;
    for (long c = 0; c < shape->n_planes; c++) {
        for (long y = 0; y < shape->height; y++) {
            pad_row(f, x + (c * shape->height + y) * shape->width, shape->width, row);
            along_row(f, row, shape->width, between + (c * shape->height + y) * shape->out_width, shape->out_width, spare);
        }
        const float *const plane = between + c * shape->height * shape->out_width;
        for (long y = 0; y < shape->out_height; y++) {
            const long i = y / f->phases, phase = y % f->phases;
            float *const to = out + (c * shape->out_height + y) * shape->out_width;
            for (long column = 0; column < shape->out_width; column += LANES) {
                const long n = shape->out_width - column;
                vec sum = all(0);
                for (long t = 0; t < f->n_taps; t++) {
                    const long from = i + t - f->halo;
                    if (f->replicate || (from >= 0 && from < shape->height))
                        sum += f->taps[phase * f->n_taps + t]
                               * load_first(plane + clamped(from, shape->height) * shape->out_width + column, n);
                }
                if (add)
                    sum += load_first(x + (c * shape->height + y) * shape->width + column, n);
                store_first(to + column, sum, n);
            }
        }
    }
}

/* Gradients of the same: by the input; and by the taps, added to [LANES] partial sums of each. */
void qsweep_train_filter_backward(const filter *f, const planes_shape *shape, long add, const float *x,
                                  const float *between, const float *by_out, float *by_between, float *by_x,
                                  float *by_taps, float *workspace)
{
    float *const row = workspace, *const by_row = row + shape->width + 2 * f->halo + LANES;
    float *const parts = by_row + shape->width + 2 * f->halo + LANES; /* [phases][width and more] */
    const long part = shape->width + LANES;
    memset(by_between, 0, sizeof(float) * (size_t)(shape->n_planes * shape->height * shape->out_width));
    for (long c = 0; c < shape->n_planes; c++) {
        const float *const plane = between + c * shape->height * shape->out_width;
        float *const by_plane = by_between + c * shape->height * shape->out_width;
        for (long y = 0; y < shape->out_height; y++) {
            const long i = y / f->phases, phase = y % f->phases;
            const float *const by = by_out + (c * shape->out_height + y) * shape->out_width;
            for (long t = 0; t < f->n_taps; t++) {
                const long from = i + t - f->halo;
                if (!f->replicate && (from < 0 || from >= shape->height))
                    continue;
                const long start = clamped(from, shape->height) * shape->out_width, tap = phase * f->n_taps + t;
                vec sum = load(by_taps + tap * LANES);
                for (long column = 0; column < shape->out_width; column += LANES) {
                    const long n = shape->out_width - column;
                    const vec g = load_first(by + column, n);
                    sum += g * load_first(plane + start + column, n);
                    store_first(by_plane + start + column,
                                load_first(by_plane + start + column, n) + f->taps[tap] * g, n);
                }
                store(by_taps + tap * LANES, sum);
            }
        }
        for (long y = 0; y < shape->height; y++) {
            const float *const by = by_plane + y * shape->out_width;
            float *const to = by_x + (c * shape->height + y) * shape->width;
            pad_row(f, x + (c * shape->height + y) * shape->width, shape->width, row);
            memset(by_row, 0, sizeof(float) * (size_t)(shape->width + 2 * f->halo + LANES));
            memset(parts, 0, sizeof(float) * (size_t)(f->phases * part));
            if (f->phases == 2)
                for (long i = 0; i < shape->out_width; i++)
                    parts[i % 2 * part + i / 2] = by[i];
            else
                memcpy(parts, by, sizeof(float) * (size_t)shape->out_width);
            for (long t = 0; t < f->n_taps; t++)
                for (long p = 0; p < f->phases; p++) {
                    const long tap = p * f->n_taps + t;
                    vec sum = load(by_taps + tap * LANES);
                    for (long i = 0; i < shape->width; i += LANES) {
                        const vec g = load(parts + p * part + i);
                        sum += g * load(row + i + t);
                        store(by_row + i + t, load(by_row + i + t) + f->taps[tap] * g);
                    }
                    store(by_taps + tap * LANES, sum);
                }
            for (long i = 0; i < shape->width; i++)
                to[i] = by_row[f->halo + i] + (add ? by_out[(c * shape->height + y) * shape->width + i] : 0);
            if (f->replicate)
                for (long i = 0; i < f->halo; i++) {
                    to[0] += by_row[i];
                    to[shape->width - 1] += by_row[f->halo + shape->width + i];
                }
        }
    }
}
