/* Attention of a few rows, each over the keys and values of its own request. */
#pragma once
#include <omp.h>
#include <string.h>

#include "products.h"

/* A request in a pass: its keys and values, (layers, 2, heads, capacity, d_kv), how many of them
 * count before the pass, and which rows of the pass it has. */
typedef struct {
    float* kept;
    int64_t capacity, length, first, rows;
} Slot;

/* Writes the keys and values of a pass behind those that count. */
static void extend(const Slot* slot, float* kept, const float* keys, const float* values,
                   int64_t heads, int64_t d_kv) {
    for (int64_t row = 0; row < slot->rows; row++)
        for (int64_t head = 0; head < heads; head++) {
            int64_t from = ((slot->first + row) * heads + head) * d_kv;
            float* to = kept + (head * slot->capacity + slot->length + row) * d_kv;
            memcpy(to, keys + from, d_kv * sizeof(float));
            to += heads * slot->capacity * d_kv;
            memcpy(to, values + from, d_kv * sizeof(float));
        }
}

/* Scores of `rows` <= ROWS queries, `stride` apart, over `size` keys; `longest` apart. */
ALWAYS_INLINE void score(const float* query, int64_t stride, const float* keys, int64_t size,
                         int64_t d_kv, const int rows, float* scores, int64_t longest) {
    int64_t key = 0;
    for (; key + OUTS <= size; key += OUTS) {
        __m128 products[ROWS];
        float_products(query, stride, keys + key * d_kv, d_kv, rows, products);
        for (int row = 0; row < rows; row++)
            _mm_storeu_ps(scores + row * longest + key, products[row]);
    }
    for (; key < size; key++)
        for (int row = 0; row < rows; row++)
            scores[row * longest + key] = dot(query + row * stride, keys + key * d_kv, d_kv);
}

/* exp(score + bias - largest), and what makes their sum 1. */
static float weigh(float* scores, const float* bias, int64_t size) {
    float largest = -INFINITY, total = 0;
    if (bias)
#pragma omp simd
        for (int64_t key = 0; key < size; key++) scores[key] += bias[key];
#pragma omp simd reduction(max : largest)
    for (int64_t key = 0; key < size; key++)
        largest = scores[key] > largest ? scores[key] : largest;
#pragma omp simd reduction(+ : total)
    for (int64_t key = 0; key < size; key++) {
        scores[key] = exponential(scores[key] - largest);
        total += scores[key];
    }
    return 1.0f / total;
}

/* Sums of `lanes` * LANES columns of values by the weights of `rows` <= ROWS queries. */
ALWAYS_INLINE void mix_columns(const float* weights, int64_t longest, const float* values,
                               int64_t size, int64_t d_kv, const int rows, const int lanes,
                               const float* factors, float* out, int64_t stride) {
    Floats parts[ROWS][OUTS] = {0};
    for (int64_t key = 0; key < size; key++) {
        Floats weight[ROWS];
        for (int row = 0; row < rows; row++) weight[row] = spread(weights[row * longest + key]);
        for (int lane = 0; lane < lanes; lane++) {
            Floats value = load(values + key * d_kv + lane * LANES);
            for (int row = 0; row < rows; row++)
                parts[row][lane] = multiply_add(weight[row], value, parts[row][lane]);
        }
    }
    for (int row = 0; row < rows; row++)
        for (int lane = 0; lane < lanes; lane++)
            store(out + row * stride + lane * LANES, parts[row][lane] * spread(factors[row]));
}

ALWAYS_INLINE void mix(const float* weights, int64_t longest, const float* values, int64_t size,
                       int64_t d_kv, const int rows, const float* factors, float* out,
                       int64_t stride) {
    int64_t i = 0;
    for (; i + OUTS * LANES <= d_kv; i += OUTS * LANES)
        mix_columns(weights, longest, values + i, size, d_kv, rows, OUTS, factors, out + i, stride);
    for (; i + LANES <= d_kv; i += LANES)
        mix_columns(weights, longest, values + i, size, d_kv, rows, 1, factors, out + i, stride);
    for (; i < d_kv; i++)
        for (int row = 0; row < rows; row++) {
            float sum = 0;
            for (int64_t key = 0; key < size; key++)
                sum += weights[row * longest + key] * values[key * d_kv + i];
            out[row * stride + i] = sum * factors[row];
        }
}

/* Attention of one head for `rows` <= ROWS queries, over keys and values of `size` positions. With
 * a bias, which is that of the first query, each sees one position more than the one before. */
ALWAYS_INLINE void attend_rows(const float* query, int64_t stride, const float* keys,
                               const float* values, const float* bias, int64_t size, int64_t d_kv,
                               const int rows, float* scores, int64_t longest, float* out) {
    float factors[ROWS];
    score(query, stride, keys, size, d_kv, rows, scores, longest);
    for (int row = 0; row < rows; row++) {
        int64_t seen = bias ? size - rows + 1 + row : size;
        factors[row] = weigh(scores + row * longest, bias ? bias - row : NULL, seen);
        memset(scores + row * longest + seen, 0, (size - seen) * sizeof(float));
    }
    mix(scores, longest, values, size, d_kv, rows, factors, out, stride);
}

/* Attention without scaling of each request's rows over its own keys and values of a layer.
 *
 * With a bias, (heads, bias_stride) by key minus query from -middle on, it is over the keys of the
 * pass too, up to the query's own; without one, over those that count. `scores` has room for ROWS
 * of the longest slot for each thread. */
static void attend(const Slot* slots, int64_t count, int64_t layer, int64_t heads, int64_t d_kv,
                   const float* query, const float* bias, int64_t bias_stride, int64_t middle,
                   float* scores, int64_t longest, float* out, int threads) {
    int64_t work = 0;
    for (const Slot* slot = slots; slot < slots + count; slot++)
        work += 2 * slot->rows * (slot->length + slot->rows) * heads * d_kv;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (work > LEAST_WORK)
    for (int64_t task = 0; task < count * heads; task++) {
        const Slot* slot = slots + task / heads;
        const int64_t head = task % heads, size = heads * slot->capacity * d_kv;
        const float* keys = slot->kept + 2 * layer * size + head * slot->capacity * d_kv;
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
