/* count_bytes: one line about its input, "BYTES NEWLINES CRC32" (CRC-32 as zlib computes it, 8 hex digits).
 * It holds one chunk at a time, so its memory does not grow with its input. */
#include <stdio.h>

#include "stream.h"

static uint32_t crc_table[256];

static void fill_crc_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
        crc_table[byte] = crc;
    }
}

int main(void) {
    static unsigned char chunk[CHUNK_BYTES];
    unsigned long long bytes = 0, newlines = 0;
    uint32_t crc = 0xFFFFFFFFu;
    ssize_t size;
    fill_crc_table();
    while ((size = read(STDIN_FILENO, chunk, sizeof chunk)) > 0) {
        bytes += (unsigned long long)size;
        for (ssize_t i = 0; i < size; i++) {
            newlines += chunk[i] == '\n';
            crc = crc_table[(crc ^ chunk[i]) & 0xFF] ^ (crc >> 8);
        }
    }
    printf("%llu %llu %08x\n", bytes, newlines, (unsigned)~crc);
    return size < 0;
}
