/* Products of many rows with float32 or int8 weights, at the speed of the processor.
 *
 * A weight is stored in panels of PANEL outputs. A panel contains the first inputs of all its
 * outputs, then the next ones, and so on: one float at a time, or four int8 values, which VNNI
 * multiplies with four values of a row in one instruction. */
#pragma once
#include "pieces.h"
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

#define MOST_ROWS (8 * GROUP) /* that a piece of a panel is multiplied with at a time */
#define CACHED (512 << 10)    /* bytes of rows that stay in the cache beside a panel */

/* Writes sums (rows, PANEL) of products in units of their output's scale and their row's step. */
static void scale_sums(const int32_t* sums, int64_t rows, const float* scales, const float* steps,
                       float* to) {
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = row * PANEL; i < (row + 1) * PANEL; i += LANES)
            store(to + i, floats_of(load_integers(sums + i)) * load(scales + i % PANEL) *
                              broadcast(steps[row]));
}

#ifdef __AMX_INT8__
#define TILED_ROWS (2 * TILE_ROWS) /* rows and outputs that tiles multiply at a time */

/* Writes a panel's outputs for some of many quantized rows. Tiles read TILED_ROWS rows in any case:
 * if there are fewer from `top` on, also some before it, whose results are not used; top + rows has
 * to be at least TILED_ROWS. */
static void multiply_tiles(const Panels* linear, int64_t panel, const Rounded* rounded, int64_t top,
                           int64_t rows, float* to) {
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
    scale_sums(sums + unused * PANEL, rows, linear->scales + panel * PANEL, rounded->scales + top,
               to);
}
#endif

/* How many rows of so many are multiplied with a panel at a time. */
static int64_t most_of(const Panels* linear, int64_t rows) {
#ifdef __AMX_INT8__
    if (linear->scales && linear->width % TILE_BYTES == 0 && rows >= TILED_ROWS) return TILED_ROWS;
#endif
    return (void)linear, (void)rows, MOST_ROWS;
}

/* Adds the products of a group of rows from `top` on with inputs of a panel, from `from` on. */
ALWAYS_INLINE void add_group(const Panels* linear, const void* piece, int64_t from, int64_t depth,
                             const float* x, const Rounded* rounded, int64_t top, const int rows,
                             float* sums, Ahead ahead) {
    const int64_t width = linear->width, first = top * width + from;
    if (linear->scales)
        add_bytes(rounded->values + first, width, piece, depth, rows, (int32_t*)sums, ahead);
    else
        add_floats(x + first, width, piece, depth, rows, sums, ahead);
}

/* Calls add_group for all rows, with a constant number of them, so that its loops unroll. The next
 * piece comes from memory meanwhile. */
static void add_piece(const Panels* linear, const char* piece, int64_t from, int64_t depth,
                      const float* x, const Rounded* rounded, int64_t top, int64_t rows,
                      float* sums) {
    const int64_t bytes = depth * PANEL * (linear->scales ? 1 : sizeof(float));
    const int64_t groups = (rows + GROUP - 1) / GROUP;
    Ahead ahead = share_of(piece + bytes, linear->scales ? INT8_PARTS : PARTS, groups);
    for (int64_t first = 0; first < rows; first += GROUP, ahead.from += bytes / groups) {
#define ADD_GROUP(rows)                                                                     \
    case rows:                                                                              \
        add_group(linear, piece, from, depth, x, rounded, top + first, rows,                \
                  sums + first * PANEL, ahead);                                             \
        break;
        switch (rows - first) {
            ADD_GROUP(1)
            ADD_GROUP(2)
            ADD_GROUP(3)
            ADD_GROUP(4)
            ADD_GROUP(5)
            default:
                ADD_GROUP(6)
        }
    }
}

/* Writes a panel's outputs (rows, PANEL) for `rows` rows from `top` on. */
static void multiply_panel(const Panels* linear, int64_t panel, const float* x,
                           const Rounded* rounded, int64_t top, int64_t rows, float* to) {
    const int64_t width = linear->width, first = panel * PANEL;
    const int64_t most = linear->scales ? INT8_PIECE : PIECE;
    const int64_t bytes = PANEL * (linear->scales ? 1 : sizeof(float)); /* of an input */
    const char* weight = (const char*)linear->panels + panel * width * bytes;
#ifdef __AMX_INT8__
    if (rows > GROUP && most_of(linear, top + rows) == TILED_ROWS) {
        multiply_tiles(linear, panel, rounded, top, rows, to);
        return;
    }
#endif
    memset(to, 0, rows * PANEL * sizeof(float));
    if (linear->scales && ZERO_POINT)
        for (int64_t row = 0; row < rows; row++)
            memcpy(to + row * PANEL, linear->starts + first, PANEL * sizeof(int32_t));
    for (int64_t from = 0; from < width; from += most)
        add_piece(linear, weight + from * bytes, from, width - from < most ? width - from : most, x,
                  rounded, top, rows, to);
    if (linear->scales)
        scale_sums((const int32_t*)to, rows, linear->scales + first, rounded->scales + top, to);
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

/* Rows that stay in the cache while all panels are multiplied with them; a multiple of `most`. */
static int64_t rows_in_cache(const Panels* linear, int64_t most) {
    const int64_t bytes = linear->width * (linear->scales ? 1 : sizeof(float));
    const int64_t times = CACHED / (most * bytes);
    return most * (times > 1 ? times : 1);
}

/* Writes or adds x Wᵀ for `rows` rows of x, or quantized rows; gelu(x W_gateᵀ) * x Wᵀ if there is a
 * gate, whose shape is that of W. */
static void multiply_panels(const Panels* linear, const Panels* gate, const float* x,
                            const Rounded* rounded, int64_t rows, float* out, int add,
                            int threads) {
    const int64_t outs = linear->outs, work = rows * outs * linear->width;
    const int64_t most = most_of(linear, rows), cached = rows_in_cache(linear, most);
#pragma omp parallel num_threads(threads) if (work > MIN_WORK)
    {
        start_tiles();
        for (int64_t from = 0; from < rows; from += cached)
#pragma omp for schedule(static) nowait
            for (int64_t first = 0; first < outs; first += PANEL) {
                const int64_t end = from + cached < rows ? from + cached : rows;
                const int64_t columns = outs - first < PANEL ? outs - first : PANEL;
                for (int64_t top = from; top < end; top += most) {
                    const int64_t some = end - top < most ? end - top : most;
                    float own[2][MOST_ROWS * PANEL];
                    multiply_panel(linear, first / PANEL, x, rounded, top, some, own[0]);
                    if (gate) {
                        multiply_panel(gate, first / PANEL, x, rounded, top, some, own[1]);
                        open_gate(own[1], own[0], some * PANEL, own[0]);
                    }
                    copy_panel(own[0], some, columns, out + top * outs + first, outs, add);
                }
            }
        end_tiles();
    }
}
