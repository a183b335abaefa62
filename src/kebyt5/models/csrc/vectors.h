/* Vectors of floats, as wide as the processor has them, and basic functions on floats. */
#pragma once
#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define MIN_WORK 65536 /* multiplications; with fewer, waking a thread takes longer */
#define LINE 64        /* bytes of a cache line */
#define OUTS 4         /* outputs that are computed at a time, ... */
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL_FOR _Pragma("GCC unroll 16") for /* or sums would not stay in registers */

#ifdef __AVX512VNNI__
#define ROWS 4 /* ... and rows: as many as there are registers for */
#define LANES 16
typedef __m512 Floats;
typedef __m512i Integers;
ALWAYS_INLINE Floats load(const float* from) { return _mm512_loadu_ps(from); }
ALWAYS_INLINE void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
ALWAYS_INLINE Floats broadcast(float x) { return _mm512_set1_ps(x); }
ALWAYS_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
ALWAYS_INLINE Integers load_integers(const void* from) { return _mm512_loadu_si512(from); }
ALWAYS_INLINE Integers broadcast_integer(int32_t x) { return _mm512_set1_epi32(x); }
ALWAYS_INLINE Floats floats_of(Integers x) { return _mm512_cvtepi32_ps(x); }
ALWAYS_INLINE void add_integers(Integers x, int32_t* to) {
    _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_loadu_si512(to), x));
}
#else
#define ROWS 3
#define LANES 8
typedef __m256 Floats;
typedef __m256i Integers;
ALWAYS_INLINE Floats load(const float* from) { return _mm256_loadu_ps(from); }
ALWAYS_INLINE void store(float* to, Floats x) { _mm256_storeu_ps(to, x); }
ALWAYS_INLINE Floats broadcast(float x) { return _mm256_set1_ps(x); }
ALWAYS_INLINE Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
ALWAYS_INLINE Integers load_integers(const void* from) {
    return _mm256_loadu_si256((const __m256i*)from);
}
ALWAYS_INLINE Integers broadcast_integer(int32_t x) { return _mm256_set1_epi32(x); }
ALWAYS_INLINE Floats floats_of(Integers x) { return _mm256_cvtepi32_ps(x); }
ALWAYS_INLINE void add_integers(Integers x, int32_t* to) {
    _mm256_storeu_si256((__m256i*)to, _mm256_add_epi32(load_integers(to), x));
}
#endif

/* ADD_PRODUCTS(sums, x, weight) adds the products of bytes to sums, by fours. Values x of a row are
 * 128 ± 127, as VNNI multiplies unsigned by signed bytes; each product has ZERO_POINT times its
 * weight too much. */
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define ZERO_POINT 128
/* The compiler's intrinsics take up registers that sums need. */
#if defined(ADD_PRODUCTS) /* by tests on a processor without VNNI */
#elif defined(__AVX512VNNI__)
#define ADD_PRODUCTS(sums, x, weight) \
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(x), "v"(weight))
#else
#define ADD_PRODUCTS(sums, x, weight) \
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(x), "x"(weight))
#endif
#else
#define ZERO_POINT 0
/* Pairs are added in 16 bits, which two products of numbers in ±127 never exceed. */
#define ADD_PRODUCTS(sums, x, weight) sums = add_products(sums, x, weight)
ALWAYS_INLINE Integers add_products(Integers sums, Integers x, Integers weight) {
    const Integers centred = _mm256_xor_si256(x, _mm256_set1_epi8(-128));
    const Integers pairs =
        _mm256_maddubs_epi16(_mm256_abs_epi8(centred), _mm256_sign_epi8(weight, centred));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
/* Adds the products of 16-bit integers to sums, by twos; also keeps to the registers there are. */
#define ADD_PAIRS(sums, x, weight)                          \
    do {                                                    \
        Integers pairs;                                     \
        __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"  \
                : "+x"(sums), "=&x"(pairs)                  \
                : "x"(x), "x"(weight));                     \
    } while (0)
#endif

/* Calls a function or macro with a constant number of rows, at most ROWS. */
#if ROWS == 4
#define SWITCH_ROWS(rows, call) \
    switch (rows) {             \
        case 1:                 \
            call(1);            \
            break;              \
        case 2:                 \
            call(2);            \
            break;              \
        case 3:                 \
            call(3);            \
            break;              \
        default:                \
            call(4);            \
    }
#else
#define SWITCH_ROWS(rows, call) \
    if ((rows) == 1)            \
        call(1);                \
    else if ((rows) == 2)       \
        call(2);                \
    else                        \
        call(3);
#endif

ALWAYS_INLINE float dot(const float* a, const float* b, int64_t size) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; i++) sum += a[i] * b[i];
    return sum;
}

/* exp(x) to a few units in the last place, for x <= 88; 0 below -87. Cephes' polynomial. */
ALWAYS_INLINE float exponential(float x) {
    float clamped = x < -87.0f ? -87.0f : x;
    float power = rintf(clamped * 1.44269504088896341f);
    float rest = clamped - power * 0.693359375f + power * 2.12194440e-4f;
    float value = 1.9875691500e-4f;
    value = value * rest + 1.3981999507e-3f;
    value = value * rest + 8.3334519073e-3f;
    value = value * rest + 4.1665795894e-2f;
    value = value * rest + 1.6666665459e-1f;
    value = value * rest + 5.0000001201e-1f;
    value = value * rest * rest + rest + 1.0f;
    union {
        int32_t bits;
        float scale;
    } two = {.bits = ((int32_t)power + 127) << 23};
    return x < -87.0f ? 0.0f : value * two.scale;
}

/* The sums of four vectors of floats. */
ALWAYS_INLINE __m128 sums_of(const Floats x[OUTS]) {
#ifdef __AVX512VNNI__
    __m512d low = _mm512_castps_pd(
        _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1])));
    __m512d high = _mm512_castps_pd(
        _mm512_add_ps(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3])));
    __m512 lanes = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)),
                                 _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
#else
    __m256 half = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
#endif
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

/* Takes bytes from a block of memory, rounded up to whole cache lines. */
static inline void* take(uintptr_t* address, int64_t bytes) {
    uintptr_t taken = *address;
    *address += (bytes + LINE - 1) / LINE * LINE;
    return (void*)taken;
}
