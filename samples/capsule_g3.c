/* capsule_g3: a function of Capsule 0.3.0: does what its text says ("ping hello"), and answers HTTP requests. */
#define DONE int
#define SEPARATOR "²"
#define HAS_MEMORY 1
#include "capsule_old.h"

HOST("hostRequestParamsGet") int host_request(uint32_t, const char **, uint32_t *);

EXPORT("callHandleHttp") uint64_t call_handle_http(uint32_t number) {
    text rest = {0, 0};
    host_request(number, &rest.at, &rest.size);
    text body = cut(&rest, SEPARATOR), headers = cut(&rest, SEPARATOR), uri = cut(&rest, SEPARATOR);
    return respond(rest, uri, headers, body);
}
