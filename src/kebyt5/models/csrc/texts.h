/* Attention within whole texts, where products dominate. */
#pragma once
#include <omp.h>

#include "panels.h"

/* Memory for the attention of one head within a text, padded to whole panels. */
typedef struct {
    float *keys, *values; /* (d_kv, size), (size, d_kv) */
    float *queries, *scores, *mixed;
} Head;

static int64_t whole_panels(int64_t size) { return (size + PANEL - 1) / PANEL * PANEL; }

/* Lays out memory for texts up to a length; returns its end. */
static uintptr_t lay_out_head(Head* head, uintptr_t address, int64_t longest, int64_t d_kv) {
    const int64_t size = whole_panels(longest), columns = whole_panels(d_kv);
    head->keys = take(&address, size * d_kv * sizeof(float));
    head->values = take(&address, longest * columns * sizeof(float));
    head->queries = take(&address, GROUP * d_kv * sizeof(float));
    head->scores = take(&address, GROUP * size * sizeof(float));
    head->mixed = take(&address, GROUP * columns * sizeof(float));
    return address;
}

/* Attention from `rows` projections, `stride` apart; keys and values follow the query at distance
 * `between` and twice `between`. The bias is indexed by key, for the first query. */
static void attend_text(const Head* head, const float* projected, int64_t rows, int64_t stride,
                        int64_t between, int64_t d_kv, const float* bias, float* out,
                        int64_t out_stride) {
    const int64_t size = whole_panels(rows), columns = whole_panels(d_kv);
    for (int64_t i = 0; i < d_kv; i++) {
        for (int64_t row = 0; row < rows; row++)
            head->keys[i * size + row] = projected[row * stride + between + i];
        memset(head->keys + i * size + rows, 0, (size - rows) * sizeof(float));
    }
    for (int64_t row = 0; row < rows; row++) {
        float* values = head->values + row * columns;
        memcpy(values, projected + row * stride + 2 * between, d_kv * sizeof(float));
        memset(values + d_kv, 0, (columns - d_kv) * sizeof(float));
    }
    for (int64_t top = 0; top < rows; top += GROUP) {
        const int64_t group = rows - top < GROUP ? rows - top : GROUP;
        float factors[GROUP];
        for (int64_t row = 0; row < group; row++)
            memcpy(head->queries + row * d_kv, projected + (top + row) * stride,
                   d_kv * sizeof(float));
        for (int64_t key = 0; key < size; key += PANEL)
            multiply_floats(head->queries, d_kv, head->keys + key, size, d_kv, GROUP,
                            head->scores + key, size, 0);
        for (int64_t row = 0; row < group; row++)
            factors[row] = weigh(head->scores + row * size, bias - top - row, rows);
        for (int64_t i = 0; i < columns; i += PANEL)
            multiply_floats(head->scores, size, head->values + i, columns, rows, GROUP,
                            head->mixed + i, columns, 0);
        for (int64_t row = 0; row < group; row++)
            for (int64_t i = 0; i < d_kv; i++)
                out[(top + row) * out_stride + i] = head->mixed[row * columns + i] * factors[row];
    }
}

/* Concatenated texts, each from starts[i] to starts[i + 1]. */
typedef struct {
    const int64_t* starts;
    int64_t count, heads, d_kv, longest;
} Texts;

static int64_t longest_of(const int64_t* starts, int64_t count) {
    int64_t longest = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t length = starts[i + 1] - starts[i];
        longest = length > longest ? length : longest;
    }
    return longest;
}

/* Attention of all heads within each text, from projections of queries, keys and values (rows, 3,
 * heads, d_kv). The bias is (heads, bias_stride), column `middle + key - query`; each thread has
 * its own memory for a head. */
static void attend_texts(const Texts* texts, const float* projected, const float* bias,
                         int64_t bias_stride, int64_t middle, uintptr_t own, int64_t size_of_own,
                         float* mixed, int threads) {
    const int64_t heads = texts->heads, d_kv = texts->d_kv;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t task = 0; task < texts->count * heads; task++) {
        const int64_t text = task / heads, head = task % heads, first = texts->starts[text];
        Head mine;
        lay_out_head(&mine, own + omp_get_thread_num() * size_of_own, texts->longest, d_kv);
        attend_text(&mine, projected + (3 * first * heads + head) * d_kv,
                    texts->starts[text + 1] - first, 3 * heads * d_kv, heads * d_kv, d_kv,
                    bias + head * bias_stride + middle, mixed + (first * heads + head) * d_kv,
                    heads * d_kv);
    }
}
