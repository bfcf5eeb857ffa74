/* capsule_g1: a function of Capsule 0.1.0: does what its text says ("ping hello"), and answers HTTP requests. */
#define DONE void
#define SEPARATOR "|"
#define HAS_MEMORY 0
#include "capsule_old.h"

EXPORT("callHandleHttp")
uint64_t call_handle_http(const char *body, uint32_t body_size, const char *headers, uint32_t headers_size) {
    if (headers_size == 0) __builtin_trap();
    return respond(TEXT("?"), TEXT("?"), (text){headers, headers_size}, (text){body, body_size});
}
