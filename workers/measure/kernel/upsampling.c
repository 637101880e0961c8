/* The upsampling: one channel after the other, row by row, so that what is being added up stays in the cache. */

#include <stdlib.h>
#include <string.h>

static long within(long i, long n) { return i < 0 ? 0 : i < n ? i : n - 1; }

static void add(float *restrict sum, const float *restrict x, float factor, long n)
{
    for (long i = 0; i < n; i++)
        sum[i] += factor * x[i];
}

/* Twice as wide: `x` of n samples, borders repeated, by a kernel of `size` taps. Into out[2 * n]; `padded` has room for
   n + size, even and odd for n each. */
static void widen(const float *x, long n, const float *kernel, long size, float *padded, float *even, float *odd,
                  float *restrict out)
{
    const long pad = size / 2, crop = 3 * pad - 1;
    for (long i = 0; i < n + 2 * pad; i++)
        padded[i] = x[within(i - pad, n)];
    for (long i = 0; i < n; i++)
        even[i] = odd[i] = 0;
    for (long tap = 0; tap < size; tap++) {
        /* Output i gets tap t of input (i + crop - t) / 2, where that is whole. */
        const long parity = (tap + crop) % 2;
        add(parity ? odd : even, padded + (parity + crop - tap) / 2, kernel[tap], n);
    }
    for (long i = 0; i < n; i++) {
        out[2 * i] = even[i];
        out[2 * i + 1] = odd[i];
    }
}

/* Twice as high and as wide: `x` [rows][columns] by a symmetric even kernel, cut at the bottom and on the right to
   [out_rows][out_columns]. Returns 0; or 1, if there is no memory. */
int qsweep_upsample(const float *x, long rows, long columns, const float *kernel, long size, float *out, long out_rows,
                    long out_columns)
{
    const long pad = size / 2, crop = 3 * pad - 1, wide = 2 * columns;
    float *const widened = malloc(sizeof(float) * (size_t)(rows * wide + 3 * columns + size));
    if (!widened)
        return 1;
    float *const padded = widened + rows * wide, *const even = padded + columns + size, *const odd = even + columns;
    for (long row = 0; row < rows; row++)
        widen(x + row * columns, columns, kernel, size, padded, even, odd, widened + row * wide);
    for (long y = 0; y < out_rows; y++, out += out_columns) {
        for (long i = 0; i < out_columns; i++)
            out[i] = 0;
        for (long tap = (y + crop) % 2; tap < size; tap += 2)
            add(out, widened + within((y + crop - tap) / 2 - pad, rows) * wide, kernel[tap], out_columns);
    }
    free(widened);
    return 0;
}

/* `x` [rows][columns] by a symmetric odd kernel along both axes, zeros around it, plus itself. Returns 0; or 1, if there
   is no memory. */
int qsweep_filter(const float *x, long rows, long columns, const float *kernel, long size, float *out)
{
    const long pad = size / 2;
    float *const filtered = calloc((size_t)(rows * columns), sizeof(float));
    if (!filtered)
        return 1;
    for (long y = 0; y < rows; y++)
        for (long tap = 0; tap < size; tap++) {
            const long shift = tap - pad, first = shift < 0 ? -shift : 0, end = shift > 0 ? columns - shift : columns;
            add(filtered + y * columns + first, x + y * columns + first + shift, kernel[tap], end - first);
        }
    memcpy(out, x, sizeof(float) * (size_t)(rows * columns));
    for (long y = 0; y < rows; y++)
        for (long tap = 0; tap < size; tap++) {
            const long from = y + tap - pad;
            if (from >= 0 && from < rows)
                add(out + y * columns, filtered + from * columns, kernel[tap], columns);
        }
    free(filtered);
    return 0;
}
