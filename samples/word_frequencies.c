/* word_frequencies: how often each word stands in the text on standard input.
 * A word is a longest run of the ASCII letters A-Z and a-z; capital letters count as small ones.
 * Output: a line "word count" for each word, in the order of the words' bytes. */
#include "stream.h"
#include "word_table.h"

int main(void) {
    static char chunk[CHUNK_BYTES];
    struct word_table table = {0};
    size_t start = 0; /* of the word that is being read */
    ssize_t size;
    while ((size = read(STDIN_FILENO, chunk, sizeof chunk)) > 0)
        for (ssize_t i = 0; i < size; i++) {
            char letter = chunk[i] >= 'A' && chunk[i] <= 'Z' ? (char)(chunk[i] + ('a' - 'A')) : chunk[i];
            if (letter >= 'a' && letter <= 'z') {
                add_letter(&table, letter);
            } else {
                add_word(&table, start, 1);
                start = table.letters_used;
            }
        }
    add_word(&table, start, 1);
    return print_words(&table) || size < 0;
}
