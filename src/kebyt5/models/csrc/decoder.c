/* A pass of T5's decoder over a few rows of float32, with weights of 32 or eight bits.
 *
 * A pass is bound by reading its weights, and for a small model by the calls of some hundred small
 * operations; here it is one call. kernels.py and native.py say what the functions take,
 * hatch_build.py compiles them. Arrays do not overlap.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "products.h"
#include "vectors.h"

typedef struct {
    const float *own_norm, *cross_norm, *feed_forward_norm;
    Linear q, k, v, o, cross_q, cross_o, wi_0, wi_1, wo;
} Layer;

typedef struct {
    const Layer* layers;
    int64_t count, width, heads, d_kv, d_ff;
    const float* final_norm;
    double epsilon;
} Decoder;

static void normalize(const float* x, const float* weight, float epsilon, int64_t rows,
                      int64_t width, float* out) {
    for (int64_t row = 0; row < rows; row++, x += width, out += width) {
        float inverse = 1.0f / sqrtf(dot(x, x, width) / width + epsilon);
#pragma omp simd
        for (int64_t i = 0; i < width; i++) out[i] = weight[i] * (x[i] * inverse);
    }
}

/* gelu(gate) * value, GELU in its tanh form: x (1 + tanh u) / 2 = x / (1 + exp(-2u)). */
static void open_gate(const float* gate, const float* value, int64_t size, float* out) {
    const float linear = 1.5957691216057308f, cubic = 0.044715f * 1.5957691216057308f;
#pragma omp simd
    for (int64_t i = 0; i < size; i++) {
        float falling = -gate[i] * (linear + cubic * gate[i] * gate[i]);
        out[i] = gate[i] * value[i] / (1.0f + exponential(falling > 87.0f ? 87.0f : falling));
    }
}

/* Where a pass keeps what it computes. */
typedef struct {
    float *normed, *mixed, *projected[3], *inner, *value, *opened, *scores;
    Rounded rounded;
} Space;

static void* take(uintptr_t* address, int64_t bytes) {
    uintptr_t taken = *address;
    *address += (bytes + 63) / 64 * 64;
    return (void*)taken;
}

/* Divides memory from an address on; returns where it ends. */
static uintptr_t lay_out(Space* space, uintptr_t address, const Decoder* decoder, int64_t rows,
                         int64_t scores) {
    const int64_t attended = decoder->heads * decoder->d_kv, row = rows * sizeof(float);
    int64_t widest = decoder->width > decoder->d_ff ? decoder->width : decoder->d_ff;
    widest = attended > widest ? attended : widest;
    space->normed = take(&address, row * decoder->width);
    space->mixed = take(&address, row * attended);
    for (int i = 0; i < 3; i++) space->projected[i] = take(&address, row * attended);
    space->inner = take(&address, row * decoder->d_ff);
    space->value = take(&address, row * decoder->d_ff);
    space->opened = take(&address, row * decoder->d_ff);
    space->scores = take(&address, scores * sizeof(float));
    space->rounded.scales = take(&address, row);
    space->rounded.values = take(&address, rows * widest);
    return address;
}

/* One pass over hidden (rows, width), which becomes what the final norm says.
 *
 * Returns whether there was memory for it. */
int decode(const Decoder* decoder, const Slot* own, const Slot* cross, int64_t count,
           const float* bias, int64_t bias_stride, int64_t middle, float* hidden, int64_t rows,
           int64_t threads) {
    const int64_t width = decoder->width, heads = decoder->heads, d_kv = decoder->d_kv;
    const float epsilon = (float)decoder->epsilon;
    int64_t longest = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t keys = own[i].length + own[i].rows;
        longest = keys > longest ? keys : longest;
        longest = cross[i].length > longest ? cross[i].length : longest;
    }
    Space space;
    void* memory = malloc(lay_out(&space, 0, decoder, rows, threads * ROWS * longest));
    if (!memory) return 0;
    lay_out(&space, (uintptr_t)memory, decoder, rows, threads * ROWS * longest);
    Rounded* rounded = &space.rounded;

    for (int64_t number = 0; number < decoder->count; number++) {
        const Layer* layer = decoder->layers + number;
        normalize(hidden, layer->own_norm, epsilon, rows, width, space.normed);
        multiply((const Linear*[]){&layer->q, &layer->k, &layer->v}, 3, space.normed, rows, rounded,
                 space.projected, 0, threads);
        for (const Slot* slot = own; slot < own + count; slot++)
            extend(slot, slot->kept + number * 2 * heads * slot->capacity * d_kv,
                   space.projected[1], space.projected[2], heads, d_kv);
        attend(own, count, number, heads, d_kv, space.projected[0], bias, bias_stride, middle,
               space.scores, longest, space.mixed, threads);
        multiply_one(&layer->o, space.mixed, rows, rounded, hidden, 1, threads);

        normalize(hidden, layer->cross_norm, epsilon, rows, width, space.normed);
        multiply_one(&layer->cross_q, space.normed, rows, rounded, space.projected[0], 0, threads);
        attend(cross, count, number, heads, d_kv, space.projected[0], NULL, 0, 0, space.scores,
               longest, space.mixed, threads);
        multiply_one(&layer->cross_o, space.mixed, rows, rounded, hidden, 1, threads);

        normalize(hidden, layer->feed_forward_norm, epsilon, rows, width, space.normed);
        multiply((const Linear*[]){&layer->wi_0, &layer->wi_1}, 2, space.normed, rows, rounded,
                 (float*[]){space.inner, space.value}, 0, threads);
        open_gate(space.inner, space.value, rows * decoder->d_ff, space.opened);
        multiply_one(&layer->wo, space.opened, rows, rounded, hidden, 1, threads);
    }
    memcpy(space.normed, hidden, rows * width * sizeof(float));
    normalize(space.normed, decoder->final_norm, epsilon, rows, width, hidden);
    free(memory);
    return 1;
}

/* x Wᵀ for x (rows, width) of one layer. Returns whether there was memory for it. */
int multiply_rows(const Linear* linear, const float* x, int64_t rows, float* out, int64_t threads) {
    Rounded rounded = {0};
    void* memory = NULL;
    if (linear->scales) {
        memory = malloc(rows * (linear->width + sizeof(float)));
        if (!memory) return 0;
        rounded.scales = memory;
        rounded.values = (uint8_t*)(rounded.scales + rows);
    }
    multiply_one(linear, x, rows, &rounded, out, 0, threads);
    free(memory);
    return 1;
}

/* Rounds rows (rows, width) of the encoder. */
void round_rows(const float* x, int64_t rows, int64_t width, uint8_t* values, float* scales,
                int64_t threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > LEAST_WORK)
    for (int64_t row = 0; row < rows; row++)
        round_row(x + row * width, width, values + row * width, scales + row);
}

/* Gated values (rows, width) of the encoder. */
void gate_rows(const float* gate, const float* value, int64_t rows, int64_t width, float* out,
               int64_t threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > LEAST_WORK)
    for (int64_t row = 0; row < rows; row++)
        open_gate(gate + row * width, value + row * width, width, out + row * width);
}

/* Multiplies each row (rows, width) with a number of its own, in place. */
void scale_rows(float* x, const float* scales, int64_t rows, int64_t width, int64_t threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > LEAST_WORK)
    for (int64_t row = 0; row < rows; row++)
#pragma omp simd
        for (int64_t i = 0; i < width; i++) x[row * width + i] *= scales[row];
}
