/* Memory that threads keep from call to call. */
#include "workspace.h"

#include <pthread.h>
#include <stdlib.h>

#define STEP ((int64_t)4 << 20)       /* bytes by which it grows */
#define MOST_KEPT ((int64_t)64 << 20) /* bytes that a thread holds between calls */

static _Thread_local void* kept;
static _Thread_local int64_t kept_size;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What a thread keeps is freed with the thread. */
static void make_key(void) { pthread_key_create(&key, free); }

void* borrow(int64_t size) {
    if (kept && size <= kept_size) return kept;
    size =
        size > 0 ? size : 1; /* an empty batch needs memory too, as NULL says that there is none */
    const int64_t whole = (size + STEP - 1) / STEP * STEP;
    if (whole > MOST_KEPT) return aligned_alloc(64, whole);
    pthread_once(&once, make_key);
    free(kept);
    kept = aligned_alloc(64, whole);
    kept_size = kept ? whole : 0;
    pthread_setspecific(key, kept);
    return kept;
}

void give_back(void* memory) {
    if (memory != kept) free(memory);
}
