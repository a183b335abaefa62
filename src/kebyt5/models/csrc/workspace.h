/* Memory for what one call computes. */
#pragma once
#include <stdint.h>

/* Lends a thread aligned memory until it is given back; NULL where there is none. A thread borrows
 * one piece at a time, and keeps it for the next call: pieces of another size each time would leave
 * holes of which a process that runs for long grows. */
void* borrow(int64_t size);

/* Frees what is too large to be kept. */
void give_back(void* memory);
