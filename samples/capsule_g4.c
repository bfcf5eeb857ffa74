/* capsule_g4: a function of Capsule 0.3.4: does what its text says ("talk hello"), and answers HTTP requests. */
#define DONE int
#define LETTERED 1
#include "capsule.h"

HOST("hostPrintString") int host_print(TO);
HOST("hostTalk") int host_talk(TO, const char **, uint32_t *);
HOST("hostHTTP") int host_http(TO, const char **, uint32_t *);
HOST("hostCacheSet") int host_cache_set(TO, TO, const char **, uint32_t *);
HOST("hostCacheGet") int host_cache_get(TO, const char **, uint32_t *);
HOST("hostCacheDel") int host_cache_del(TO, const char **, uint32_t *);
HOST("hostCacheKeys") int host_cache_keys(TO, const char **, uint32_t *);
HOST("hostRedisDel") int host_redis_del(TO, const char **, uint32_t *);

EXPORT("OnLoad") void on_load(void) {
    text name = TEXT("loaded"), value = TEXT("yes"), answer = {0, 0};
    ASK2(host_cache_set, name, value, answer);
}

static text handle_more(text command, text rest) {
    text answer = {0, 0};
    if (is(command, "talk")) {
        ASK1(host_talk, rest, answer);
        return succeed(answer);
    }
    if (is(command, "print")) {
        host_print(rest.at, rest.size);
        return succeed(TEXT("printed"));
    }
    if (is(command, "cache-set")) {
        text name = cut(&rest, " ");
        ASK2(host_cache_set, name, rest, answer);
    } else if (is(command, "fetch")) ASK1(host_http, rest, answer);
    else if (is(command, "cache-get")) ASK1(host_cache_get, rest, answer);
    else if (is(command, "cache-del")) ASK1(host_cache_del, rest, answer);
    else if (is(command, "cache-keys")) ASK1(host_cache_keys, rest, answer);
    else if (is(command, "redis-del")) ASK1(host_redis_del, rest, answer);
    else return TEXT("Fthere is no such command");
    return answer;
}

EXPORT("callHandleJSON") uint64_t call_handle_json(const char *at, uint32_t size) {
    return pack(join(join(TEXT("S{\"got\":"), (text){at, size}), TEXT("}")));
}

/* The answer is JSON that has the whole request. */
EXPORT("callHandleHTTP") uint64_t call_handle_http(const char *at, uint32_t size) {
    text end = TEXT(",\"TextBody\":\"\",\"Headers\":{\"Content-Type\":\"application/json\"},\"StatusCode\":201}");
    return pack(join(join(TEXT("S{\"JSONBody\":"), (text){at, size}), end));
}

EXPORT("OnHealthCheck") uint64_t on_health_check(void) {
    return pack(TEXT("S{\"JSONBody\":{\"ok\":true},\"TextBody\":\"\",\"Headers\":{},\"StatusCode\":200}"));
}
