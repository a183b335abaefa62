/* GBST on tables: what a byte chooses among its blocks, and the mix of blocks by these choices.
 *
 * folding.py says what the tables are, gbst.py what is computed of them. Texts (texts, longest) of
 * ids count up to a length each. Arrays do not overlap.
 */
#include <omp.h>
#include <string.h>

#include "vectors.h"
#include "workspace.h"

#define STRETCH \
    32 /* outputs whose bytes are looked up together; more would not stay in the cache */

typedef struct {
    const float *rows, *bias, *scalars; /* (taps, ids, width), (width,), (ids, taps) */
    const int64_t* blocks;              /* (choices, 2): size and offset */
    int64_t taps, ids, width, choices, downsample;
    double constant;
} Tables;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Of the block around a byte the part within the text, from `first` to before `last`. */
static void find_block(const int64_t* block, int64_t at, int64_t length, int64_t* first,
                       int64_t* last) {
    const int64_t size = block[0], shift = (size - block[1]) % size;
    *first = (at + shift) / size * size - shift;
    *last = least(*first + size, length);
    *first = most(*first, 0);
}

/* The score of each byte alone. */
static void score_bytes(const Tables* tables, const int64_t* ids, int64_t length, float* scores) {
    for (int64_t at = 0; at < length; at++) {
        const int64_t taps = least(tables->taps, length - at);
        float score = (float)tables->constant;
        for (int64_t tap = 0; tap < taps; tap++)
            score += tables->scalars[ids[at + tap] * tables->taps + tap];
        scores[at] = score;
    }
}

/* Of each byte the softmax over the blocks around it, each scored by the mean of its bytes. */
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

/* Writes the choices (texts, longest, choices) of all bytes, even ones where nothing counts.
 *
 * Returns whether there was memory for it, as `mix_blocks`. */
int choose_blocks(const Tables* tables, const int64_t* ids, const int64_t* lengths, int64_t texts,
                  int64_t longest, float* choices, int64_t threads) {
    const int64_t count = tables->choices;
    float* scores = borrow(texts * longest * sizeof(float));
    if (!scores) return 0;
#pragma omp parallel for num_threads(threads) if (texts * longest * tables->taps > LEAST_WORK)
    for (int64_t text = 0; text < texts; text++) {
        float* own = choices + text * longest * count;
        score_bytes(tables, ids + text * longest, lengths[text], scores + text * longest);
        choose(tables, scores + text * longest, lengths[text], own);
        for (int64_t i = lengths[text] * count; i < longest * count; i++) own[i] = 1.0f / count;
    }
    give_back(scores);
    return 1;
}

/* Rows of the bytes from `first` to before `last`, each a sum of table entries. */
static void look_up(const Tables* tables, const int64_t* ids, int64_t length, int64_t first,
                    int64_t last, float* rows) {
    const int64_t width = tables->width;
    for (int64_t at = first; at < last; at++, rows += width) {
        const int64_t taps = least(tables->taps, length - at);
        memcpy(rows, tables->rows + ids[at] * width, width * sizeof(float));
        for (int64_t tap = 1; tap < taps; tap++) {
            const float* row = tables->rows + (tap * tables->ids + ids[at + tap]) * width;
#pragma omp simd
            for (int64_t i = 0; i < width; i++) rows[i] += row[i];
        }
    }
}

/* Adds what the bytes from `low` on weigh in one output: each of the bytes that it pools passes on
 * the mean of the blocks that it chooses. */
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

/* Writes the outputs (texts, outputs, width), zero behind the end of a text. */
int mix_blocks(const Tables* tables, const int64_t* ids, const int64_t* lengths, int64_t texts,
               int64_t longest, const float* choices, float* out, int64_t threads) {
    const int64_t width = tables->width, pooled = tables->downsample;
    const int64_t outputs = (longest + pooled - 1) / pooled;
    const int64_t stretches = (outputs + STRETCH - 1) / STRETCH;
    int64_t reach = 0;
    for (int64_t i = 0; i < tables->choices; i++) reach = most(reach, tables->blocks[2 * i] - 1);
    const int64_t room = STRETCH * pooled + 2 * reach, own_size = room * (width + 1);
    float* memory = borrow(threads * own_size * sizeof(float));
    if (!memory) return 0;
#pragma omp parallel for num_threads(threads) if (texts * longest * width > LEAST_WORK)
    for (int64_t task = 0; task < texts * stretches; task++) {
        const int64_t text = task / stretches, length = lengths[text];
        const int64_t from = task % stretches * STRETCH, to = least(from + STRETCH, outputs);
        const int64_t low = most(from * pooled - reach, 0);
        const int64_t high = least(to * pooled + reach, length);
        float* rows = memory + omp_get_thread_num() * own_size;
        float* weights = rows + room * width;
        look_up(tables, ids + text * longest, length, low, high, rows);
        for (int64_t output = from; output < to; output++) {
            const int64_t begin = output * pooled, end = least(begin + pooled, length);
            float* mixed = out + (text * outputs + output) * width;
            memset(mixed, 0, width * sizeof(float));
            if (begin >= length) continue;
            memcpy(mixed, tables->bias, width * sizeof(float));
            memset(weights, 0, room * sizeof(float));
            weigh_bytes(tables, choices + text * longest * tables->choices, length, begin, end, low,
                        weights);
            for (int64_t i = most(begin - reach, 0) - low; i < least(end + reach, high) - low; i++)
#pragma omp simd
                for (int64_t j = 0; j < width; j++) mixed[j] += weights[i] * rows[i * width + j];
        }
    }
    give_back(memory);
    return 1;
}
