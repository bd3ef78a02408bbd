/* Arena: owns memory that is handed out in one direction and given back all at once.
 *
 * The address range is reserved when the arena is created, and a page costs memory from its first
 * use on, so a generous capacity is free; `peak` says what was really used. Everything handed out
 * is aligned to 64 bytes. Blocks are borrowed by whoever asked; nobody frees one.
 */
#ifndef SEPIT_BASE_ARENA_H
#define SEPIT_BASE_ARENA_H

#include "src/base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct arena {
    const char *name; /* for messages; borrowed */
    uint8_t *base;
    size_t capacity; /* bytes of address space */
    size_t used;     /* bytes handed out */
    size_t peak;     /* largest `used` so far */
} arena;

/* Reserves `capacity` bytes. STATUS_FAILED when the system refuses the address range. */
status arena_create(arena *a, const char *name, size_t capacity, error *err);
void arena_destroy(arena *a);

/* Hands out `bytes`, not cleared. Never NULL: what does not fit is a bug of whoever sized the
 * arena, and ends the process with the arena's name and the two sizes. */
void *arena_alloc(arena *a, size_t bytes);

/* `count` items of `size`, cleared; the product is checked. */
void *arena_calloc(arena *a, int64_t count, size_t size);

/* The count must not be negative; the product is checked. */
#define ARENA_ARRAY(a, type, count) ((type *)arena_alloc((a), arena_bytes((count), sizeof(type))))

/* count * size, checked against overflow and negative counts. */
size_t arena_bytes(int64_t count, size_t size);

/* Everything handed out after the mark was taken is given back by the reset. */
size_t arena_mark(const arena *a);
void arena_reset(arena *a, size_t mark);

#endif
