/* count_slowly: logs "tick N of M" every INTERVAL_MS milliseconds for SECONDS seconds, then prints M.
 * Arguments: SECONDS (10 when left out) INTERVAL_MS (100). */
#include <stdio.h>
#include <time.h>

#include "stream.h"

int main(int argc, char **argv) {
    long long interval_ms = number_argument(argc, argv, 2, 100);
    if (interval_ms < 1) interval_ms = 1;
    long long ticks = number_argument(argc, argv, 1, 10) * 1000 / interval_ms;
    const struct timespec interval = {.tv_sec = interval_ms / 1000, .tv_nsec = interval_ms % 1000 * 1000000};
    for (long long tick = 1; tick <= ticks; tick++) {
        nanosleep(&interval, NULL);
        fprintf(stderr, "tick %lld of %lld\n", tick, ticks);
    }
    printf("%lld\n", ticks);
    return 0;
}
