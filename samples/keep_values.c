/* keep_values: does with keys and values what its arguments say: NAMESPACE get KEY, set KEY VALUE [MILLISECONDS], append
   KEY TEXT, swap KEY VALUE, claim KEY VALUE, replace KEY VALUE OLD, add KEY N, delete KEY [VALUE], or keys [PREFIX]. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "piecework_kv.h"

#define TEXT(text) (text), strlen(text)

static const char *word(int count, char **words, int place) { return place < count ? words[place] : ""; }

/* Print the answer, with the zero bytes between keys as line breaks. */
static void print_answer(uint32_t size, int as_keys) {
    char *answer = malloc(size + 1);
    if (answer == NULL || kv_answer(answer, size) != (int)size)
        abort();
    for (uint32_t place = 0; as_keys && place < size; place++)
        if (answer[place] == '\0')
            answer[place] = '\n';
    fwrite(answer, 1, size, stdout);
    free(answer);
}

/* Print all keys, however many they are. */
static int print_keys(const char *space, const char *prefix) {
    char last[4 * 512 + 1] = "";
    for (;;) {
        uint32_t size;
        int error = kv_keys(TEXT(space), TEXT(prefix), TEXT(last), &size);
        if (error || size == 0)
            return error;
        char *answer = malloc(size);
        if (answer == NULL || kv_answer(answer, size) != (int)size)
            abort();
        const char *key = answer + size - 1;
        while (key > answer && key[-1] != '\0')
            key--;
        strcpy(last, key);
        free(answer);
        print_answer(size, 1);
    }
}

static int change(int count, char **words, uint32_t flags) {
    const char *value = word(count, words, 4), *old = flags & KV_IF_VALUE ? word(count, words, 5) : "";
    int64_t expire_ms = count > 5 && flags == 0 ? atoll(words[5]) : KV_KEEP;
    uint32_t size;
    int error = kv_set(TEXT(words[1]), TEXT(words[3]), TEXT(value), flags, expire_ms, TEXT(old), &size);
    if (error == 0)
        print_answer(size, 0);
    return error;
}

static int perform(int count, char **words) {
    const char *space = words[1], *act = words[2], *key = word(count, words, 3);
    uint32_t size;
    int64_t sum;
    if (strcmp(act, "keys") == 0)
        return print_keys(space, key);
    if (strcmp(act, "get") == 0) {
        int error = kv_get(TEXT(space), TEXT(key), &size);
        if (error == 0)
            print_answer(size, 0);
        return error;
    }
    if (strcmp(act, "add") == 0) {
        int error = kv_add(TEXT(space), TEXT(key), atoll(word(count, words, 4)), KV_KEEP, &sum);
        if (error == 0)
            printf("%" PRId64, sum);
        return error;
    }
    if (strcmp(act, "delete") == 0)
        return kv_delete(TEXT(space), TEXT(key), count > 4 ? KV_IF_VALUE : 0, TEXT(word(count, words, 4)));
    const char *acts[] = {"set", "append", "swap", "claim", "replace"};
    const uint32_t flags[] = {0, KV_APPEND, KV_OLD, KV_IF_ABSENT, KV_IF_VALUE};
    for (int place = 0; place < 5; place++)
        if (strcmp(act, acts[place]) == 0 && count > 3)
            return change(count, words, flags[place]);
    fprintf(stderr, "%s is nothing that can be done\n", act);
    exit(2);
}

int main(int count, char **words) {
    if (count < 3) {
        fprintf(stderr, "keep_values NAMESPACE get|set|append|swap|claim|replace|add|delete|keys …\n");
        return 2;
    }
    int error = perform(count, words);
    if (error == 0)
        return 0;
    char why[400];
    int size = kv_answer(why, sizeof why);
    fprintf(stderr, "%s (%d): %.*s\n", strerror(error), error, size, why);
    return 1;
}
