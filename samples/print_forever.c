/* print_forever: writes to its output without end. */
#include "stream.h"

int main(void) {
    while (write_text(STDOUT_FILENO, "a line of output that nobody asked for\n") == 0) {
    }
    return 1;
}
