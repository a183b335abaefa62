/* Products of a few rows with float32 or int8 weights, at the speed of reading the weights. */
#pragma once

#include "panels.h"

#define STRETCH (64 << 10) /* bytes of weights that stay in the cache for many rows */

/* A layer x Wᵀ with W (outs, width), float32, or int8 with a scale and a sum for each output.
 * `panels` are a copy for many rows; NULL where reading from memory dominates for any number. */
typedef struct {
    const void* weight;
    const float* scales;
    const int32_t* sums;
    int64_t outs, width;
    const Panels* panels;
} Linear;

/* Products of `rows` <= ROWS rows, `stride` apart, with OUTS rows of a weight. Called with
 * constants, so that loops over rows unroll and sums stay in registers. Weights are prefetched,
 * since rows are too short for the processor to detect the sequence. */
ALWAYS_INLINE void float_products(const float* x, int64_t stride, const float* weight,
                                  int64_t width, const int rows, Ahead ahead,
                                  __m128 products[ROWS]) {
    Floats parts[ROWS][OUTS];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int out = 0; out < OUTS; out++) parts[row][out] = broadcast(0);
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        Floats inputs[ROWS];
        for (int row = 0; row < rows; row++) inputs[row] = load(x + row * stride + i);
        for (int out = 0; out < OUTS; out++) {
            if (out * LANES * sizeof(float) % LINE == 0) prefetch(&ahead, i / LANES, out);
            Floats factors = load(weight + out * width + i);
            for (int row = 0; row < rows; row++)
                parts[row][out] = multiply_add(inputs[row], factors, parts[row][out]);
        }
    }
    for (int row = 0; row < rows; row++) {
        products[row] = sums_of(parts[row]);
        for (int64_t rest = i; rest < width; rest++) {
            const float* factors = weight + rest;
            __m128 column =
                _mm_setr_ps(factors[0], factors[width], factors[2 * width], factors[3 * width]);
            __m128 input = _mm_set1_ps(x[row * stride + rest]);
            products[row] = _mm_add_ps(products[row], _mm_mul_ps(column, input));
        }
    }
}

/* The sums of four vectors of integers. */
ALWAYS_INLINE __m128i integer_sums_of(const Integers x[OUTS]) {
#ifdef __AVX512VNNI__
    __m512i low =
        _mm512_add_epi32(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
    __m512i high =
        _mm512_add_epi32(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
    __m512i lanes =
        _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
    __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64(lanes, 1));
#else
    __m256i half = _mm256_hadd_epi32(_mm256_hadd_epi32(x[0], x[1]), _mm256_hadd_epi32(x[2], x[3]));
#endif
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

ALWAYS_INLINE int32_t int8_dot(const uint8_t* x, const int8_t* weight, int64_t size) {
    int32_t sum = 0;
    for (int64_t i = 0; i < size; i++) sum += ((int32_t)x[i] - 128 + ZERO_POINT) * weight[i];
    return sum;
}

ALWAYS_INLINE void int8_products(const uint8_t* x, const int8_t* weight, int64_t width,
                                 const int rows, __m128i sums[ROWS]) {
    Integers parts[ROWS][OUTS];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int out = 0; out < OUTS; out++) parts[row][out] = broadcast_integer(0);
    int64_t i = 0;
    for (; i + 4 * LANES <= width; i += 4 * LANES) {
        Integers inputs[ROWS];
        for (int row = 0; row < rows; row++) inputs[row] = load_integers(x + row * width + i);
        for (int out = 0; out < OUTS; out++) {
            const int8_t* from = weight + out * width + i;
            _mm_prefetch(from + OUTS * width, _MM_HINT_T0);
            Integers factors = load_integers(from);
            for (int row = 0; row < rows; row++)
                ADD_PRODUCTS(parts[row][out], inputs[row], factors);
        }
    }
    for (int row = 0; row < rows; row++) sums[row] = integer_sums_of(parts[row]);
    if (i == width) return;
    for (int row = 0; row < rows; row++) {
        int32_t rest[OUTS];
        for (int out = 0; out < OUTS; out++)
            rest[out] = int8_dot(x + row * width + i, weight + out * width + i, width - i);
        sums[row] = _mm_add_epi32(sums[row], _mm_loadu_si128((const __m128i*)rest));
    }
}

/* Computes OUTS outputs from `first` on, of `rows` <= ROWS rows from `top` on. */
ALWAYS_INLINE void multiply_block(const Linear* linear, const float* x, const Rounded* rounded,
                                  int64_t top, const int rows, int64_t first, float* out, int add,
                                  Ahead ahead) {
    const int64_t width = linear->width;
    __m128 products[ROWS];
    if (linear->scales) {
        __m128i sums[ROWS];
        const int8_t* weight = (const int8_t*)linear->weight + first * width;
        int8_products(rounded->values + top * width, weight, width, rows, sums);
        __m128i excess = _mm_mullo_epi32(_mm_loadu_si128((const __m128i*)(linear->sums + first)),
                                         _mm_set1_epi32(ZERO_POINT));
        __m128 scales = _mm_loadu_ps(linear->scales + first);
        for (int row = 0; row < rows; row++) {
            __m128 product = _mm_cvtepi32_ps(_mm_sub_epi32(sums[row], excess));
            __m128 step = _mm_set1_ps(rounded->scales[top + row]);
            products[row] = _mm_mul_ps(_mm_mul_ps(product, scales), step);
        }
    } else {
        const float* weight = (const float*)linear->weight + first * width;
        float_products(x + top * width, width, weight, width, rows, ahead, products);
    }
    for (int row = 0; row < rows; row++) {
        float* to = out + (top + row) * linear->outs + first;
        _mm_storeu_ps(to, add ? _mm_add_ps(_mm_loadu_ps(to), products[row]) : products[row]);
    }
}

/* Computes the outputs from `first` to `end` of all rows, for a few rows at a time, so that these
 * rows stay in the nearest cache and the weights in the next one. The next stretch of weights comes
 * from memory meanwhile. */
static void multiply_stretch(const Linear* linear, const float* x, int64_t rows,
                             const Rounded* rounded, int64_t first, int64_t end, float* out,
                             int add) {
    const int64_t times = (rows + ROWS - 1) / ROWS, row = linear->width * sizeof(float);
    Ahead ahead = share_of((const char*)linear->weight + end * row, OUTS, times);
    for (int64_t top = 0; top < rows; top += ROWS)
        for (int64_t j = first; j < end; j += OUTS) {
#define MULTIPLY(rows) multiply_block(linear, x, rounded, top, rows, j, out, add, ahead)
            SWITCH_ROWS(rows - top, MULTIPLY)
            ahead.from += OUTS * row / times;
        }
}

static void round_few(const Linear* linear, const float* x, int64_t rows, Rounded* rounded) {
    const int64_t width = linear->width;
    if (!linear->scales) return;
    for (int64_t row = 0; row < rows; row++)
        round_row(x + row * width, width, rounded->values + row * width, rounded->scales + row);
}

static int uses_panels(const Linear* linear, int64_t rows) { return linear->panels && rows > ROWS; }

static int64_t stretch_of(const Linear* linear, int64_t rows) {
    const int64_t outs = STRETCH / (linear->width * sizeof(float)) / OUTS * OUTS;
    return rows > ROWS && outs > OUTS ? outs : OUTS;
}

/* Computes x Wᵀ of several layers with the same input; writes it to outs or adds it. */
static void multiply(const Linear* const* linears, int count, const float* x, int64_t rows,
                     Rounded* rounded, float* const* outs, int add, int threads) {
    const int64_t width = linears[0]->width, stretch = stretch_of(linears[0], rows);
    int64_t work = 0;
    for (int i = 0; i < count; i++) work += linears[i]->outs * width * rows;
    round_few(linears[0], x, rows, rounded);
    if (uses_panels(linears[0], rows)) {
        for (int i = 0; i < count; i++)
            multiply_panels(linears[i]->panels, NULL, x, rounded, rows, outs[i], add, threads);
        return;
    }
#pragma omp parallel num_threads(threads) if (work > MIN_WORK)
    for (int i = 0; i < count; i++) {
        const Linear* linear = linears[i];
#pragma omp for nowait schedule(static)
        for (int64_t first = 0; first < linear->outs; first += stretch) {
            int64_t end = first + stretch < linear->outs ? first + stretch : linear->outs;
            multiply_stretch(linear, x, rows, rounded, first, end, outs[i], add);
        }
    }
}
