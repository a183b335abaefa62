/* Products of a few rows and a piece of a panel of float32 or int8 weights (see panels.h). */
#pragma once
#include <string.h>

#include "vectors.h"

#define PANEL 64 /* outputs */
#define GROUP 6  /* rows that are computed at a time, ... */
#ifdef __AVX512VNNI__
#define PARTS 4 /* ... and vectors of outputs: as many as there are registers for */
#else
#define PARTS 2
#endif
#define COLUMNS (PARTS * LANES)
#define PIECE 256 /* inputs; their products are added up in registers before they are added */

/* What to prefetch during a product: `part` bytes for each vector of weights that is used, `step`
 * bytes for the vectors of the same inputs. */
typedef struct {
    const char* from;
    int64_t step, part;
} Ahead;

ALWAYS_INLINE void prefetch(const Ahead* ahead, int64_t step, int part) {
    _mm_prefetch(ahead->from + step * ahead->step + part * ahead->part, _MM_HINT_T0);
}

/* A share of what comes from memory, while vectors of floats, `parts` for the same inputs, are used
 * several times: each time reads some of it, so that reading goes on as long as computing. */
ALWAYS_INLINE Ahead share_of(const void* from, int parts, int64_t times) {
    const int64_t part = (LANES * sizeof(float) + times - 1) / times;
    return (Ahead){from, parts * part, part};
}

/* The weights of eight steps later, if all are in a cache. */
ALWAYS_INLINE Ahead ahead_in_cache(const float* b, int64_t b_stride) {
    const int64_t step = b_stride * sizeof(float);
    return (Ahead){(const char*)b + 8 * step, step, LANES * sizeof(float)};
}

/* Writes or adds A B for A (rows, depth) and COLUMNS columns of B (depth, ...). */
ALWAYS_INLINE void multiply_columns(const float* a, int64_t a_stride, const float* b,
                                    int64_t b_stride, int64_t depth, const int rows, float* out,
                                    int64_t out_stride, int add, Ahead ahead) {
    Floats sums[GROUP][PARTS];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < PARTS; part++) sums[row][part] = broadcast(0);
    for (int64_t i = 0; i < depth; i++, b += b_stride) {
        Floats factors[PARTS];
        UNROLL_FOR (int part = 0; part < PARTS; part++) {
            prefetch(&ahead, i, part);
            factors[part] = load(b + LANES * part);
        }
        UNROLL_FOR (int row = 0; row < rows; row++) {
            Floats input = broadcast(a[row * a_stride + i]);
            UNROLL_FOR (int part = 0; part < PARTS; part++)
                sums[row][part] = multiply_add(input, factors[part], sums[row][part]);
        }
    }
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < PARTS; part++) {
            float* at = out + row * out_stride + LANES * part;
            Floats sum = sums[row][part];
            if (add) sum += load(at);
            store(at, sum);
        }
}

/* The same for PANEL columns, if B is in a cache. */
ALWAYS_INLINE void multiply_floats(const float* a, int64_t a_stride, const float* b,
                                   int64_t b_stride, int64_t depth, const int rows, float* out,
                                   int64_t out_stride, int add) {
    for (int64_t column = 0; column < PANEL; column += COLUMNS)
        multiply_columns(a, a_stride, b + column, b_stride, depth, rows, out + column, out_stride,
                         add, ahead_in_cache(b + column, b_stride));
}

/* Adds A B for A (rows, depth) and a piece of a panel B. */
ALWAYS_INLINE void add_floats(const float* a, int64_t a_stride, const float* b, int64_t depth,
                              const int rows, float* out, Ahead ahead) {
    for (int64_t column = 0; column < PANEL; column += COLUMNS) {
        multiply_columns(a, a_stride, b + column, PANEL, depth, rows, out + column, PANEL, 1,
                         ahead);
        ahead.from += depth * ahead.step;
    }
}

#if ZERO_POINT
#define INT8_PIECE (4 * PIECE)
#define INT8_PARTS PARTS
/* Does for int8 what `multiply_columns` does, and adds. */
ALWAYS_INLINE void add_columns(const uint8_t* a, int64_t a_stride, const int8_t* b, int64_t depth,
                               const int rows, int32_t* out, Ahead ahead) {
    Integers sums[GROUP][PARTS];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < PARTS; part++) sums[row][part] = broadcast_integer(0);
    for (int64_t i = 0; i < depth; i += 4, b += 4 * PANEL) {
        Integers factors[PARTS];
        UNROLL_FOR (int part = 0; part < PARTS; part++) {
            prefetch(&ahead, i / 4, part);
            factors[part] = load_integers(b + 4 * LANES * part);
        }
        UNROLL_FOR (int row = 0; row < rows; row++) {
            int32_t four;
            memcpy(&four, a + row * a_stride + i, sizeof four);
            Integers inputs = broadcast_integer(four);
            UNROLL_FOR (int part = 0; part < PARTS; part++)
                ADD_PRODUCTS(sums[row][part], inputs, factors[part]);
        }
    }
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < PARTS; part++)
            add_integers(sums[row][part], out + row * PANEL + LANES * part);
}

/* Adds A B for quantized rows A (rows, depth) and a piece of a panel B. */
ALWAYS_INLINE void add_bytes(const uint8_t* a, int64_t a_stride, const int8_t* b, int64_t depth,
                             const int rows, int32_t* out, Ahead ahead) {
    for (int64_t column = 0; column < PANEL; column += COLUMNS) {
        add_columns(a, a_stride, b + 4 * column, depth, rows, out + column, ahead);
        ahead.from += depth / 4 * ahead.step;
    }
}
#else
#define INT8_PIECE PIECE
#define INT8_PARTS 1
/* Does for int8 what `multiply_columns` does, and adds, for LANES columns. Without VNNI, factors
 * have 16 bits, and their products are added in pairs: a vector has four inputs for each of half as
 * many outputs. */
ALWAYS_INLINE void add_columns(const int16_t* a, const int8_t* b, int64_t depth, const int rows,
                               int32_t* out, Ahead ahead) {
    Integers sums[GROUP][2];
    UNROLL_FOR (int row = 0; row < rows; row++) sums[row][0] = sums[row][1] = broadcast_integer(0);
    for (int64_t i = 0; i < depth; i += 4, b += 4 * PANEL) {
        prefetch(&ahead, i / 4, 0);
        Integers left = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)b));
        Integers right = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)b + 1));
        UNROLL_FOR (int row = 0; row < rows; row++) {
            int64_t four;
            memcpy(&four, a + row * PIECE + i, sizeof four);
            Integers inputs = _mm256_set1_epi64x(four);
            ADD_PAIRS(sums[row][0], inputs, left);
            ADD_PAIRS(sums[row][1], inputs, right);
        }
    }
    UNROLL_FOR (int row = 0; row < rows; row++) {
        Integers both = _mm256_hadd_epi32(sums[row][0], sums[row][1]);
        add_integers(_mm256_permute4x64_epi64(both, _MM_SHUFFLE(3, 1, 2, 0)), out + row * PANEL);
    }
}

/* Adds A B for quantized rows A (rows, depth) and a piece of a panel B. */
ALWAYS_INLINE void add_bytes(const uint8_t* a, int64_t a_stride, const int8_t* b, int64_t depth,
                             const int rows, int32_t* out, Ahead ahead) {
    int16_t widened[GROUP * PIECE];
    for (int row = 0; row < rows; row++)
        for (int64_t i = 0; i < depth; i++)
            widened[row * PIECE + i] = (int16_t)(a[row * a_stride + i] - 128);
    for (int64_t column = 0; column < PANEL; column += LANES) {
        add_columns(widened, b + 4 * column, depth, rows, out + column, ahead);
        ahead.from += depth / 4 * ahead.step;
    }
}
#endif
