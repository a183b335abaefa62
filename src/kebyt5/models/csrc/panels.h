/* Products of many rows with float32 or int8 weights, at the speed of the processor.
 *
 * A weight is stored in panels of PANEL outputs. A panel contains the first inputs of all its
 * outputs, then the next ones, and so on: one float at a time, or four int8 values, which one
 * instruction multiplies with four values of a row. */
#pragma once
#include <string.h>

#include "rows.h"
#include "tiles.h"

/* A layer x Wᵀ with W (outs, width); for int8, width is a multiple of four. Panels, scales and
 * starts are padded with zeros to a whole panel. Sums that contain the zero point of the rows, 128,
 * begin at `starts`, which make up for it. Float weights have neither scales nor starts. */
typedef struct {
    const void* panels;
    const float* scales;
    const int32_t* starts;
    int64_t outs, width;
} Panels;

#define PANEL 64 /* outputs */
#define GROUP 6  /* rows that are computed at a time, ... */
#ifdef __AVX512VNNI__
#define PARTS 4 /* ... and vectors of outputs: as many as there are registers for */
#else
#define PARTS 2
#endif
#define COLUMNS (PARTS * LANES)
#define PIECE 256 /* inputs whose products of floats are added up before they are added */
#define AHEAD 8   /* how many steps ahead weights are prefetched */
#define CACHED (512 << 10) /* bytes of rows that stay in the cache beside a panel */

/* Writes or adds A B for A (rows, depth) and COLUMNS columns of B (depth, ...). */
ALWAYS_INLINE void multiply_columns(const float* a, int64_t a_stride, const float* b,
                                    int64_t b_stride, int64_t depth, const int rows, float* out,
                                    int64_t out_stride, int add) {
    Floats sums[GROUP][PARTS];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < PARTS; part++) sums[row][part] = broadcast(0);
    for (int64_t i = 0; i < depth; i++, b += b_stride) {
        Floats factors[PARTS];
        UNROLL_FOR (int part = 0; part < PARTS; part++) {
            _mm_prefetch((const char*)(b + AHEAD * b_stride + LANES * part), _MM_HINT_T0);
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

/* The same for PANEL columns of B. */
ALWAYS_INLINE void multiply_floats(const float* a, int64_t a_stride, const float* b,
                                   int64_t b_stride, int64_t depth, const int rows, float* out,
                                   int64_t out_stride, int add) {
    for (int64_t column = 0; column < PANEL; column += COLUMNS)
        multiply_columns(a, a_stride, b + column, b_stride, depth, rows, out + column, out_stride,
                         add);
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

/* Writes or adds sums of products in units of their output's scale and their row's step. */
ALWAYS_INLINE void scale_sums(Integers sums, const float* scales, float step, float* to, int add) {
    Floats product = floats_of(sums) * load(scales) * broadcast(step);
    if (add) product += load(to);
    store(to, product);
}

/* Writes or adds COLUMNS of a panel's outputs, from `first` on, for `rows` <= GROUP quantized rows
 * from `top` on. */
ALWAYS_INLINE void multiply_int8(const Panels* linear, int64_t first, const Rounded* rounded,
                                 int64_t top, const int rows, float* to, int64_t stride, int add) {
    const int64_t width = linear->width;
    const int8_t* weight =
        (const int8_t*)linear->panels + first / PANEL * PANEL * width + 4 * (first % PANEL);
    const uint8_t* x = rounded->values + top * width;
    Integers sums[GROUP][PARTS];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < PARTS; part++) {
            sums[row][part] = ZERO_POINT ? load_integers(linear->starts + first + LANES * part)
                                         : broadcast_integer(0);
            __builtin_prefetch(to + row * stride + LANES * part, 1);
        }
    for (int64_t i = 0; i < width; i += 4, weight += 4 * PANEL) {
        Integers factors[PARTS];
        UNROLL_FOR (int part = 0; part < PARTS; part++) {
            _mm_prefetch(weight + AHEAD * 4 * PANEL + 4 * LANES * part, _MM_HINT_T0);
            factors[part] = load_integers(weight + 4 * LANES * part);
        }
        UNROLL_FOR (int row = 0; row < rows; row++) {
            int32_t four;
            memcpy(&four, x + row * width + i, 4);
            Integers inputs = broadcast_integer(four);
            UNROLL_FOR (int part = 0; part < PARTS; part++)
                ADD_PRODUCTS(sums[row][part], inputs, factors[part]);
        }
    }
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int part = 0; part < PARTS; part++)
            scale_sums(sums[row][part], linear->scales + first + LANES * part,
                       rounded->scales[top + row], to + row * stride + LANES * part, add);
}

/* Writes or adds a panel's outputs for rows of x, or quantized rows if the weight is int8. */
ALWAYS_INLINE void multiply_group(const Panels* linear, int64_t panel, const float* x,
                                  const Rounded* rounded, int64_t top, const int rows, float* to,
                                  int64_t stride, int add) {
    const int64_t width = linear->width;
    if (linear->scales)
        for (int64_t column = 0; column < PANEL; column += COLUMNS)
            multiply_int8(linear, panel * PANEL + column, rounded, top, rows, to + column, stride,
                          add);
    else
        multiply_pieces(x + top * width, width,
                        (const float*)linear->panels + panel * PANEL * width, width, rows, to,
                        stride, add);
}

#ifdef __AMX_INT8__
#define TILED_ROWS (2 * TILE_ROWS) /* rows and outputs that tiles multiply at a time */
#define MAX_GROUP TILED_ROWS

/* Does what `multiply_int8` does, by tiles. They read TILED_ROWS rows in any case: if there are
 * fewer from `top` on, also some before it, whose results are not used; top + rows has to be at
 * least TILED_ROWS. */
static void multiply_tiles(const Panels* linear, int64_t panel, const Rounded* rounded, int64_t top,
                           int64_t rows, float* to, int64_t stride, int add) {
    const int64_t width = linear->width, unused = TILED_ROWS - rows;
    const int8_t* weight = (const int8_t*)linear->panels + panel * PANEL * width;
    const uint8_t* upper = rounded->values + (top - unused) * width;
    const uint8_t* lower = upper + TILE_ROWS * width;
    _Alignas(LINE) int32_t sums[TILED_ROWS * PANEL];
    for (int64_t column = 0; column < PANEL; column += TILED_ROWS) {
        const int32_t* starts = linear->starts + panel * PANEL + column;
        const int64_t same = 0, stride_of_sums = 4 * PANEL;
        _tile_loadd(0, starts, same);
        _tile_loadd(1, starts + TILE_ROWS, same);
        _tile_loadd(2, starts, same);
        _tile_loadd(3, starts + TILE_ROWS, same);
        for (int64_t i = 0; i < width; i += TILE_BYTES) {
            const int8_t* factors = weight + i * PANEL + 4 * column;
            _tile_loadd(4, upper + i, width);
            _tile_loadd(5, lower + i, width);
            _tile_loadd(6, factors, 4 * PANEL);
            _tile_loadd(7, factors + TILE_BYTES, 4 * PANEL);
            _tile_dpbusd(0, 4, 6);
            _tile_dpbusd(1, 4, 7);
            _tile_dpbusd(2, 5, 6);
            _tile_dpbusd(3, 5, 7);
        }
        _tile_stored(0, sums + column, stride_of_sums);
        _tile_stored(1, sums + column + TILE_ROWS, stride_of_sums);
        _tile_stored(2, sums + column + TILE_ROWS * PANEL, stride_of_sums);
        _tile_stored(3, sums + column + TILE_ROWS * PANEL + TILE_ROWS, stride_of_sums);
    }
    for (int64_t row = 0; row < rows; row++)
        for (int part = 0; part < 4; part++)
            scale_sums(_mm512_load_si512(sums + (unused + row) * PANEL + 16 * part),
                       linear->scales + panel * PANEL + 16 * part, rounded->scales[top + row],
                       to + row * stride + 16 * part, add);
}
#else
#define MAX_GROUP GROUP
#endif

/* How many rows of so many are computed at a time. */
static int64_t group_of(const Panels* linear, int64_t rows) {
#ifdef __AMX_INT8__
    if (linear->scales && linear->width % TILE_BYTES == 0 && rows >= TILED_ROWS) return TILED_ROWS;
#endif
    return (void)linear, (void)rows, GROUP;
}

/* Writes or adds a panel's outputs for a group; calls multiply_group with a constant number of
 * rows, so that its loops unroll. */
static void multiply_panel(const Panels* linear, int64_t panel, const float* x,
                           const Rounded* rounded, int64_t top, int64_t rows, float* to,
                           int64_t stride, int add) {
#define MULTIPLY_GROUP(rows)                                                   \
    case rows:                                                                 \
        multiply_group(linear, panel, x, rounded, top, rows, to, stride, add); \
        break;
#ifdef __AMX_INT8__
    if (rows > GROUP) multiply_tiles(linear, panel, rounded, top, rows, to, stride, add);
#endif
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

/* Rows that stay in the cache while all panels are multiplied with them; whole groups. */
static int64_t rows_in_cache(const Panels* linear, int64_t group) {
    const int64_t bytes = linear->width * (linear->scales ? 1 : sizeof(float));
    const int64_t groups = CACHED / (group * bytes);
    return group * (groups > 1 ? groups : 1);
}

/* Writes or adds x Wᵀ for `rows` rows of x, or quantized rows; gelu(x W_gateᵀ) * x Wᵀ if there is a
 * gate, whose shape is that of W. */
static void multiply_panels(const Panels* linear, const Panels* gate, const float* x,
                            const Rounded* rounded, int64_t rows, float* out, int add,
                            int threads) {
    const int64_t outs = linear->outs, work = rows * outs * linear->width;
    const int64_t most = group_of(linear, rows), cached = rows_in_cache(linear, most);
#pragma omp parallel num_threads(threads) if (work > MIN_WORK)
    {
        start_tiles();
        for (int64_t from = 0; from < rows; from += cached)
#pragma omp for schedule(static) nowait
            for (int64_t first = 0; first < outs; first += PANEL) {
                const int64_t end = from + cached < rows ? from + cached : rows;
                const int64_t panel = first / PANEL, left = outs - first;
                const int direct = left >= PANEL && !gate;
                for (int64_t top = from; top < end; top += most) {
                    const int64_t group = end - top < most ? end - top : most;
                    float *to = out + top * outs + first, own[2][MAX_GROUP * PANEL];
                    multiply_panel(linear, panel, x, rounded, top, group, direct ? to : own[0],
                                   direct ? outs : PANEL, direct && add);
                    if (direct) continue;
                    if (gate) {
                        multiply_panel(gate, panel, x, rounded, top, group, own[1], PANEL, 0);
                        open_gate(own[1], own[0], group * PANEL, own[0]);
                    }
                    copy_panel(own[0], group, left < PANEL ? left : PANEL, to, outs, add);
                }
            }
        end_tiles();
    }
}
