#include "src/base/arena.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64 };

status arena_create(arena *a, const char *name, size_t capacity, error *err) {
    *a = (arena){.name = name};
    if (capacity < ALIGNMENT)
        capacity = ALIGNMENT;
    void *base = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return error_set(err, STATUS_FAILED,
                         "cannot reserve %zu bytes of address space for the %s arena: %s; "
                         "raise the limit shown by `ulimit -v`",
                         capacity, name, strerror(errno));
    a->base = base;
    a->capacity = capacity;
    return STATUS_OK;
}

void arena_destroy(arena *a) {
    if (a->base != NULL)
        munmap(a->base, a->capacity);
    *a = (arena){.name = a->name};
}

void *arena_alloc(arena *a, size_t bytes) {
    const size_t rounded = (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    CHECK(rounded >= bytes && rounded <= a->capacity - a->used,
          "The %s arena holds %zu of %zu bytes and cannot give %zu more.", a->name, a->used,
          a->capacity, bytes);
    void *block = a->base + a->used;
    a->used += rounded;
    if (a->used > a->peak)
        a->peak = a->used;
    return block;
}

size_t arena_bytes(int64_t count, size_t size) {
    size_t bytes = 0;
    CHECK(count >= 0 && !__builtin_mul_overflow((size_t)count, size, &bytes),
          "%lld items of %zu bytes cannot be counted.", (long long)count, size);
    return bytes;
}

void *arena_calloc(arena *a, int64_t count, size_t size) {
    const size_t bytes = arena_bytes(count, size);
    void *block = arena_alloc(a, bytes);
    memset(block, 0, bytes);
    return block;
}

size_t arena_mark(const arena *a) {
    return a->used;
}

void arena_reset(arena *a, size_t mark) {
    CHECK(mark <= a->used, "The %s arena was reset to a mark above its top.", a->name);
    a->used = mark;
}
