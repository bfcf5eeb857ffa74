/* capsule_g3: a function of Capsule 0.3.0: does what its text says ("ping hello"), and answers HTTP requests. */
#define DONE int
#define SEPARATOR "²"
#define HAS_MEMORY 1
#include "capsule_old.h"

HOST("hostRequestParamsGet") int host_request(uint32_t, const char **, uint32_t *);

static text cut_part(text *rest) {
    uint32_t size = 0;
    while (size + 1 < rest->size && memcmp(rest->at + size, SEPARATOR, 2) != 0) size++;
    if (size + 1 >= rest->size) size = rest->size;
    text part = {rest->at, size};
    uint32_t skipped = size < rest->size ? size + 2 : size;
    *rest = (text){rest->at + skipped, rest->size - skipped};
    return part;
}

EXPORT("callHandleHttp") uint64_t call_handle_http(uint32_t number) {
    text rest = {0, 0};
    host_request(number, &rest.at, &rest.size);
    text body = cut_part(&rest), headers = cut_part(&rest), uri = cut_part(&rest);
    return respond(rest, uri, headers, body);
}
