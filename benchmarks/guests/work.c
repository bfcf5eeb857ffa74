/* work: what the benchmarks run beside no-ops. Writes its input with the ASCII letters a-z as A-Z.
 * The first byte says what comes before that:  c  computes ROUNDS rounds,  s  sleeps MILLISECONDS,  others nothing.
 * Arguments: ROUNDS MILLISECONDS. */
#include <time.h>

#include "../../samples/stream.h"

/* One round: 1,000 steps of a linear congruential generator. */
static uint64_t compute(uint64_t state) {
    for (int step = 0; step < 1000; step++) state = state * 6364136223846793005u + 1442695040888963407u;
    return state;
}

static void work(char kind, int argc, char **argv) {
    volatile uint64_t sink = 1;
    if (kind == 'c')
        for (long long round = number_argument(argc, argv, 1, 0); round > 0; round--) sink = compute(sink);
    if (kind == 's') {
        long long milliseconds = number_argument(argc, argv, 2, 0);
        struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv) {
    static char chunk[CHUNK_BYTES];
    ssize_t size;
    for (int first = 1; (size = read(STDIN_FILENO, chunk, sizeof chunk)) > 0; first = 0) {
        if (first) work(chunk[0], argc, argv);
        for (ssize_t i = 0; i < size; i++)
            if (chunk[i] >= 'a' && chunk[i] <= 'z') chunk[i] -= 'a' - 'A';
        if (write_all(STDOUT_FILENO, chunk, (size_t)size) < 0) return 1;
    }
    return size < 0;
}
