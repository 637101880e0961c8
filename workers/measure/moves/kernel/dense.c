/* The input of a synthesis: exact sums of the upsampling's filters, rounded after each axis. */

#include "moves.h"

static inline double fixed(double x) { return to_multiple(x, 1048576.0); }

static long within(long i, long n) { return i < 0 ? 0 : i < n ? i : n - 1; }

static void round_all(double *x, long n)
{
    for (long i = 0; i < n; i++)
        x[i] = fixed(x[i]);
}

/* A row twice as wide. `work` has room for 3 * n + 2 * size. */
static void widen(const double *x, long n, const double *kernel, long size, double *work, double *restrict out)
{
    const long pad = size / 2, crop = 3 * pad - 1;
    double *padded = work, *even = work + n + 2 * pad, *odd = even + n;
    for (long i = 0; i < n + 2 * pad; i++)
        padded[i] = x[within(i - pad, n)];
    memset(even, 0, sizeof(double) * (size_t)(2 * n));
    for (long tap = 0; tap < size; tap++) {
        /* Output i takes tap t of input (i + crop - t) / 2, where that is whole. */
        const long parity = (tap + crop) % 2;
        add_scaled(parity ? odd : even, kernel[tap], padded + (parity + crop - tap) / 2, n);
    }
    for (long i = 0; i < n; i++) {
        out[2 * i] = fixed(even[i]);
        out[2 * i + 1] = fixed(odd[i]);
    }
}

/* Channels [n][rows][columns], each twice as high and wide, cut to [n][out_rows][out_columns]. Returns 0 without
   memory. */
int qsweep_enlarge(const double *x, long n, long rows, long columns, const double *kernel, long size, double *out,
                   long out_rows, long out_columns)
{
    const long pad = size / 2, crop = 3 * pad - 1, wide = 2 * columns;
    double *widened = malloc(sizeof(double) * (size_t)(rows * wide + 3 * columns + 2 * size));
    if (!widened)
        return 0;
    for (long c = 0; c < n; c++, x += rows * columns) {
        for (long row = 0; row < rows; row++)
            widen(x + row * columns, columns, kernel, size, widened + rows * wide, widened + row * wide);
        for (long y = 0; y < out_rows; y++, out += out_columns) {
            memset(out, 0, sizeof(double) * (size_t)out_columns);
            for (long tap = (y + crop) % 2; tap < size; tap += 2)
                add_scaled(out, kernel[tap], widened + within((y + crop - tap) / 2 - pad, rows) * wide, out_columns);
            round_all(out, out_columns);
        }
    }
    free(widened);
    return 1;
}

/* Channels [n][rows][columns] filtered along both axes, zeros around them, plus themselves. Returns 0 without memory. */
int qsweep_refilter(const double *x, long n, long rows, long columns, const double *kernel, long size, double *out)
{
    const long pad = size / 2, area = rows * columns;
    double *filtered = malloc(sizeof(double) * (size_t)area);
    if (!filtered)
        return 0;
    for (long c = 0; c < n; c++, x += area, out += area) {
        memset(filtered, 0, sizeof(double) * (size_t)area);
        for (long y = 0; y < rows; y++)
            for (long tap = 0; tap < size; tap++) {
                const long shift = tap - pad, first = at_least(-shift, 0), end = at_most(columns - shift, columns);
                if (first < end)
                    add_scaled(filtered + y * columns + first, kernel[tap], x + y * columns + first + shift,
                               end - first);
            }
        round_all(filtered, area);
        memcpy(out, x, sizeof(double) * (size_t)area);
        for (long y = 0; y < rows; y++)
            for (long tap = 0; tap < size; tap++) {
                const long from = y + tap - pad;
                if (from >= 0 && from < rows)
                    add_scaled(out + y * columns, kernel[tap], filtered + from * columns, columns);
            }
        round_all(out, area);
    }
    free(filtered);
    return 1;
}
