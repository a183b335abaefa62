/* Operations on rows of floats between products: norm, gate, softmax, quantization. */
#pragma once
#include "vectors.h"

/* Quantized rows, values in 128 ± 127, and the size of a step of each row. */
typedef struct {
    uint8_t* values;
    float* scales;
} Rounded;

static inline void round_row(const float* x, int64_t width, uint8_t* values, float* step) {
    float largest = 1e-12f;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < width; i++) {
        float size = fabsf(x[i]);
        largest = size > largest ? size : largest;
    }
    const float steps = 127 / largest;
    *step = largest / 127;
#pragma omp simd
    for (int64_t i = 0; i < width; i++) values[i] = (uint8_t)((int32_t)rintf(x[i] * steps) + 128);
}

static inline void normalize(const float* x, const float* weight, float epsilon, int64_t rows,
                             int64_t width, float* out) {
    for (int64_t row = 0; row < rows; row++, x += width, out += width) {
        float inverse = 1.0f / sqrtf(dot(x, x, width) / width + epsilon);
#pragma omp simd
        for (int64_t i = 0; i < width; i++) out[i] = weight[i] * (x[i] * inverse);
    }
}

/* gelu(gate) * value, GELU in its tanh form: x (1 + tanh u) / 2 = x / (1 + exp(-2u)). */
static inline void open_gate(const float* gate, const float* value, int64_t size, float* out) {
    const float linear = 1.5957691216057308f, cubic = 0.044715f * 1.5957691216057308f;
#pragma omp simd
    for (int64_t i = 0; i < size; i++) {
        float falling = -gate[i] * (linear + cubic * gate[i] * gate[i]);
        out[i] = gate[i] * value[i] / (1.0f + exponential(falling > 87.0f ? 87.0f : falling));
    }
}

/* Replaces scores by exp(score + bias - largest); returns the factor that makes their sum 1. */
static inline float weigh(float* scores, const float* bias, int64_t size) {
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
