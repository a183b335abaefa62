/* GBST on tables: the choice of each byte among its blocks, and the mix of blocks by choices.
 *
 * folding.py describes the tables, gbst.py the computation. Texts are ids (texts, longest), each
 * padded after its length. Arrays do not overlap.
 */
#include <omp.h>
#include <string.h>

#include "vectors.h"
#include "workspace.h"

/* Outputs whose bytes are looked up together; more would not stay in the cache. */
#define STRETCH 32

typedef struct {
    const float *rows, *bias, *scalars; /* (taps, ids, width), (width,), (ids, taps) */
    const int64_t* blocks;              /* (choices, 2): size and offset */
    int64_t taps, ids, width, choices, downsample;
    double constant;
} Tables;

static int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Finds the part of the block around a byte that is within the text: `first` to before `last`. */
static void find_block(const int64_t* block, int64_t at, int64_t length, int64_t* first,
                       int64_t* last) {
    const int64_t size = block[0], shift = (size - block[1]) % size;
    *first = (at + shift) / size * size - shift;
    *last = min_i64(*first + size, length);
    *first = max_i64(*first, 0);
}

/* Computes the score of each byte alone. */
static void score_bytes(const Tables* tables, const int64_t* ids, int64_t length, float* scores) {
    for (int64_t at = 0; at < length; at++) {
        const int64_t taps = min_i64(tables->taps, length - at);
        float score = (float)tables->constant;
        for (int64_t tap = 0; tap < taps; tap++)
            score += tables->scalars[ids[at + tap] * tables->taps + tap];
        scores[at] = score;
    }
}

/* Computes each byte's softmax over the blocks around it, scored by the means of their bytes. */
static void choose(const Tables* tables, const float* scores, int64_t length, float* choices) {
    const int64_t count = tables->choices;
    for (int64_t block = 0; block < count; block++)
        for (int64_t at = 0, first, last; at < length; at = last) {
            float sum = 0;
            find_block(tables->blocks + 2 * block, at, length, &first, &last);
            for (int64_t i = first; i < last; i++) sum += scores[i];
            for (int64_t i = first; i < last; i++)
                choices[i * count + block] = sum / (last - first);
        }
    for (int64_t at = 0; at < length; at++) {
        float *own = choices + at * count, largest = -INFINITY, total = 0;
        for (int64_t i = 0; i < count; i++) largest = own[i] > largest ? own[i] : largest;
        for (int64_t i = 0; i < count; i++) total += own[i] = expf(own[i] - largest);
        for (int64_t i = 0; i < count; i++) own[i] /= total;
    }
}

/* Writes the choices (texts, longest, choices) of all bytes, uniform ones in the padding.
 *
 * Returns whether there was enough memory, as does `mix_blocks`. */
int choose_blocks(const Tables* tables, const int64_t* ids, const int64_t* lengths, int64_t texts,
                  int64_t longest, float* choices, int64_t threads) {
    const int64_t count = tables->choices;
    float* scores = borrow(texts * longest * sizeof(float));
    if (!scores) return 0;
#pragma omp parallel for num_threads(threads) if (texts * longest * tables->taps > MIN_WORK)
    for (int64_t text = 0; text < texts; text++) {
        float* own = choices + text * longest * count;
        score_bytes(tables, ids + text * longest, lengths[text], scores + text * longest);
        choose(tables, scores + text * longest, lengths[text], own);
        for (int64_t i = lengths[text] * count; i < longest * count; i++) own[i] = 1.0f / count;
    }
    give_back(scores);
    return 1;
}

/* Writes the rows of the bytes from `first` to before `last`, each a sum of table entries. */
static void look_up(const Tables* tables, const int64_t* ids, int64_t length, int64_t first,
                    int64_t last, float* rows) {
    const int64_t width = tables->width;
    for (int64_t at = first; at < last; at++, rows += width) {
        const int64_t taps = min_i64(tables->taps, length - at);
        memcpy(rows, tables->rows + ids[at] * width, width * sizeof(float));
        for (int64_t tap = 1; tap < taps; tap++) {
            const float* row = tables->rows + (tap * tables->ids + ids[at + tap]) * width;
#pragma omp simd
            for (int64_t i = 0; i < width; i++) rows[i] += row[i];
        }
    }
}

/* Adds the weights in one output of the bytes from `low` on: each pooled byte, from `begin` to
 * before `end`, contributes the means of its blocks, weighted by its choices. */
static void weigh_bytes(const Tables* tables, const float* choices, int64_t length, int64_t begin,
                        int64_t end, int64_t low, float* weights) {
    for (int64_t at = begin; at < end; at++)
        for (int64_t block = 0; block < tables->choices; block++) {
            int64_t first, last;
            find_block(tables->blocks + 2 * block, at, length, &first, &last);
            const float share =
                choices[at * tables->choices + block] / ((end - begin) * (last - first));
            for (int64_t i = first; i < last; i++) weights[i - low] += share;
        }
}

/* Writes the outputs (texts, outputs, width), zero after the end of a text. */
int mix_blocks(const Tables* tables, const int64_t* ids, const int64_t* lengths, int64_t texts,
               int64_t longest, const float* choices, float* out, int64_t threads) {
    const int64_t width = tables->width, pooled = tables->downsample;
    const int64_t outputs = (longest + pooled - 1) / pooled;
    const int64_t stretches = (outputs + STRETCH - 1) / STRETCH;
    int64_t reach = 0;
    for (int64_t i = 0; i < tables->choices; i++) reach = max_i64(reach, tables->blocks[2 * i] - 1);
    const int64_t room = STRETCH * pooled + 2 * reach, own_size = room * (width + 1);
    float* memory = borrow(threads * own_size * sizeof(float));
    if (!memory) return 0;
#pragma omp parallel for num_threads(threads) if (texts * longest * width > MIN_WORK)
    for (int64_t task = 0; task < texts * stretches; task++) {
        const int64_t text = task / stretches, length = lengths[text];
        const int64_t from = task % stretches * STRETCH, to = min_i64(from + STRETCH, outputs);
        const int64_t low = max_i64(from * pooled - reach, 0);
        const int64_t high = min_i64(to * pooled + reach, length);
        float* rows = memory + omp_get_thread_num() * own_size;
        float* weights = rows + room * width;
        look_up(tables, ids + text * longest, length, low, high, rows);
        for (int64_t output = from; output < to; output++) {
            const int64_t begin = output * pooled, end = min_i64(begin + pooled, length);
            float* mixed = out + (text * outputs + output) * width;
            memset(mixed, 0, width * sizeof(float));
            if (begin >= length) continue;
            memcpy(mixed, tables->bias, width * sizeof(float));
            memset(weights, 0, room * sizeof(float));
            weigh_bytes(tables, choices + text * longest * tables->choices, length, begin, end, low,
                        weights);
            const int64_t last = min_i64(end + reach, high) - low;
            for (int64_t i = max_i64(begin - reach, 0) - low; i < last; i++)
#pragma omp simd
                for (int64_t j = 0; j < width; j++) mixed[j] += weights[i] * rows[i * width + j];
        }
    }
    give_back(memory);
    return 1;
}
