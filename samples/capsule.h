/* What the four capsule samples share. Each defines before it includes this file: DONE, the type that its host
   functions return; LETTERED, 1 when results begin with S or F; and the functions handle_more() and its own handler
   of HTTP requests. Memory is never freed: each call gets a fresh instance. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *at;
    uint32_t size;
} text;

#define EXPORT(name) __attribute__((export_name(name)))
#define HOST(name) __attribute__((import_module("env"), import_name(name)))
#define TEXT(literal) ((text){literal, sizeof(literal) - 1})

static uintptr_t top;
extern char __heap_base;

EXPORT("malloc") void *take(uint32_t size) {
    if (!top) top = (uintptr_t)&__heap_base;
    uintptr_t at = (top + 15) & ~(uintptr_t)15;
    top = at + size;
    uintptr_t pages = (top + 65535) / 65536;
    if (pages > __builtin_wasm_memory_size(0) &&
        __builtin_wasm_memory_grow(0, pages - __builtin_wasm_memory_size(0)) == (size_t)-1)
        return NULL;
    return (void *)at;
}

EXPORT("free") void leave(void *at) { (void)at; }

/* As the guests of TinyGo do: no room for nothing. */
EXPORT("allocateBuffer") void *allocate_buffer(uint32_t size) {
    if (size == 0) __builtin_trap();
    return take(size);
}

static uint64_t pack(text given) { return (uint64_t)(uintptr_t)given.at << 32 | given.size; }

static text join(text left, text right) {
    char *at = take(left.size + right.size);
    if (!at) __builtin_trap();
    memcpy(at, left.at, left.size);
    memcpy(at + left.size, right.at, right.size);
    return (text){at, left.size + right.size};
}

/* The first word of a text, which loses it. */
static text cut_word(text *rest) {
    uint32_t size = 0;
    while (size < rest->size && rest->at[size] != ' ') size++;
    text word = {rest->at, size};
    uint32_t skipped = size < rest->size ? size + 1 : size;
    *rest = (text){rest->at + skipped, rest->size - skipped};
    return word;
}

static int is(text word, const char *name) {
    return word.size == strlen(name) && memcmp(word.at, name, word.size) == 0;
}

#define TO const char *, uint32_t
HOST("hostLogString") DONE host_log(TO);
HOST("hostGetEnv") DONE host_get_env(TO, const char **, uint32_t *);
HOST("hostReadFile") DONE host_read_file(TO, const char **, uint32_t *);
HOST("hostWriteFile") DONE host_write_file(TO, TO, const char **, uint32_t *);
HOST("hostRedisSet") DONE host_redis_set(TO, TO, const char **, uint32_t *);
HOST("hostRedisGet") DONE host_redis_get(TO, const char **, uint32_t *);
HOST("hostRedisKeys") DONE host_redis_keys(TO, const char **, uint32_t *);

#define ASK0(function, answer) function(&answer.at, &answer.size)
#define ASK1(function, one, answer) function(one.at, one.size, &answer.at, &answer.size)
#define ASK2(function, one, two, answer) function(one.at, one.size, two.at, two.size, &answer.at, &answer.size)

static text handle_more(text command, text rest);

static text succeed(text given) { return LETTERED ? join(TEXT("S"), given) : given; }

/* Do what the first word says; the result is what the host answers, errors with their marks included. */
static text handle(text given) {
    text rest = given, answer = {0, 0};
    text command = cut_word(&rest);
    if (is(command, "log")) {
        host_log(rest.at, rest.size);
        return succeed(TEXT("logged"));
    }
    if (is(command, "env")) {
        ASK1(host_get_env, rest, answer);
        return succeed(answer);
    }
    if (is(command, "read")) {
        ASK1(host_read_file, rest, answer);
        return answer;
    }
    if (is(command, "redis-get")) {
        ASK1(host_redis_get, rest, answer);
        return answer;
    }
    if (is(command, "redis-keys")) {
        ASK1(host_redis_keys, rest, answer);
        return answer;
    }
    if (is(command, "write")) {
        text name = cut_word(&rest);
        ASK2(host_write_file, name, rest, answer);
        return answer;
    }
    if (is(command, "redis-set")) {
        text name = cut_word(&rest);
        ASK2(host_redis_set, name, rest, answer);
        return answer;
    }
    return handle_more(command, rest);
}

EXPORT("callHandle") uint64_t call_handle(const char *at, uint32_t size) { return pack(handle((text){at, size})); }
