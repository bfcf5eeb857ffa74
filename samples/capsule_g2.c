/* capsule_g2: a function of Capsule 0.2.0: does what its text says ("ping hello"), and answers HTTP requests. */
#define DONE void
#define SEPARATOR "²"
#define HAS_MEMORY 1
#include "capsule_old.h"

EXPORT("callHandleHttp")
uint64_t call_handle_http(const char *body, uint32_t body_size, const char *uri, uint32_t uri_size,
                          const char *headers, uint32_t headers_size, const char *method, uint32_t method_size) {
    return respond((text){method, method_size}, (text){uri, uri_size}, (text){headers, headers_size},
                   (text){body, body_size});
}
