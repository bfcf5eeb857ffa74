/* What the capsule samples share. Each defines before it includes this file: DONE, the type that its host functions
   return; LETTERED, 1 when results begin with S or F; and after it the functions handle_more() and its own handler
   of HTTP requests; or OWN_HANDLE, when it does something of its own. Memory is never freed: each call gets a fresh
   instance. */
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

/* What stands before the first mark in a text, which keeps what is behind it. */
static text cut(text *rest, const char *mark) {
    uint32_t length = (uint32_t)strlen(mark), size = 0;
    while (size + length <= rest->size && memcmp(rest->at + size, mark, length) != 0) size++;
    int found = size + length <= rest->size;
    text part = {rest->at, found ? size : rest->size};
    uint32_t skipped = found ? size + length : rest->size;
    *rest = (text){rest->at + skipped, rest->size - skipped};
    return part;
}

static int is(text word, const char *name) {
    return word.size == strlen(name) && memcmp(word.at, name, word.size) == 0;
}

#define TO const char *, uint32_t
HOST("hostLogString") DONE host_log(TO);
HOST("hostGetEnv") DONE host_get_env(TO, const char **, uint32_t *);
#ifndef OWN_HANDLE
HOST("hostReadFile") DONE host_read_file(TO, const char **, uint32_t *);
HOST("hostWriteFile") DONE host_write_file(TO, TO, const char **, uint32_t *);
HOST("hostRedisSet") DONE host_redis_set(TO, TO, const char **, uint32_t *);
HOST("hostRedisGet") DONE host_redis_get(TO, const char **, uint32_t *);
HOST("hostRedisKeys") DONE host_redis_keys(TO, const char **, uint32_t *);
#endif

#define ASK0(function, answer) function(&answer.at, &answer.size)
#define ASK1(function, one, answer) function(one.at, one.size, &answer.at, &answer.size)
#define ASK2(function, one, two, answer) function(one.at, one.size, two.at, two.size, &answer.at, &answer.size)

#ifndef OWN_HANDLE
static text handle_more(text command, text rest);

static text succeed(text given) { return LETTERED ? join(TEXT("S"), given) : given; }

/* Do what the first word says; the result is what the host answers, errors with their marks included. */
static text handle(text given) {
    text rest = given, answer = {0, 0};
    text command = cut(&rest, " ");
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
        text name = cut(&rest, " ");
        ASK2(host_write_file, name, rest, answer);
        return answer;
    }
    if (is(command, "redis-set")) {
        text name = cut(&rest, " ");
        ASK2(host_redis_set, name, rest, answer);
        return answer;
    }
    return handle_more(command, rest);
}

EXPORT("callHandle") uint64_t call_handle(const char *at, uint32_t size) { return pack(handle((text){at, size})); }
#endif
