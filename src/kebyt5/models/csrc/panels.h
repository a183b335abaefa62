/* Products of many rows with float32 or int8 weights, at the speed of the processor.
 *
 * A weight is stored in panels of PANEL outputs. A panel contains the first inputs of all its
 * outputs, then the next ones, and so on: one float at a time, or four int8 values, which one
 * instruction multiplies with four values of a row. */
#pragma once
#include <string.h>

#include "rows.h"

/* A layer x Wᵀ with W (outs, width); for int8, width is a multiple of four. Panels, scales and
 * starts are padded with zeros to a whole panel. Sums begin at `starts`, which make up for the zero
 * point of the rows, 128. Float weights have neither scales nor starts. */
typedef struct {
    const void* panels;
    const float* scales;
    const int32_t* starts;
    int64_t outs, width;
} Panels;

#ifdef __AVX512VNNI__
#define PANEL 64  /* outputs, four vectors of them, ... */
#define GROUP 6   /* ... and rows that are computed at a time: as many as there are registers for */
#define PIECE 256 /* inputs whose products of floats are added up before they are added */
#define AHEAD 8   /* how many steps ahead weights are prefetched */

/* sums += x * weight by fours. The compiler's intrinsic takes up registers that sums need. */
#define ADD_PRODUCTS(sums, x, weight) \
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(x), "v"(weight))

/* Writes or adds A B for A (rows, depth) and PANEL columns of B (depth, ...). */
ALWAYS_INLINE void multiply_floats(const float* a, int64_t a_stride, const float* b,
                                   int64_t b_stride, int64_t depth, const int rows, float* out,
                                   int64_t out_stride, int add) {
    __m512 sums[GROUP][4];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < 4; part++) sums[row][part] = _mm512_setzero_ps();
    for (int64_t i = 0; i < depth; i++, b += b_stride) {
        __m512 factors[4];
        UNROLL_FOR (int part = 0; part < 4; part++) {
            _mm_prefetch((const char*)(b + AHEAD * b_stride + 16 * part), _MM_HINT_T0);
            factors[part] = _mm512_loadu_ps(b + 16 * part);
        }
        UNROLL_FOR (int row = 0; row < rows; row++) {
            __m512 input = _mm512_set1_ps(a[row * a_stride + i]);
            UNROLL_FOR (int part = 0; part < 4; part++)
                sums[row][part] = _mm512_fmadd_ps(input, factors[part], sums[row][part]);
        }
    }
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < 4; part++) {
            float* at = out + row * out_stride + 16 * part;
            const __m512 sum = sums[row][part];
            _mm512_storeu_ps(at, add ? _mm512_add_ps(_mm512_loadu_ps(at), sum) : sum);
        }
}

/* Writes or adds A B in pieces, so that rounding does not grow with the number of inputs. */
ALWAYS_INLINE void multiply_pieces(const float* a, int64_t a_stride, const float* panel,
                                   int64_t depth, const int rows, float* out, int64_t out_stride,
                                   int add) {
    for (int64_t from = 0; from < depth; from += PIECE)
        multiply_floats(a + from, a_stride, panel + from * PANEL, PANEL,
                        depth - from < PIECE ? depth - from : PIECE, rows, out, out_stride,
                        add || from);
}

/* Writes or adds a panel's outputs for `rows` <= GROUP quantized rows from `top` on. */
ALWAYS_INLINE void multiply_int8(const Panels* linear, int64_t panel, const Rounded* rounded,
                                 int64_t top, const int rows, float* to, int64_t stride, int add) {
    const int64_t width = linear->width;
    const int8_t* weight = (const int8_t*)linear->panels + panel * PANEL * width;
    const uint8_t* x = rounded->values + top * width;
    __m512i sums[GROUP][4];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < 4; part++) {
            sums[row][part] = _mm512_loadu_si512(linear->starts + panel * PANEL + 16 * part);
            __builtin_prefetch(to + row * stride + 16 * part, 1);
        }
    for (int64_t i = 0; i < width; i += 4, weight += 4 * PANEL) {
        __m512i factors[4];
        UNROLL_FOR (int part = 0; part < 4; part++) {
            _mm_prefetch(weight + AHEAD * 4 * PANEL + 64 * part, _MM_HINT_T0);
            factors[part] = _mm512_loadu_si512(weight + 64 * part);
        }
        UNROLL_FOR (int row = 0; row < rows; row++) {
            int32_t four;
            memcpy(&four, x + row * width + i, 4);
            __m512i inputs = _mm512_set1_epi32(four);
            UNROLL_FOR (int part = 0; part < 4; part++)
                ADD_PRODUCTS(sums[row][part], inputs, factors[part]);
        }
    }
    UNROLL_FOR (int row = 0; row < rows; row++) {
        const __m512 step = _mm512_set1_ps(rounded->scales[top + row]);
        UNROLL_FOR (int part = 0; part < 4; part++) {
            __m512 scales = _mm512_loadu_ps(linear->scales + panel * PANEL + 16 * part);
            __m512 product =
                _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[row][part]), scales), step);
            float* at = to + row * stride + 16 * part;
            _mm512_storeu_ps(at, add ? _mm512_add_ps(_mm512_loadu_ps(at), product) : product);
        }
    }
}

/* Writes or adds a panel's outputs for rows of x, or quantized rows if the weight is int8. */
ALWAYS_INLINE void multiply_group(const Panels* linear, int64_t panel, const float* x,
                                  const Rounded* rounded, int64_t top, const int rows, float* to,
                                  int64_t stride, int add) {
    const int64_t width = linear->width;
    if (linear->scales)
        multiply_int8(linear, panel, rounded, top, rows, to, stride, add);
    else
        multiply_pieces(x + top * width, width,
                        (const float*)linear->panels + panel * PANEL * width, width, rows, to,
                        stride, add);
}

/* Calls multiply_group with a constant number of rows, so that its loops unroll. */
static void multiply_panel(const Panels* linear, int64_t panel, const float* x,
                           const Rounded* rounded, int64_t top, int64_t rows, float* to,
                           int64_t stride, int add) {
#define MULTIPLY_GROUP(rows)                                                   \
    case rows:                                                                 \
        multiply_group(linear, panel, x, rounded, top, rows, to, stride, add); \
        break;
    switch (rows) {
        MULTIPLY_GROUP(1)
        MULTIPLY_GROUP(2)
        MULTIPLY_GROUP(3)
        MULTIPLY_GROUP(4)
        MULTIPLY_GROUP(5)
        MULTIPLY_GROUP(6)
    }
}

/* Copies or adds the outputs of a panel to where they belong, without its padding. */
static void copy_panel(const float* from, int64_t rows, int64_t columns, float* to, int64_t stride,
                       int add) {
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < columns; i++) {
            float* at = to + row * stride + i;
            *at = (add ? *at : 0.0f) + from[row * PANEL + i];
        }
}

/* Writes or adds x Wᵀ for `rows` rows of x, or quantized rows. */
static void multiply_panels(const Panels* linear, const float* x, const Rounded* rounded,
                            int64_t rows, float* out, int add, int threads) {
    const int64_t outs = linear->outs, work = rows * outs * linear->width;
#pragma omp parallel for num_threads(threads) schedule(static) if (work > MIN_WORK)
    for (int64_t panel = 0; panel < (outs + PANEL - 1) / PANEL; panel++) {
        const int64_t first = panel * PANEL, columns = outs - first < PANEL ? outs - first : PANEL;
        for (int64_t top = 0; top < rows; top += GROUP) {
            const int64_t group = rows - top < GROUP ? rows - top : GROUP;
            float* to = out + top * outs + first;
            if (columns == PANEL) {
                multiply_panel(linear, panel, x, rounded, top, group, to, outs, add);
                continue;
            }
            float part[GROUP * PANEL];
            multiply_panel(linear, panel, x, rounded, top, group, part, PANEL, 0);
            copy_panel(part, group, columns, to, outs, add);
        }
    }
}

/* Writes gelu(x W_gateᵀ) * x W_valueᵀ. */
static void multiply_gated(const Panels* gate, const Panels* value, const float* x,
                           const Rounded* rounded, int64_t rows, float* out, int threads) {
    const int64_t outs = gate->outs, work = 2 * rows * outs * gate->width;
#pragma omp parallel for num_threads(threads) schedule(static) if (work > MIN_WORK)
    for (int64_t panel = 0; panel < (outs + PANEL - 1) / PANEL; panel++) {
        const int64_t first = panel * PANEL, columns = outs - first < PANEL ? outs - first : PANEL;
        for (int64_t top = 0; top < rows; top += GROUP) {
            const int64_t group = rows - top < GROUP ? rows - top : GROUP;
            float parts[2][GROUP * PANEL];
            multiply_panel(gate, panel, x, rounded, top, group, parts[0], PANEL, 0);
            multiply_panel(value, panel, x, rounded, top, group, parts[1], PANEL, 0);
            open_gate(parts[0], parts[1], group * PANEL, parts[0]);
            copy_panel(parts[0], group, columns, out + top * outs + first, outs, 0);
        }
    }
}
#endif
