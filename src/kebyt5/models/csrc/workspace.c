/* Memory that threads hold from call to call. */
#include "workspace.h"

#include <pthread.h>
#include <stdlib.h>

#define STEP ((int64_t)4 << 20)      /* bytes by which it grows */
#define MAX_HELD ((int64_t)64 << 20) /* bytes that a thread holds between calls */

static _Thread_local void* held;
static _Thread_local int64_t held_size;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What a thread keeps is freed with the thread. */
static void make_key(void) { pthread_key_create(&key, free); }

void* borrow(int64_t size) {
    if (held && size <= held_size) return held;
    /* An empty batch gets memory too, as NULL would mean that there is none. */
    size = size > 0 ? size : 1;
    const int64_t whole = (size + STEP - 1) / STEP * STEP;
    if (whole > MAX_HELD) return aligned_alloc(64, whole);
    pthread_once(&once, make_key);
    free(held);
    held = aligned_alloc(64, whole);
    held_size = held ? whole : 0;
    pthread_setspecific(key, held);
    return held;
}

void give_back(void* memory) {
    if (memory != held) free(memory);
}
