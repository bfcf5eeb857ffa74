/* Reading and writing whole streams: read(2) and write(2) may do less than they were asked. */
#ifndef STREAM_H
#define STREAM_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_BYTES = 64 * 1024 };

/* Write all bytes; 0 when done, -1 when the stream does not take them. */
static inline int write_all(int stream, const void *bytes, size_t size) {
    const char *next = bytes;
    while (size > 0) {
        ssize_t written = write(stream, next, size);
        if (written <= 0) return -1;
        next += written;
        size -= (size_t)written;
    }
    return 0;
}

/* Write a text, without its terminating zero. */
static inline int write_text(int stream, const char *text) { return write_all(stream, text, strlen(text)); }

/* The number in argument `index`, or `otherwise` when there is no such argument. */
static inline long long number_argument(int argc, char **argv, int index, long long otherwise) {
    return index < argc ? atoll(argv[index]) : otherwise;
}

#endif
