/* crash: traps in the way that its first argument names:
 * unreachable (when there is none), bounds, divide, abort, or stack (endless recursion). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not tail-recursive: each call must keep its frame. The compiler cannot know that the depth never gets negative. */
__attribute__((noinline)) static int recurse(const volatile int *depth) {
    volatile int here = *depth + 1;
    return here < 0 ? 0 : recurse(&here) + here;
}

int main(int argc, char **argv) {
    const char *way = argc > 1 ? argv[1] : "unreachable";
    volatile int zero = 0;
    fprintf(stderr, "about to crash: %s\n", way);
    if (strcmp(way, "bounds") == 0) return *(volatile int *)0xFFFFFFF0u;
    if (strcmp(way, "divide") == 0) return argc / zero;
    if (strcmp(way, "abort") == 0) abort();
    if (strcmp(way, "stack") == 0) return recurse(&zero);
    __builtin_trap();
}
