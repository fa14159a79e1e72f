/* What the static backend and the load generator share: the clock, the marker, fatal errors.
 *
 * Both run on one machine, so they share one monotonic clock: the backend writes the moment at
 * which a chunk was due into the chunk itself, and the load generator subtracts. The marker is
 * '@' and fifteen digits (nanoseconds, divided by STAMP_UNIT_NS) inside the answer's `content`;
 * a proxy that parses and rewrites the JSON around it leaves it whole. Nothing else that travels
 * may hold an '@', so counting markers counts tokens.
 */
#ifndef BASELOAD_BENCH_WIRE_H
#define BASELOAD_BENCH_WIRE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MARKER '@'
#define MARKER_DIGITS 15
#define STAMP_UNIT_NS 1000ull
#define SECOND_NS 1000000000ull

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static inline void die(const char *what) {
    perror(what);
    exit(2);
}

/* The value of header `name` (lower case, with its colon) in a head of `size` bytes, or NULL. */
static inline const char *header(const char *head, size_t size, const char *name) {
    size_t length = strlen(name);
    const char *end = head + size;
    for (const char *line = head; line && line + length < end;) {
        if (!strncasecmp(line, name, length)) {
            line += length;
            while (line < end && *line == ' ') line++;
            return line;
        }
        line = memchr(line, '\n', (size_t)(end - line));
        if (line) line++;
    }
    return NULL;
}

#endif
