/* call: a no-op that is called as a library, through the interface of FunLess: no start, no streams.
 * Its input is a JSON string of ASCII; it answers with the letters a-z as A-Z. */
#include <stdint.h>

#define HOST(name) __attribute__((import_module("fl_imps"), import_name(name)))
HOST("__get_input_data") void get_input(char *);
HOST("__insert_response") void respond(const char *, uint32_t);
HOST("__insert_error") void fail(const char *, uint32_t);

static char text[4096];

__attribute__((export_name("__invoke"))) int invoke(uint32_t size) {
    static const char too_long[] = "the input is too long";
    if (size > sizeof text) {
        fail(too_long, sizeof too_long - 1);
        return 1;
    }
    get_input(text);
    for (uint32_t i = 0; i < size; i++)
        if (text[i] >= 'a' && text[i] <= 'z') text[i] -= 'a' - 'A';
    respond(text, size);
    return 0;
}
