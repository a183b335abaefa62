/* A block of T5's encoder over many rows with float32 weights.
 *
 * Weights are used in place: a copy in panels would be as large, and outdated after a training
 * step. Each panel is made where it is needed, and many rows share it.
 * encoder_block.py describes the arguments. Arrays do not overlap.
 */

#include "texts.h"
#include "workspace.h"

#define DEPTH 1024 /* inputs of a panel that is made at a time, so that it stays in the cache */

typedef struct {
    const float *own_norm, *feed_forward_norm, *q, *k, *v, *o, *wi_0, *wi_1, *wo;
    int64_t width, heads, d_kv, d_ff;
    double epsilon;
} FloatBlock;

/* A weight W (outs, width) in its original layout. */
typedef struct {
    const float* weight;
    int64_t outs, width;
} Plain;

/* Memory for the intermediate results of a block. */
typedef struct {
    float *normed, *projected, *mixed, *opened;
    uintptr_t own; /* of each thread: a panel and what the gate needs, or what a head needs */
    int64_t size_of_own;
} Space;

typedef struct {
    float *panel, *gate, *value;
} Own;

static uintptr_t lay_out_own(Own* own, uintptr_t address, int64_t rows) {
    own->panel = take(&address, DEPTH * PANEL * sizeof(float));
    own->gate = take(&address, rows * PANEL * sizeof(float));
    own->value = take(&address, rows * PANEL * sizeof(float));
    return address;
}

/* Lays out memory from an address on; returns its end. */
static uintptr_t lay_out(Space* space, uintptr_t address, const FloatBlock* block, int64_t rows,
                         int64_t longest, int threads) {
    const int64_t attended = block->heads * block->d_kv, row = rows * sizeof(float);
    Head head;
    Own own;
    const int64_t of_head = lay_out_head(&head, 0, longest, block->d_kv);
    const int64_t of_panel = lay_out_own(&own, 0, rows);
    space->normed = take(&address, row * block->width);
    space->projected = take(&address, 3 * row * attended);
    space->mixed = take(&address, row * attended);
    space->opened = take(&address, row * block->d_ff);
    space->size_of_own = of_head > of_panel ? of_head : of_panel;
    space->own = (uintptr_t)take(&address, threads * space->size_of_own);
    return address;
}

static Own own_of(const Space* space, int64_t rows) {
    Own own;
    lay_out_own(&own, space->own + omp_get_thread_num() * space->size_of_own, rows);
    return own;
}

/* Writes LANES rows of as many floats, `stride` apart, as columns of a panel. */
static void transpose(const float* from, int64_t stride, float* to) {
#ifdef __AVX512VNNI__
    __m512 a[16], b[16];
    UNROLL_FOR (int i = 0; i < 16; i++) a[i] = _mm512_loadu_ps(from + i * stride);
    UNROLL_FOR (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
#define PAIRS(kind, x, y) \
    _mm512_castpd_ps(_mm512_unpack##kind##_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)))
    UNROLL_FOR (int i = 0; i < 16; i += 4)
        UNROLL_FOR (int half = 0; half < 2; half++) {
            a[i + 2 * half] = PAIRS(lo, b[i + half], b[i + half + 2]);
            a[i + 2 * half + 1] = PAIRS(hi, b[i + half], b[i + half + 2]);
        }
    /* Now quarter q of a[i + j] is column 4q + j of rows i to i + 3. */
    UNROLL_FOR (int j = 0; j < 4; j++) {
        __m512 even[2], odd[2];
        UNROLL_FOR (int half = 0; half < 2; half++) {
            even[half] = _mm512_shuffle_f32x4(a[8 * half + j], a[8 * half + 4 + j], 0x88);
            odd[half] = _mm512_shuffle_f32x4(a[8 * half + j], a[8 * half + 4 + j], 0xdd);
        }
        _mm512_storeu_ps(to + j * PANEL, _mm512_shuffle_f32x4(even[0], even[1], 0x88));
        _mm512_storeu_ps(to + (8 + j) * PANEL, _mm512_shuffle_f32x4(even[0], even[1], 0xdd));
        _mm512_storeu_ps(to + (4 + j) * PANEL, _mm512_shuffle_f32x4(odd[0], odd[1], 0x88));
        _mm512_storeu_ps(to + (12 + j) * PANEL, _mm512_shuffle_f32x4(odd[0], odd[1], 0xdd));
    }
#else
    __m256 a[8], b[8];
    UNROLL_FOR (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(from + i * stride);
    UNROLL_FOR (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    UNROLL_FOR (int i = 0; i < 8; i += 4)
        UNROLL_FOR (int half = 0; half < 2; half++) {
            a[i + 2 * half] = _mm256_shuffle_ps(b[i + half], b[i + half + 2], 0x44);
            a[i + 2 * half + 1] = _mm256_shuffle_ps(b[i + half], b[i + half + 2], 0xee);
        }
    /* Now half h of a[i + j] is column 4h + j of rows i to i + 3. */
    UNROLL_FOR (int j = 0; j < 4; j++) {
        _mm256_storeu_ps(to + j * PANEL, _mm256_permute2f128_ps(a[j], a[4 + j], 0x20));
        _mm256_storeu_ps(to + (4 + j) * PANEL, _mm256_permute2f128_ps(a[j], a[4 + j], 0x31));
    }
#endif
}

/* Makes a panel (depth, PANEL) from `columns` rows of a weight, padded with zeros. */
static void make_panel(const float* weight, int64_t stride, int64_t columns, int64_t depth,
                       float* panel) {
    const int64_t turned = depth / LANES * LANES, whole = columns / LANES * LANES;
    if (columns < PANEL) memset(panel, 0, depth * PANEL * sizeof(float));
    for (int64_t column = 0; column < whole; column += LANES)
        for (int64_t i = 0; i < turned; i += LANES)
            transpose(weight + column * stride + i, stride, panel + i * PANEL + column);
    for (int64_t column = 0; column < columns; column++)
        for (int64_t i = column < whole ? turned : 0; i < depth; i++)
            panel[i * PANEL + column] = weight[column * stride + i];
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

/* Calls multiply_pieces with a constant number of rows, so that its loops unroll. */
static void multiply_few(const float* a, int64_t stride, const float* panel, int64_t depth,
                         int64_t rows, float* to, int64_t to_stride, int add) {
#define MULTIPLY_FEW(rows)                                                  \
    case rows:                                                              \
        multiply_pieces(a, stride, panel, depth, rows, to, to_stride, add); \
        break;
    switch (rows) {
        MULTIPLY_FEW(1)
        MULTIPLY_FEW(2)
        MULTIPLY_FEW(3)
        MULTIPLY_FEW(4)
        MULTIPLY_FEW(5)
        MULTIPLY_FEW(6)
    }
}

/* Writes or adds a panel's outputs for all rows of x, at most `room` columns of them. */
static void multiply_panel_of(const Plain* linear, int64_t first, const float* x, int64_t rows,
                              float* to, int64_t stride, int64_t room, int add, float* panel) {
    const int64_t width = linear->width, left = linear->outs - first;
    const int64_t columns = left < PANEL ? left : PANEL;
    for (int64_t from = 0; from < width; from += DEPTH) {
        const int64_t depth = width - from < DEPTH ? width - from : DEPTH;
        make_panel(linear->weight + first * width + from, width, columns, depth, panel);
        for (int64_t top = 0; top < rows; top += GROUP) {
            const int64_t group = rows - top < GROUP ? rows - top : GROUP;
            const float* input = x + top * width + from;
            if (room >= PANEL) {
                multiply_few(input, width, panel, depth, group, to + top * stride, stride,
                             add || from);
                continue;
            }
            float part[GROUP * PANEL];
            multiply_few(input, width, panel, depth, group, part, PANEL, 0);
            copy_panel(part, group, room, to + top * stride, stride, add || from);
        }
    }
}

/* Writes or adds x Wᵀ; rows of the output are `stride` apart. */
static void multiply_plain(const Plain* linear, const float* x, int64_t rows, float* out,
                           int64_t stride, int add, const Space* space, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < linear->outs; first += PANEL)
        multiply_panel_of(linear, first, x, rows, out + first, stride, linear->outs - first, add,
                          own_of(space, rows).panel);
}

/* Writes gelu(x W_gateᵀ) * x W_valueᵀ. */
static void multiply_and_open(const Plain* gate, const Plain* value, const float* x, int64_t rows,
                              float* out, const Space* space, int threads) {
    const int64_t outs = gate->outs;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t first = 0; first < outs; first += PANEL) {
        const Own own = own_of(space, rows);
        const int64_t columns = outs - first < PANEL ? outs - first : PANEL;
        multiply_panel_of(gate, first, x, rows, own.gate, PANEL, PANEL, 0, own.panel);
        multiply_panel_of(value, first, x, rows, own.value, PANEL, PANEL, 0, own.panel);
        open_gate(own.gate, own.value, rows * PANEL, own.gate);
        copy_panel(own.gate, rows, columns, out + first, outs, 0);
    }
}

static void normalize_all(const float* x, const float* weight, float epsilon, int64_t rows,
                          int64_t width, float* out, int threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > MIN_WORK)
    for (int64_t row = 0; row < rows; row++)
        normalize(x + row * width, weight, epsilon, 1, width, out + row * width);
}

/* Does what `encode_block` does, with float32 weights. */
int encode_float_block(const FloatBlock* block, float* hidden, int64_t rows, const int64_t* starts,
                       int64_t count, const float* bias, int64_t bias_stride, int64_t middle,
                       int64_t threads) {
    const int64_t width = block->width, attended = block->heads * block->d_kv, d_ff = block->d_ff;
    const float epsilon = (float)block->epsilon;
    const Texts texts = {starts, count, block->heads, block->d_kv, longest_of(starts, count)};
    Space space;
    void* memory = borrow(lay_out(&space, 0, block, rows, texts.longest, threads));
    if (!memory) return 0;
    lay_out(&space, (uintptr_t)memory, block, rows, texts.longest, threads);

    normalize_all(hidden, block->own_norm, epsilon, rows, width, space.normed, threads);
    const float* projections[] = {block->q, block->k, block->v};
    for (int i = 0; i < 3; i++)
        multiply_plain(&(Plain){projections[i], attended, width}, space.normed, rows,
                       space.projected + i * attended, 3 * attended, 0, &space, threads);
    attend_texts(&texts, space.projected, bias, bias_stride, middle, space.own, space.size_of_own,
                 space.mixed, threads);
    multiply_plain(&(Plain){block->o, width, attended}, space.mixed, rows, hidden, width, 1, &space,
                   threads);

    normalize_all(hidden, block->feed_forward_norm, epsilon, rows, width, space.normed, threads);
    multiply_and_open(&(Plain){block->wi_0, d_ff, width}, &(Plain){block->wi_1, d_ff, width},
                      space.normed, rows, space.opened, &space, threads);
    multiply_plain(&(Plain){block->wo, width, d_ff}, space.opened, rows, hidden, width, 1, &space,
                   threads);
    give_back(memory);
    return 1;
}
