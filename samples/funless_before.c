/* funless_before: a function of FunLess before 0.8: a WASI command that answers how many bytes its JSON has. */
#include <stdio.h>

int main(void) {
    long size = 0;
    while (getchar() != EOF) size++;
    printf("{\"bytes\": %ld}\n", size);
    return 0;
}
