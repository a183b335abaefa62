/* Attention of a few rows over keys and values, of one head. */
#pragma once
#include <string.h>

#include "products.h"

/* Scores `rows` <= ROWS queries, `stride` apart, over `size` keys; scores are `longest` apart. */
ALWAYS_INLINE void score(const float* query, int64_t stride, const float* keys, int64_t size,
                         int64_t d_kv, const int rows, float* scores, int64_t longest) {
    int64_t key = 0;
    for (; key + OUTS <= size; key += OUTS) {
        __m128 products[ROWS];
        float_products(query, stride, keys + key * d_kv, d_kv, rows,
                       share_of(keys + (key + OUTS) * d_kv, OUTS, 1), products);
        for (int row = 0; row < rows; row++)
            _mm_storeu_ps(scores + row * longest + key, products[row]);
    }
    for (; key < size; key++)
        for (int row = 0; row < rows; row++)
            scores[row * longest + key] = dot(query + row * stride, keys + key * d_kv, d_kv);
}

/* Sums of `lanes` * LANES columns of values by the weights of `rows` <= ROWS queries. */
ALWAYS_INLINE void mix_columns(const float* weights, int64_t longest, const float* values,
                               int64_t size, int64_t d_kv, const int rows, const int lanes,
                               const float* factors, float* out, int64_t stride) {
    Floats parts[ROWS][OUTS];
    UNROLL_FOR (int row = 0; row < rows; row++)
        UNROLL_FOR (int lane = 0; lane < OUTS; lane++) parts[row][lane] = broadcast(0);
    for (int64_t key = 0; key < size; key++) {
        Floats weight[ROWS];
        for (int row = 0; row < rows; row++) weight[row] = broadcast(weights[row * longest + key]);
        for (int lane = 0; lane < lanes; lane++) {
            Floats value = load(values + key * d_kv + lane * LANES);
            for (int row = 0; row < rows; row++)
                parts[row][lane] = multiply_add(weight[row], value, parts[row][lane]);
        }
    }
    for (int row = 0; row < rows; row++)
        for (int lane = 0; lane < lanes; lane++)
            store(out + row * stride + lane * LANES, parts[row][lane] * broadcast(factors[row]));
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
 * a bias, given for the first query, each query sees one position more than the previous one. */
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
