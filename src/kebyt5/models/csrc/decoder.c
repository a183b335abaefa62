/* A pass of T5's decoder over a few rows of float32, with float32 or int8 weights.
 *
 * A pass is bound by reading its weights and, for a small model, by the overhead of about a hundred
 * small operations; here it is one call. decoder_kernel.py and native.py describe the arguments,
 * hatch_build.py compiles the code. Arrays do not overlap.
 */
#include <omp.h>
#include <string.h>

#include "attention.h"
#include "workspace.h"

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

/* A request in a pass: its cached keys and values, (layers, 2, heads, capacity, d_kv), how many
 * positions are cached before the pass, and which rows of the pass are its own. */
typedef struct {
    float* keys_values;
    int64_t capacity, length, first, rows;
} Slot;

/* Appends the keys and values of a pass to the cache of a layer. */
static void extend(const Slot* slot, float* cache, const float* keys, const float* values,
                   int64_t heads, int64_t d_kv) {
    for (int64_t row = 0; row < slot->rows; row++)
        for (int64_t head = 0; head < heads; head++) {
            int64_t from = ((slot->first + row) * heads + head) * d_kv;
            float* to = cache + (head * slot->capacity + slot->length + row) * d_kv;
            memcpy(to, keys + from, d_kv * sizeof(float));
            to += heads * slot->capacity * d_kv;
            memcpy(to, values + from, d_kv * sizeof(float));
        }
}

/* Unscaled attention of each request's rows over its own keys and values of a layer.
 *
 * With a bias (heads, bias_stride), column `middle + key - query`, it includes the keys of the pass
 * up to the query's own; without one, it is over the cached positions. `scores` has room for ROWS
 * rows of the longest slot for each thread. */
static void attend(const Slot* slots, int64_t count, int64_t layer, int64_t heads, int64_t d_kv,
                   const float* query, const float* bias, int64_t bias_stride, int64_t middle,
                   float* scores, int64_t longest, float* out, int threads) {
    int64_t work = 0;
    for (const Slot* slot = slots; slot < slots + count; slot++)
        work += 2 * slot->rows * (slot->length + slot->rows) * heads * d_kv;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (work > MIN_WORK)
    for (int64_t task = 0; task < count * heads; task++) {
        const Slot* slot = slots + task / heads;
        const int64_t head = task % heads, size = heads * slot->capacity * d_kv;
        const float* keys = slot->keys_values + 2 * layer * size + head * slot->capacity * d_kv;
        float* mine = scores + omp_get_thread_num() * ROWS * longest;
        for (int64_t row = 0; row < slot->rows; row += ROWS) {
            const int64_t at = ((slot->first + row) * heads + head) * d_kv;
            const int64_t position = slot->length + row, rest = slot->rows - row;
            const int rows = rest < ROWS ? (int)rest : ROWS;
            const float* from = bias ? bias + head * bias_stride + middle - position : NULL;
            const int64_t seen = bias ? position + rows : slot->length;
#define ATTEND(rows)                                                                       \
    attend_rows(query + at, heads * d_kv, keys, keys + size, from, seen, d_kv, rows, mine, \
                longest, out + at)
            SWITCH_ROWS(rows, ATTEND)
        }
    }
}

/* Memory for the intermediate results of a pass. */
typedef struct {
    float *normed, *mixed, *projected[3], *inner, *value, *opened, *scores;
    Rounded rounded;
} Space;

/* Lays out memory from an address on; returns its end. */
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

static void multiply_one(const Linear* linear, const float* x, int64_t rows, Rounded* rounded,
                         float* out, int add, int threads) {
    multiply(&linear, 1, x, rows, rounded, &out, add, threads);
}

/* gelu(x W_0ᵀ) * x W_1ᵀ of the feed-forward layer. */
static void multiply_and_open(const Layer* layer, const float* x, int64_t rows, Space* space,
                              int threads) {
    if (uses_panels(&layer->wi_0, rows)) {
        round_few(&layer->wi_0, x, rows, &space->rounded);
        multiply_panels(layer->wi_1.panels, layer->wi_0.panels, x, &space->rounded, rows,
                        space->opened, 0, threads);
        return;
    }
    multiply((const Linear*[]){&layer->wi_0, &layer->wi_1}, 2, x, rows, &space->rounded,
             (float*[]){space->inner, space->value}, 0, threads);
    open_gate(space->inner, space->value, rows * layer->wi_0.outs, space->opened);
}

/* Runs one pass over hidden (rows, width) in place, including the final norm.
 *
 * Returns whether there was enough memory. */
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
    void* memory = borrow(lay_out(&space, 0, decoder, rows, threads * ROWS * longest));
    if (!memory) return 0;
    lay_out(&space, (uintptr_t)memory, decoder, rows, threads * ROWS * longest);
    Rounded* rounded = &space.rounded;

    for (int64_t number = 0; number < decoder->count; number++) {
        const Layer* layer = decoder->layers + number;
        normalize(hidden, layer->own_norm, epsilon, rows, width, space.normed);
        multiply((const Linear*[]){&layer->q, &layer->k, &layer->v}, 3, space.normed, rows, rounded,
                 space.projected, 0, threads);
        for (const Slot* slot = own; slot < own + count; slot++)
            extend(slot, slot->keys_values + number * 2 * heads * slot->capacity * d_kv,
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
        multiply_and_open(layer, space.normed, rows, &space, threads);
        multiply_one(&layer->wo, space.opened, rows, rounded, hidden, 1, threads);
    }
    memcpy(space.normed, hidden, rows * width * sizeof(float));
    normalize(space.normed, decoder->final_norm, epsilon, rows, width, hidden);
    give_back(memory);
    return 1;
}

/* Computes x Wᵀ for x (rows, width). Returns whether there was enough memory. */
int multiply_rows(const Linear* linear, const float* x, int64_t rows, float* out, int64_t threads) {
    Rounded rounded = {0};
    void* memory = NULL;
    if (linear->scales) {
        memory = borrow(rows * (linear->width + sizeof(float)));
        if (!memory) return 0;
        rounded.scales = memory;
        rounded.values = (uint8_t*)(rounded.scales + rows);
    }
    multiply_one(linear, x, rows, &rounded, out, 0, threads);
    give_back(memory);
    return 1;
}
