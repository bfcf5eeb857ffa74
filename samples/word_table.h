/* A table of words and how often each was seen: what word_frequencies and merge_frequencies share.
 * Open addressing over a power of two of slots; the letters of all words stand in one growing buffer. */
#ifndef WORD_TABLE_H
#define WORD_TABLE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct word {
    size_t start; /* in `letters` */
    size_t length; /* 0: the slot is free */
    uint32_t hash;
    unsigned long long count;
};

struct word_table {
    char *letters;
    size_t letters_used, letters_size;
    struct word *slots;
    size_t words, size;
};

static inline void *resize(void *memory, size_t bytes) {
    void *resized = realloc(memory, bytes);
    if (resized == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return resized;
}

/* Append one letter to the word that is being read; add_word() ends it. */
static inline void add_letter(struct word_table *table, char letter) {
    if (table->letters_used == table->letters_size) {
        table->letters_size = table->letters_size ? 2 * table->letters_size : 4096;
        table->letters = resize(table->letters, table->letters_size);
    }
    table->letters[table->letters_used++] = letter;
}

static inline uint32_t hash_letters(const char *letters, size_t length) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)letters[i]) * 16777619u;
    return hash;
}

/* The slot that holds the word, or the free one where it belongs. */
static inline struct word *find_slot(const struct word_table *table, size_t start, size_t length, uint32_t hash) {
    for (size_t i = hash;; i++) {
        struct word *slot = &table->slots[i & (table->size - 1)];
        if (slot->length == 0) return slot;
        if (slot->hash == hash && slot->length == length &&
            memcmp(table->letters + slot->start, table->letters + start, length) == 0)
            return slot;
    }
}

static inline void grow(struct word_table *table) {
    struct word *old = table->slots;
    size_t old_size = table->size;
    table->size = old_size ? 2 * old_size : 1024;
    table->slots = resize(NULL, table->size * sizeof *table->slots);
    memset(table->slots, 0, table->size * sizeof *table->slots);
    for (size_t i = 0; i < old_size; i++)
        if (old[i].length) *find_slot(table, old[i].start, old[i].length, old[i].hash) = old[i];
    free(old);
}

/* Count the word whose letters stand from `start` to the end of the buffer; they are kept when it is new. */
static inline void add_word(struct word_table *table, size_t start, unsigned long long count) {
    size_t length = table->letters_used - start;
    if (length == 0) return;
    if (4 * (table->words + 1) > 3 * table->size) grow(table);
    uint32_t hash = hash_letters(table->letters + start, length);
    struct word *slot = find_slot(table, start, length, hash);
    if (slot->length) {
        table->letters_used = start;
    } else {
        *slot = (struct word){.start = start, .length = length, .hash = hash};
        table->words++;
    }
    slot->count += count;
}

static const char *letters_to_compare;

static inline int compare_words(const void *left, const void *right) {
    const struct word *a = left, *b = right;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(letters_to_compare + a->start, letters_to_compare + b->start, shorter);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* Print a line "word count" for each word, in the order of the words' bytes. Uses up the table. */
static inline int print_words(struct word_table *table) {
    size_t kept = 0;
    for (size_t i = 0; i < table->size; i++)
        if (table->slots[i].length) table->slots[kept++] = table->slots[i];
    letters_to_compare = table->letters;
    if (kept) qsort(table->slots, kept, sizeof *table->slots, compare_words);
    for (size_t i = 0; i < kept; i++) {
        const struct word *word = &table->slots[i];
        fwrite(table->letters + word->start, 1, word->length, stdout);
        printf(" %llu\n", word->count);
    }
    return fflush(stdout);
}

#endif
