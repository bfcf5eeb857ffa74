/* uppercase: its input with the ASCII letters a-z as A-Z, every other byte as it is. */
#include "stream.h"

int main(void) {
    static char chunk[CHUNK_BYTES];
    ssize_t size;
    while ((size = read(STDIN_FILENO, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < size; i++)
            if (chunk[i] >= 'a' && chunk[i] <= 'z') chunk[i] -= 'a' - 'A';
        if (write_all(STDOUT_FILENO, chunk, (size_t)size) < 0) return 1;
    }
    return size < 0;
}
