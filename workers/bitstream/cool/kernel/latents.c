/* Latents: the arm wave by wave, and the range coder latent by latent. */

#include <math.h>

#include "lanes.h"

#define MAX_CONTEXTS 71 /* 40 neighbours and 31 features */
#define PAD 4           /* zeros around a grid, but below it */
#define SLANT 10        /* the latent in row y and column x is in wave x + 10 y */

#define MEAN_OFFSET 16384 /* 64, in units of 1/256 */
#define LAST_MEAN 32767
#define SCALE_OFFSET 1280 /* 5 */
#define LAST_SCALE 2560

#define LOWEST (-64)
#define N_SYMBOLS 128
#define PRECISION 24

typedef struct {
    long n_spatial, n_features, n_hidden;
    const int32_t *offsets; /* [n_spatial], rows and columns of each neighbour from a latent: down and right */
    const void *weights;    /* hidden layers [out][in], output layer, stabiliser: doubles, or 64-bit integers */
    const void *biases;
    long in_doubles;
    const double *scales; /* [LAST_SCALE + 1] */
} arm;

/* A range coder: of the words that it reads, or writes. */
typedef struct {
    uint64_t lower, range, point;
    uint32_t *words;
    long n_words, at;
} coder;

#define NUMBER double
#define SHIFTED(x, bits) floor((x) * (1.0 / (1 << (bits))))
#include "arm.h"
#undef NUMBER
#undef SHIFTED
#define NUMBER int64_t
#define SHIFTED(x, bits) ((x) >> (bits))
#include "arm.h"

/* Where the interval of symbol y begins, of 2^24. A fused product and sum would give the same: halves are exact wherever
   they are not lost beside 1. */
INLINE uint32_t left(long y, double mean, double scale)
{
    if (y <= LOWEST)
        return 0;
    if (y >= LOWEST + N_SYMBOLS)
        return 1u << PRECISION;
    const double x = (double)y - 0.5;
    const double probability = x <= mean ? 0.5 * exp((x - mean) / scale) : 1 - 0.5 * exp((mean - x) / scale);
    return (uint32_t)(((1 << PRECISION) - N_SYMBOLS) * probability) + (uint32_t)(y - LOWEST);
}

/* The symbol whose interval [*low, *high) holds a quantile. */
static long find(uint32_t quantile, double mean, double scale, uint32_t *low, uint32_t *high)
{
    const long last = LOWEST + N_SYMBOLS - 1;
    long y = between(lrint(mean), LOWEST, last);
    *low = left(y, mean, scale);
    *high = left(y + 1, mean, scale);
    if (quantile >= *low && quantile < *high)
        return y;
    /* The inverse of the distribution is near, whatever its rounding; then a few steps. */
    const double share = quantile / (double)(1 << PRECISION);
    const double x = share < 0.5 ? mean + scale * log(2 * share + 1e-9) : mean - scale * log(2 * (1 - share) + 1e-9);
    y = x < LOWEST ? LOWEST : x > last ? last : lrint(x);
    *low = left(y, mean, scale);
    while (quantile < *low)
        *low = left(--y, mean, scale);
    *high = left(y + 1, mean, scale);
    while (quantile >= *high) {
        *low = *high;
        *high = left(++y + 1, mean, scale);
    }
    return y;
}

INLINE uint32_t next_word(coder *c)
{
    const uint32_t word = c->at < c->n_words ? c->words[c->at] : 0;
    c->at++;
    return word;
}

/* One more symbol into *y; returns 0, or 1 if no encoder writes these words. */
static int decode_symbol(coder *c, double mean, double scale, long *y)
{
    const uint64_t share = c->range >> PRECISION;
    const uint64_t quantile = (c->point - c->lower) / share;
    if (quantile >> PRECISION)
        return 1;
    uint32_t low, high;
    *y = find((uint32_t)quantile, mean, scale, &low, &high);
    c->lower += share * low;
    c->range = share * (high - low);
    if (c->range >> 32 == 0) {
        c->lower <<= 32;
        c->range <<= 32;
        c->point = c->point << 32 | next_word(c);
    }
    return 0;
}

static void carry(coder *c)
{
    for (long i = c->at; i > 0 && ++c->words[i - 1] == 0; i--)
        ;
}

static void encode_symbol(coder *c, double mean, double scale, long y)
{
    const uint64_t share = c->range >> PRECISION;
    const uint32_t low = left(y, mean, scale);
    const uint64_t before = c->lower;
    c->lower += share * low;
    if (c->lower < before)
        carry(c);
    c->range = share * (left(y + 1, mean, scale) - low);
    if (c->range >> 32 == 0) {
        c->words[c->at++] = (uint32_t)(c->lower >> 32);
        c->lower <<= 32;
        c->range <<= 32;
    }
}

/* Codes a grid: `padded` [height + PAD][width + 2 PAD] with zeros around it is read, or filled. `features`
   [n_features][f_height][f_width] may be null. Returns 0, or 1 if no encoder writes these words. */
static int code(const arm *a, coder *c, int encode, signed char *padded, long height, long width, const float *features,
                long f_height, long f_width)
{
    const long stride = width + 2 * PAD, step = stride - SLANT;
    long offsets[MAX_CONTEXTS];
    int32_t context[MAX_CONTEXTS * LANES] = {0}, mean[LANES], scale[LANES];
    float feature[MAX_CONTEXTS * LANES] = {0};
    for (long i = 0; i < a->n_spatial; i++)
        offsets[i] = a->offsets[2 * i] * stride + a->offsets[2 * i + 1];
    for (long wave = 0; wave < width + SLANT * (height - 1); wave++) {
        const long top = larger(0, (wave - width + SLANT) / SLANT), bottom = smaller(height, wave / SLANT + 1);
        for (long y = top; y < bottom; y += LANES) {
            const long n = smaller(LANES, bottom - y), x = wave - SLANT * y;
            signed char *const latents = padded + (y + PAD) * stride + x + PAD;
            for (long i = 0; i < a->n_spatial; i++)
                for (long l = 0; l < n; l++)
                    context[i * LANES + l] = latents[l * step + offsets[i]];
            for (long i = 0; features && i < a->n_features; i++)
                for (long l = 0; l < n; l++)
                    feature[i * LANES + l] =
                        features[(i * f_height + (y + l) / 2) * f_width + (x - SLANT * l) / 2];
            (a->in_doubles ? outputs_double : outputs_int64_t)(a, context, feature, mean, scale);
            for (long l = 0; l < n; l++) {
                const double mu = mean[l] / 256.0 + LOWEST, b = a->scales[scale[l]];
                long symbol = latents[l * step];
                if (encode)
                    encode_symbol(c, mu, b, symbol);
                else if (decode_symbol(c, mu, b, &symbol))
                    return 1;
                latents[l * step] = (signed char)symbol;
            }
        }
    }
    return 0;
}

void qsweep_cool_begin(coder *c, int encode)
{
    c->lower = 0;
    c->range = UINT64_MAX;
    c->at = 0;
    if (!encode) {
        c->point = (uint64_t)next_word(c) << 32;
        c->point |= next_word(c);
    }
}

int qsweep_cool_decode(const arm *a, coder *c, signed char *padded, long height, long width, const float *features,
                       long f_height, long f_width)
{
    return code(a, c, 0, padded, height, width, features, f_height, f_width);
}

void qsweep_cool_encode(const arm *a, coder *c, signed char *padded, long height, long width, const float *features,
                        long f_height, long f_width)
{
    code(a, c, 1, padded, height, width, features, f_height, f_width);
}

/* Upper half of what ends the words, and whether a word of zeros follows. */
INLINE uint64_t seal(const coder *c, int *more)
{
    const uint64_t last = c->lower + UINT32_MAX;
    *more = last >> 32 == (c->lower + c->range) >> 32;
    return last;
}

/* Ends the words; at least one symbol was coded. */
void qsweep_cool_seal(coder *c)
{
    int more;
    const uint64_t last = seal(c, &more);
    if (last < c->lower)
        carry(c);
    c->words[c->at++] = (uint32_t)(last >> 32);
    if (more)
        c->words[c->at++] = 0;
}

/* Whether the words, all of them and no more, are those that an encoder of the same symbols writes: the interval of all
   symbols and its end are then the encoder's. */
int qsweep_cool_is_sealed(const coder *c)
{
    int more;
    const uint64_t last = seal(c, &more);
    return (uint32_t)c->point == 0 && c->point >> 32 == last >> 32 && c->n_words == c->at - 1 + more;
}

/* Vector instructions of this machine: 2 for AVX-512, 1 for AVX2, else 0. In the build for every machine, that is asked. */
int qsweep_cool_instructions(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return 1;
#endif
    return 0;
}
