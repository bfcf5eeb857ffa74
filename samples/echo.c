/* echo: copies its input to its output, byte for byte. */
#include "stream.h"

int main(void) {
    static char chunk[CHUNK_BYTES];
    ssize_t size;
    while ((size = read(STDIN_FILENO, chunk, sizeof chunk)) > 0)
        if (write_all(STDOUT_FILENO, chunk, (size_t)size) < 0) return 1;
    return size < 0;
}
