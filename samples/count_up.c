/* count_up: adds 1 to the number under the key "count" of the namespace that it is granted, and prints the sum. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "piecework_kv.h"

int main(void) {
    int64_t sum;
    int error = kv_add("", 0, "count", 5, 1, KV_KEEP, &sum); /* "": the only namespace that is granted */
    if (error) {
        fprintf(stderr, "not counted: %s\n", strerror(error));
        return 1;
    }
    printf("%" PRId64 "\n", sum);
    return 0;
}
