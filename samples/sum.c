/* sum: the sum of the numbers in a JSON list. */
#include <stdio.h>

int main(void) {
    double sum = 0, number;
    char mark = 0;
    if (scanf(" %c", &mark) != 1 || mark != '[') {
        fprintf(stderr, "the input is not a list of numbers\n");
        return 1;
    }
    for (mark = ','; mark == ','; sum += number) {
        if (scanf("%lf", &number) != 1)
            number = 0;
        if (scanf(" %c", &mark) != 1)
            mark = 0;
    }
    if (mark != ']') {
        fprintf(stderr, "the input is not a list of numbers\n");
        return 1;
    }
    printf("%.17g\n", sum);
    return 0;
}
