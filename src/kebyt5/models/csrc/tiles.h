/* Tiles of processors with AMX: registers of 16 rows of 64 bytes. */
#pragma once

#ifdef __AMX_TILE__
#include <immintrin.h>
#include <stdint.h>

#define TILE_ROWS 16
#define TILE_BYTES 64 /* of a row */

/* Constant, as the intrinsic does not tell the compiler what it reads. */
static const struct __attribute__((packed)) {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} WHOLE_TILES = {
    .palette = 1, .row_bytes = {[0 ... 7] = TILE_BYTES}, .rows = {[0 ... 7] = TILE_ROWS}};

/* Before a thread uses tiles, ... */
static inline void start_tiles(void) { _tile_loadconfig(&WHOLE_TILES); }

/* ... and after it, so that the system need not save them. */
static inline void end_tiles(void) { _tile_release(); }
#else
static inline void start_tiles(void) {}
static inline void end_tiles(void) {}
#endif
