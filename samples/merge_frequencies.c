/* merge_frequencies: adds up tables of word_frequencies that stand one after the other on standard input.
 * Each line is "word count"; empty lines are skipped, any other line ends it with exit code 1.
 * Output: one such table. Merging merged tables is fine. */
#include "word_table.h"

/* Read " count\n" (the word before it is read already) and return the count; 0 when it is not one. */
static unsigned long long read_count(void) {
    unsigned long long count = 0;
    int digit;
    while ((digit = getchar()) >= '0' && digit <= '9') count = 10 * count + (unsigned)(digit - '0');
    return digit == '\n' || digit == EOF ? count : 0;
}

int main(void) {
    struct word_table table = {0};
    int next;
    for (unsigned long line = 1; (next = getchar()) != EOF; line++) {
        size_t start = table.letters_used;
        for (; next >= 'a' && next <= 'z'; next = getchar()) add_letter(&table, (char)next);
        if (next == '\n' && table.letters_used == start) continue;
        unsigned long long count = next == ' ' ? read_count() : 0;
        if (count == 0 || table.letters_used == start) {
            fprintf(stderr, "line %lu is not \"word count\"\n", line);
            return 1;
        }
        add_word(&table, start, count);
    }
    return print_words(&table);
}
