/* Keys and values of the server: what the module "piecework" has for guests whose lambda is granted a namespace.
 *
 * Every function answers with 0 or an error number as errno.h has it: ENOENT there is no value, EACCES the lambda may
 * not, EINVAL no key can be so, EILSEQ no UTF-8, EFBIG too large, ECANCELED a condition does not hold, EDOM no number is
 * there, ENODEV the namespace was removed, EAGAIN the server is away and nothing was done, EIO no answer came: the
 * change may have been made. EFAULT is a place outside of the memory: nothing was done.
 *
 * What came of a call waits for kv_answer; of one that failed, that is a text that says why.
 */
#ifndef PIECEWORK_KV_H
#define PIECEWORK_KV_H

#include <stddef.h>
#include <stdint.h>

#define PIECEWORK_KV(function) __attribute__((import_module("piecework"), import_name(#function))) int function

enum {
    KV_APPEND = 1,    /* Put the value behind the one that is there. */
    KV_OLD = 2,       /* The answer is the value from before, empty if there was none. */
    KV_IF_ABSENT = 4, /* Only if there is no value. */
    KV_IF_VALUE = 8,  /* Only if `expected` is the value that is there. */
};

/* For expire_ms: as long as it would stay, or for ever. 0 is for ever. */
#define KV_KEEP (-1LL)

/* Get the value under a key: its size, and it is the answer. */
PIECEWORK_KV(kv_get)(const char *space, size_t space_size, const char *key, size_t key_size, uint32_t *size);

/* Set the value under a key. The answer is the value that is there now, or with KV_OLD the one from before. */
PIECEWORK_KV(kv_set)(const char *space, size_t space_size, const char *key, size_t key_size,
                     const char *value, size_t value_size, uint32_t flags, int64_t expire_ms,
                     const char *expected, size_t expected_size, uint32_t *size);

/* Add to the number under a key, 0 when there is none. */
PIECEWORK_KV(kv_add)(const char *space, size_t space_size, const char *key, size_t key_size,
                     int64_t amount, int64_t expire_ms, int64_t *sum);

/* Remove a key and its value; with KV_IF_VALUE only if `expected` is there. */
PIECEWORK_KV(kv_delete)(const char *space, size_t space_size, const char *key, size_t key_size, uint32_t flags,
                        const char *expected, size_t expected_size);

/* List the keys that begin with `prefix`, in the order of their bytes, from behind `after`. The answer has up to 1,000,
 * each with a zero byte behind it, and is empty at the end. */
PIECEWORK_KV(kv_keys)(const char *space, size_t space_size, const char *prefix, size_t prefix_size,
                      const char *after, size_t after_size, uint32_t *size);

/* Copy the answer, or as much of it as there is room for; returns how many bytes those are, or -1. */
PIECEWORK_KV(kv_answer)(char *buffer, size_t room);

#endif
