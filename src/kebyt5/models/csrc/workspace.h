/* Memory for the intermediate results of one call. */
#pragma once
#include <stdint.h>

/* Lends a thread aligned memory until it is given back; NULL if there is none. A thread borrows one
 * block at a time and keeps it for the next call: allocating a block of a different size each time
 * would fragment the heap, and a long-running process would grow. */
void* borrow(int64_t size);

/* Frees a block that is too large to keep. */
void give_back(void* memory);
