/* log_forever: writes numbered lines to its log without end, so that one can see which of them were kept. */
#include <stdio.h>

int main(void) {
    for (unsigned long long line = 1; fprintf(stderr, "log line %llu\n", line) > 0; line++) {
    }
    return 1;
}
