/* Instructions of AVX-512, VNNI and AMX by those of AVX2, included before anything else, so that
 * every variant of csrc is tested on processors that have AVX2 alone. Slow, and only what csrc uses. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define EMULATED static inline __attribute__((always_inline))

#ifdef EMULATE_AVXVNNI
#define __AVXVNNI__ 1
#endif

/* Adds the products of unsigned and signed bytes to sums of 32 bits, by fours. */
EMULATED void add_fours(int32_t* sums, const uint8_t* x, const int8_t* weight, int count) {
    for (int i = 0; i < 4 * count; i++) sums[i / 4] += x[i] * weight[i];
}
#define ADD_PRODUCTS(sums, x, weight)                                               \
    do {                                                                            \
        int32_t sums_[sizeof(sums) / 4];                                            \
        memcpy(sums_, &(sums), sizeof(sums));                                       \
        add_fours(sums_, (const uint8_t*)&(x), (const int8_t*)&(weight), sizeof(sums) / 4); \
        memcpy(&(sums), sums_, sizeof(sums));                                       \
    } while (0)

#ifdef EMULATE_AVX512
#define __AVX512VNNI__ 1
typedef float Floats16 __attribute__((vector_size(64)));
typedef double Doubles8 __attribute__((vector_size(64)));
typedef int32_t Integers16 __attribute__((vector_size(64)));
typedef long long Integers8 __attribute__((vector_size(64)));
#define __m512 Floats16
#define __m512d Doubles8
#define __m512i Integers8

#define LOADING(name, type)            \
    EMULATED type name(const void* p) { \
        type x;                        \
        memcpy(&x, p, sizeof x);       \
        return x;                      \
    }                                  \
    EMULATED void name##_back(void* p, type x) { memcpy(p, &x, sizeof x); }
LOADING(load_floats16, Floats16)
LOADING(load_integers8, Integers8)
#define _mm512_loadu_ps load_floats16
#define _mm512_storeu_ps load_floats16_back
#define _mm512_loadu_si512 load_integers8
#define _mm512_storeu_si512 load_integers8_back

#define _mm512_set1_ps(x) ((Floats16){0} + (x))
#define _mm512_set1_epi32(x) ((Integers8)((Integers16){0} + (x)))
#define _mm512_add_ps(a, b) ((a) + (b))
#define _mm512_add_epi32(a, b) ((Integers8)((Integers16)(a) + (Integers16)(b)))
#define _mm512_cvtepi32_ps(x) __builtin_convertvector((Integers16)(x), Floats16)
#define _mm512_castps_pd(x) ((Doubles8)(x))
#define _mm512_castpd_ps(x) ((Floats16)(x))

/* A half of 256 bits. */
#define HALF(type, x, half) (*(const type*)((const char*)&(x) + 32 * (half)))

EMULATED Floats16 multiply_add16(Floats16 a, Floats16 b, Floats16 c) {
    __m256 halves[2];
    for (int i = 0; i < 2; i++)
        halves[i] = _mm256_fmadd_ps(HALF(__m256, a, i), HALF(__m256, b, i), HALF(__m256, c, i));
    return load_floats16(halves);
}
#define _mm512_fmadd_ps multiply_add16

#undef _mm512_extractf32x8_ps
#undef _mm512_extracti64x4_epi64
#define _mm512_castps512_ps256(x) HALF(__m256, x, 0)
#define _mm512_extractf32x8_ps(x, half) HALF(__m256, x, half)
#define _mm512_castsi512_si256(x) HALF(__m256i, x, 0)
#define _mm512_extracti64x4_epi64(x, half) HALF(__m256i, x, half)

#define BY_PAIRS(from) \
    from, from + 16, from + 1, from + 17, from + 4, from + 20, from + 5, from + 21, from + 8, \
        from + 24, from + 9, from + 25, from + 12, from + 28, from + 13, from + 29
#define _mm512_unpacklo_ps(a, b) __builtin_shuffle(a, b, (Integers16){BY_PAIRS(0)})
#define _mm512_unpackhi_ps(a, b) __builtin_shuffle(a, b, (Integers16){BY_PAIRS(2)})
#define AS_FLOATS(name, a, b) ((Integers8)_mm512_##name##_ps((Floats16)(a), (Floats16)(b)))
#define _mm512_unpacklo_epi32(a, b) AS_FLOATS(unpacklo, a, b)
#define _mm512_unpackhi_epi32(a, b) AS_FLOATS(unpackhi, a, b)
#define _mm512_unpacklo_pd(a, b) __builtin_shuffle(a, b, (Integers8){0, 8, 2, 10, 4, 12, 6, 14})
#define _mm512_unpackhi_pd(a, b) __builtin_shuffle(a, b, (Integers8){1, 9, 3, 11, 5, 13, 7, 15})
#define _mm512_unpacklo_epi64(a, b) \
    ((Integers8)_mm512_unpacklo_pd((Doubles8)(a), (Doubles8)(b)))
#define _mm512_unpackhi_epi64(a, b) \
    ((Integers8)_mm512_unpackhi_pd((Doubles8)(a), (Doubles8)(b)))

/* Quarters of a, of which two bits each say which, and then of b. */
EMULATED Floats16 quarters(Floats16 a, Floats16 b, int which) {
    Integers16 from;
    for (int i = 0; i < 16; i++) from[i] = (i < 8 ? 0 : 16) + 4 * (which >> i / 4 * 2 & 3) + i % 4;
    return __builtin_shuffle(a, b, from);
}
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 quarters
#endif

#ifdef EMULATE_AMX
#define __AMX_TILE__ 1
#define __AMX_INT8__ 1
static _Thread_local uint8_t tiles[8][16][64];

EMULATED void load_tile(int tile, const void* from, int64_t stride) {
    for (int row = 0; row < 16; row++)
        memcpy(tiles[tile][row], (const char*)from + row * stride, 64);
}
EMULATED void store_tile(int tile, void* to, int64_t stride) {
    for (int row = 0; row < 16; row++) memcpy((char*)to + row * stride, tiles[tile][row], 64);
}
EMULATED void multiply_tile(int sums, int a, int b) {
    for (int row = 0; row < 16; row++)
        for (int i = 0; i < 256; i++)
            add_fours((int32_t*)tiles[sums][row] + i % 16, tiles[a][row] + i / 16 * 4,
                      (const int8_t*)tiles[b][i / 16] + i % 16 * 4, 1);
}
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#define _tile_loadd load_tile
#define _tile_stored store_tile
#define _tile_dpbusd multiply_tile
#define _tile_loadconfig(shapes) (void)(shapes)
#define _tile_release()
#endif
