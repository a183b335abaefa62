/* A block of T5's encoder over many rows with int8 weights, and its parts; encoder_float.c has the
 * block with float32 weights.
 *
 * encoder_block.py and native.py describe the arguments. Arrays do not overlap.
 */
#include <string.h>

#include "panels.h"
#include "texts.h"
#include "workspace.h"

static void round_all(const float* x, int64_t rows, int64_t width, const Rounded* rounded,
                      int threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > MIN_WORK)
    for (int64_t row = 0; row < rows; row++)
        round_row(x + row * width, width, rounded->values + row * width, rounded->scales + row);
}

typedef struct {
    const float *own_norm, *feed_forward_norm;
    Panels projections, o, wi_0, wi_1, wo; /* projections: q, k and v, concatenated */
    int64_t width, heads, d_kv, d_ff;
    double epsilon;
} Block;

/* Memory for the intermediate results of a block. */
typedef struct {
    float *projected, *mixed, *opened;
    Rounded rounded;
    uintptr_t own; /* of each thread: a normed row, or what a head needs */
    int64_t size_of_own;
} Space;

static void normalize_and_round(const float* x, const float* weight, float epsilon, int64_t rows,
                                int64_t width, Space* space, int threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > MIN_WORK)
    for (int64_t row = 0; row < rows; row++) {
        float* normed = (float*)(space->own + omp_get_thread_num() * space->size_of_own);
        normalize(x + row * width, weight, epsilon, 1, width, normed);
        round_row(normed, width, space->rounded.values + row * width, space->rounded.scales + row);
    }
}

/* Lays out memory from an address on; returns its end. */
static uintptr_t lay_out(Space* space, uintptr_t address, const Block* block, int64_t rows,
                         int64_t longest, int threads) {
    const int64_t attended = block->heads * block->d_kv, row = rows * sizeof(float);
    int64_t widest = block->width > block->d_ff ? block->width : block->d_ff;
    widest = attended > widest ? attended : widest;
    Head head;
    int64_t own = lay_out_head(&head, 0, longest, block->d_kv);
    const int64_t normed = block->width * sizeof(float);
    own = own > normed ? own : normed;
    space->projected = take(&address, 3 * row * attended);
    space->mixed = take(&address, row * attended);
    space->opened = take(&address, row * block->d_ff);
    space->size_of_own = (own + LINE - 1) / LINE * LINE;
    space->own = (uintptr_t)take(&address, threads * space->size_of_own);
    space->rounded.scales = take(&address, row);
    space->rounded.values = take(&address, rows * widest);
    return address;
}

/* Runs a block over hidden (rows, width), in place: `count` concatenated texts, each from starts[i]
 * to starts[i + 1]. The bias is (heads, bias_stride), column `middle + key - query`.
 *
 * Returns whether there was enough memory. */
int encode_block(const Block* block, float* hidden, int64_t rows, const int64_t* starts,
                 int64_t count, const float* bias, int64_t bias_stride, int64_t middle,
                 int64_t threads) {
    const int64_t width = block->width, heads = block->heads, d_kv = block->d_kv;
    const float epsilon = (float)block->epsilon;
    const int64_t longest = longest_of(starts, count);
    Space space;
    void* memory = borrow(lay_out(&space, 0, block, rows, longest, threads));
    if (!memory) return 0;
    lay_out(&space, (uintptr_t)memory, block, rows, longest, threads);

    normalize_and_round(hidden, block->own_norm, epsilon, rows, width, &space, threads);
    multiply_panels(&block->projections, NULL, NULL, &space.rounded, rows, space.projected, 0,
                    threads);
    const Texts texts = {starts, count, heads, d_kv, longest};
    attend_texts(&texts, space.projected, bias, bias_stride, middle, space.own, space.size_of_own,
                 space.mixed, threads);
    round_all(space.mixed, rows, heads * d_kv, &space.rounded, threads);
    multiply_panels(&block->o, NULL, NULL, &space.rounded, rows, hidden, 1, threads);

    normalize_and_round(hidden, block->feed_forward_norm, epsilon, rows, width, &space, threads);
    multiply_panels(&block->wi_1, &block->wi_0, NULL, &space.rounded, rows, space.opened, 0,
                    threads);
    round_all(space.opened, rows, block->d_ff, &space.rounded, threads);
    multiply_panels(&block->wo, NULL, NULL, &space.rounded, rows, hidden, 1, threads);
    give_back(memory);
    return 1;
}

/* Computes x Wᵀ for quantized rows (rows, width). */
void multiply_rounded(const Panels* linear, uint8_t* values, float* scales, int64_t rows,
                      float* out, int64_t threads) {
    Rounded rounded = {values, scales};
    multiply_panels(linear, NULL, NULL, &rounded, rows, out, 0, threads);
}

/* Quantizes rows (rows, width). */
void round_rows(const float* x, int64_t rows, int64_t width, uint8_t* values, float* scales,
                int64_t threads) {
    Rounded rounded = {values, scales};
    round_all(x, rows, width, &rounded, threads);
}

/* Computes gelu(gate) * value for (rows, width). */
void gate_rows(const float* gate, const float* value, int64_t rows, int64_t width, float* out,
               int64_t threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > MIN_WORK)
    for (int64_t row = 0; row < rows; row++)
        open_gate(gate + row * width, value + row * width, width, out + row * width);
}

/* Multiplies each row of (rows, width) by its own scale, in place. */
void scale_rows(float* x, const float* scales, int64_t rows, int64_t width, int64_t threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > MIN_WORK)
    for (int64_t row = 0; row < rows; row++)
#pragma omp simd
        for (int64_t i = 0; i < width; i++) x[row * width + i] *= scales[row];
}
