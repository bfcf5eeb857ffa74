/* capsule_hello: the first functions of Capsule's guide, for texts and for HTTP. MESSAGE becomes a header. */
#define DONE void
#define LETTERED 0
#define OWN_HANDLE
#include "capsule.h"

#define ARGUMENTS "°"
#define HEADERS "|"

static void tell(text title, text what) {
    text line = join(title, what);
    host_log(line.at, line.size);
}

static text find_header(text headers, const char *name) {
    while (headers.size) {
        text value = cut(&headers, HEADERS);
        text found = cut(&value, ":");
        if (is(found, name)) return value;
    }
    return TEXT("");
}

EXPORT("callHandle") uint64_t call_handle(const char *at, uint32_t size) {
    text rest = {at, size}, first = {0, 0};
    for (int number = 0; rest.size; number++) {
        text parameter = cut(&rest, ARGUMENTS);
        if (number == 0) first = parameter;
        tell(TEXT("- parameter is: "), parameter);
    }
    return pack(join(TEXT("The first parameter is: "), first));
}

EXPORT("callHandleHttp")
uint64_t call_handle_http(const char *body, uint32_t body_size, const char *headers, uint32_t headers_size) {
    text all = {headers, headers_size}, name = TEXT("MESSAGE"), message = {0, 0};
    tell(TEXT("body: "), (text){body, body_size});
    tell(TEXT("Content-Type: "), find_header(all, "Content-Type"));
    tell(TEXT("Content-Length: "), find_header(all, "Content-Length"));
    tell(TEXT("User-Agent: "), find_header(all, "User-Agent"));
    ASK1(host_get_env, name, message);
    if (message.size > 5 && memcmp(message.at, "[ERR]", 5) == 0) message = TEXT("hello world");
    tell(TEXT("Environment variable: "), message);
    text marks = TEXT("[BODY]{\"message\":\"hey people!\"}[HEADERS]Content-Type:application/json; charset=utf-8" HEADERS
                      "Message:");
    return pack(join(marks, message));
}
