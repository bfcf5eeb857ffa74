/* exit_with_code: copies its input to its output and ends with the exit code in its first argument (1 when there is
 * none). Any code but 0 makes a job fail. */
#include "stream.h"

int main(int argc, char **argv) {
    static char chunk[CHUNK_BYTES];
    ssize_t size;
    while ((size = read(STDIN_FILENO, chunk, sizeof chunk)) > 0)
        if (write_all(STDOUT_FILENO, chunk, (size_t)size) < 0) return 1;
    write_text(STDERR_FILENO, "ending with the exit code that was asked for\n");
    return (int)number_argument(argc, argv, 1, 1);
}
