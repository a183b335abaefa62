#define _GNU_SOURCE
#include "tiles.h"

#include <sys/syscall.h>
#include <unistd.h>

#ifdef __AMX_TILE__
/* Asks Linux for the registers of tiles; returns whether this process and its threads have them. */
int allow_tiles(void) {
    const long request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return !syscall(SYS_arch_prctl, request, tile_data);
}
#endif
