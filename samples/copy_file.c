/* copy_file: copies the file that its first argument names to its output, or to the file that the second names. */

#include <stdio.h>

static int copy(FILE *from, FILE *to) {
    static char block[65536];
    size_t size;
    while ((size = fread(block, 1, sizeof block, from)) > 0)
        if (fwrite(block, 1, size, to) < size)
            return 1;
    return ferror(from) || fclose(to) != 0;
}

int main(int count, char **words) {
    FILE *from = count > 1 ? fopen(words[1], "rb") : stdin;
    FILE *to = count > 2 ? fopen(words[2], "wb") : stdout;
    if (from == NULL || to == NULL || copy(from, to) != 0) {
        perror(from == NULL ? words[1] : count > 2 ? words[2] : "copy_file");
        return 1;
    }
    return 0;
}
