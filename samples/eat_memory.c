/* eat_memory: takes one MiB after the other and writes to each page of it, until there is no more; then it aborts,
 * as a program does that cannot go on. Its log tells how far it came. */
#include <stdio.h>

#include "stream.h"

enum { STEP_BYTES = 1024 * 1024, PAGE_BYTES = 4096 };

int main(void) {
    for (unsigned long taken = 0;; taken++) {
        volatile char *step = malloc(STEP_BYTES);
        if (step == NULL) {
            fprintf(stderr, "no more memory after %lu MiB\n", taken);
            abort();
        }
        for (size_t i = 0; i < STEP_BYTES; i += PAGE_BYTES) step[i] = 1;
    }
}
