/* The arm in whole numbers, a block of latents at a time. This file is included once for NUMBER double, where no sum
   passes 2^53 and all are exact (so it does not matter whether products and sums are fused), and once for int64_t. */

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAMED(name) JOIN(name, NUMBER)

typedef NUMBER NAMED(vec) __attribute__((vector_size(8 * WIDTH), may_alias));

/* out = bias + weight · x, for n_rows outputs of n_in inputs; added to what is there if `add`. */
INLINE void NAMED(product)(const NUMBER *weight, const NUMBER *bias, const NAMED(vec) *x, const long n_in,
                           const int n_rows, const int add, NAMED(vec) *out)
{
    NAMED(vec) sum[ROWS * VECTORS];
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < VECTORS; v++)
            sum[r * VECTORS + v] = (NAMED(vec)){0} + bias[r];
    for (long i = 0; i < n_in; i++)
        for (int r = 0; r < n_rows; r++)
            for (int v = 0; v < VECTORS; v++)
                sum[r * VECTORS + v] += weight[r * n_in + i] * x[i * VECTORS + v];
    for (int k = 0; k < n_rows * VECTORS; k++) {
        if (add)
            sum[k] += out[k];
        out[k] = sum[k];
    }
}

INLINE void NAMED(layer)(const NUMBER *weight, const NUMBER *bias, const NAMED(vec) *x, const long n_in, const long n_out,
                         const int add, NAMED(vec) *out)
{
    long j = 0;
    for (; j + ROWS <= n_out; j += ROWS)
        NAMED(product)(weight + j * n_in, bias + j, x, n_in, ROWS, add, out + j * VECTORS);
    for (; j + 2 <= n_out; j += 2)
        NAMED(product)(weight + j * n_in, bias + j, x, n_in, 2, add, out + j * VECTORS);
    for (; j < n_out; j++)
        NAMED(product)(weight + j * n_in, bias + j, x, n_in, 1, add, out + j * VECTORS);
}

/* Expectation and log-scale, as indices, of a block of latents whose contexts are `context` [n_spatial][LANES] and
   `features` [n_features][LANES]. */
static void NAMED(outputs)(const arm *a, const int32_t *context, const float *features, int32_t *mean, int32_t *scale)
{
    const long n = a->n_spatial + a->n_features;
    const NUMBER *weight = a->weights, *bias = a->biases;
    NAMED(vec) first[MAX_CONTEXTS * VECTORS], buffers[2][MAX_CONTEXTS * VECTORS], out[2 * VECTORS];
    NUMBER *const inputs = (NUMBER *)first, *const outputs = (NUMBER *)out;
    for (long i = 0; i < a->n_spatial * LANES; i++)
        inputs[i] = (NUMBER)context[i] * 65536;
    for (long i = 0; i < a->n_features * LANES; i++)
        inputs[a->n_spatial * LANES + i] = (NUMBER)features[i] * 65536;
    const NAMED(vec) *x = first;
    for (long hidden = 0; hidden < a->n_hidden; hidden++, weight += n * n, bias += n) {
        NUMBER *const next = (NUMBER *)buffers[hidden % 2];
        NAMED(layer)(weight, bias, x, n, n, 0, buffers[hidden % 2]);
        for (long i = 0; i < n * LANES; i++)
            next[i] = SHIFTED(next[i] > 0 ? next[i] : 0, 16);
        x = buffers[hidden % 2];
    }
    NAMED(layer)(weight, bias, x, n, 2, 0, out);
    NAMED(layer)(weight + 2 * n, bias + 2, first, n, 2, 1, out); /* the stabiliser */
    for (int l = 0; l < LANES; l++) {
        const NUMBER m = SHIFTED(outputs[l], 24) + MEAN_OFFSET, s = SHIFTED(outputs[LANES + l], 24) + SCALE_OFFSET;
        mean[l] = (int32_t)(m < 0 ? 0 : m > LAST_MEAN ? LAST_MEAN : m);
        scale[l] = (int32_t)(s < 0 ? 0 : s > LAST_SCALE ? LAST_SCALE : s);
    }
}

#undef JOIN_
#undef JOIN
#undef NAMED
