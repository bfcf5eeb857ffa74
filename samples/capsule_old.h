/* What the samples of the first three generations share, beside capsule.h. Define SEPARATOR, and HAS_MEMORY as 1
   where the host has a memory store. */
#define LETTERED 0
#include "capsule.h"

HOST("hostPing") DONE host_ping(TO, const char **, uint32_t *);
HOST("hostGetHostInformation") DONE host_information(const char **, uint32_t *);
HOST("hostHttp") DONE host_http(TO, TO, TO, TO, const char **, uint32_t *);
HOST("hostCouchBaseQuery") DONE host_query(TO, const char **, uint32_t *);
#if HAS_MEMORY
HOST("hostMemorySet") DONE host_memory_set(TO, TO, const char **, uint32_t *);
HOST("hostMemoryGet") DONE host_memory_get(TO, const char **, uint32_t *);
HOST("hostMemoryKeys") DONE host_memory_keys(const char **, uint32_t *);
HOST("hostNatsReply") DONE host_nats_reply(TO, uint32_t, const char **, uint32_t *);
#endif

static text handle_more(text command, text rest) {
    text answer = {0, 0}, headers = TEXT("X-Sent:yes" SEPARATOR "X-Second:a:b"), nothing = TEXT("empty");
    if (is(command, "ping")) ASK1(host_ping, rest, answer);
    else if (is(command, "information")) ASK0(host_information, answer);
    else if (is(command, "query")) ASK1(host_query, rest, answer);
    else if (is(command, "fetch")) {
        text method = cut(&rest, " "), url = cut(&rest, " ");
        if (!rest.size) rest = nothing;
        host_http(url.at, url.size, method.at, method.size, headers.at, headers.size, rest.at, rest.size,
                  &answer.at, &answer.size);
    }
#if HAS_MEMORY
    else if (is(command, "memory-set")) {
        text name = cut(&rest, " ");
        ASK2(host_memory_set, name, rest, answer);
    }
    else if (is(command, "memory-get")) ASK1(host_memory_get, rest, answer);
    else if (is(command, "memory-keys")) ASK0(host_memory_keys, answer);
    else if (is(command, "nats-reply")) host_nats_reply(rest.at, rest.size, 5, &answer.at, &answer.size);
#endif
    else return TEXT("[ERR][7]:there is no such command");
    return answer;
}

/* Answer a request with all that is known of it; a body that begins with ! is an error. */
static uint64_t respond(text method, text uri, text headers, text body) {
    text line = TEXT("\n");
    if (body.size && body.at[0] == '!')
        return pack(TEXT("[ERR][0]:refused[HEADERS]Content-Type:application/json"));
    text all = join(join(join(method, line), join(uri, line)), join(join(headers, line), body));
    text marks = TEXT("[HEADERS]Content-Type:text/plain; charset=utf-8" SEPARATOR "X-Time:12:30");
    return pack(join(join(TEXT("[BODY]"), all), marks));
}
