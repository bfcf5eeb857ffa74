/* burn_cpu: computes, and prints how many rounds it did.
 * Arguments: MILLISECONDS (10 when left out) by the clock, or "rounds" ROUNDS: the same work wherever and whenever. */
#include <stdio.h>
#include <time.h>

#include "stream.h"

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* One round: 1,000 steps of a linear congruential generator. */
static uint64_t compute(uint64_t state) {
    for (int step = 0; step < 1000; step++) state = state * 6364136223846793005u + 1442695040888963407u;
    return state;
}

int main(int argc, char **argv) {
    volatile uint64_t sink = 1;
    long long rounds = 0;
    if (argc > 1 && strcmp(argv[1], "rounds") == 0) {
        for (long long wanted = number_argument(argc, argv, 2, 1000); rounds < wanted; rounds++) sink = compute(sink);
    } else {
        long long end_ns = now_ns() + number_argument(argc, argv, 1, 10) * 1000000;
        for (; now_ns() < end_ns; rounds++) sink = compute(sink);
    }
    printf("%lld\n", rounds);
    return 0;
}
