#include "io/manifest.h"

#include "io/crc32c.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_name[] = {"f32", "f64", "i64", "u8"};
static const int type_bytes[] = {4, 8, 8, 1};
enum { TYPES = 4, SLABS_A_LINE = 8 };

/* The text's last line is CHECKSUM_OPEN, eight hexadecimal digits, CHECKSUM_CLOSE. */
#define CHECKSUM_OPEN  "\"crc32c\":\""
#define CHECKSUM_CLOSE "\"}\n"
enum { CHECKSUM_BYTES = sizeof CHECKSUM_OPEN - 1 + 8 + sizeof CHECKSUM_CLOSE - 1 };

int64_t manifest_element_bytes(checkpoint_type type) {
    return type_bytes[type];
}

int64_t manifest_elements(const checkpoint_tensor *tensor) {
    int64_t elements = 1;
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] < 0 || __builtin_mul_overflow(elements, tensor->shape[i], &elements))
            return -1;
    return elements;
}

int64_t manifest_slab_bytes(int64_t bytes, int64_t i) {
    const int64_t left = bytes - i * MANIFEST_SLAB;
    return left < MANIFEST_SLAB ? left : MANIFEST_SLAB;
}

bool manifest_name_is_valid(const char *name) {
    const size_t length = strlen(name);
    if (length < 2 || length >= CHECKPOINT_NAME || name[0] != '/')
        return false;
    for (size_t i = 0; i < length; i++) {
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\')
            return false;
        if (name[i] != '/')
            continue;
        /* A part between slashes is neither empty nor HDF5's "this group". */
        const char *part = name + i + 1;
        const size_t size = strcspn(part, "/");
        if (size == 0 || (size == 1 && part[0] == '.'))
            return false;
    }
    return true;
}

/* ---- writing ---- */

static void print_tensor(FILE *out, const manifest *m, int64_t i) {
    const checkpoint_tensor *t = &m->tensor[i];
    fprintf(out, "{\"name\":\"%s\",\"dtype\":\"%s\",\"shape\":[", t->name, type_name[t->type]);
    for (int k = 0; k < t->rank; k++)
        fprintf(out, "%s%" PRId64, k > 0 ? "," : "", t->shape[k]);
    fprintf(out, "],\"offset\":%" PRId64 ",\"crc32c\":\"%08" PRIx32 "\"}%s\n", m->offset[i],
            m->digest[i], i + 1 < m->tensors ? "," : "");
}

static void print_slab(FILE *out, const manifest *m, int64_t i) {
    const bool last = i + 1 == m->slabs;
    fprintf(out, "\"%08" PRIx32 "\"%s%s", m->slab[i], last ? "" : ",",
            last || i % SLABS_A_LINE == SLABS_A_LINE - 1 ? "\n" : "");
}

char *manifest_format(const manifest *m, size_t *length) {
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    if (out == NULL)
        return NULL;
    fprintf(out, "{\"format\":\"sepit-checkpoint\",\"version\":1,\n");
    fprintf(out, "\"step\":%" PRId64 ",\"file_bytes\":%" PRId64 ",\"slab_bytes\":%d,\n", m->step,
            m->bytes, MANIFEST_SLAB);
    fprintf(out, "\"tensors\":[\n");
    for (int64_t i = 0; i < m->tensors; i++)
        print_tensor(out, m, i);
    fprintf(out, "],\n\"slabs\":[\n");
    for (int64_t i = 0; i < m->slabs; i++)
        print_slab(out, m, i);
    fprintf(out, "],\n");
    if (fflush(out) == 0)
        fprintf(out, CHECKSUM_OPEN "%08" PRIx32 CHECKSUM_CLOSE, crc32c(text, *length));
    const int failed = ferror(out);
    if (fclose(out) == 0 && !failed)
        return text;
    free(text);
    return NULL;
}

/* ---- reading ---- */

/* The first mistake stays; after it every step of the reader does nothing. */
typedef struct reader {
    const char *at, *end, *start;
    error *err;
} reader;

static void reject(reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void reject(reader *r, const char *format, ...) {
    if (r->err->code != STATUS_OK)
        return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set(r->err, STATUS_INPUT, "manifest, byte %lld: %s", (long long)(r->at - r->start), text);
}

static bool good(const reader *r) {
    return r->err->code == STATUS_OK;
}

/* Goes over `word` if it is next. */
static bool accept(reader *r, const char *word) {
    const size_t size = strlen(word);
    if (!good(r) || (size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0)
        return false;
    r->at += size;
    return true;
}

static void expect(reader *r, const char *word) {
    if (good(r) && !accept(r, word))
        reject(r, "expected %.*s", (int)strcspn(word, "\n"), word);
}

/* A whole number from 0 to INT64_MAX, without sign or leading zero. */
static int64_t read_integer(reader *r) {
    int64_t value = 0;
    const char *first = r->at;
    for (; good(r) && r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *r->at - '0', &value)) {
            reject(r, "a number does not fit 64 bits");
            return 0;
        }
    }
    if (good(r) && (r->at == first || (*first == '0' && r->at - first > 1)))
        reject(r, "expected a whole number");
    return value;
}

/* A quoted checksum of eight lower-case hexadecimal digits. */
static uint32_t read_checksum(reader *r) {
    static const char digits[] = "0123456789abcdef";
    uint32_t value = 0;
    expect(r, "\"");
    for (int i = 0; i < 8 && good(r); i++, r->at++) {
        const char *digit = r->at < r->end && *r->at ? strchr(digits, *r->at) : NULL;
        if (digit == NULL) {
            reject(r, "expected eight hexadecimal digits");
            return 0;
        }
        value = value << 4 | (uint32_t)(digit - digits);
    }
    expect(r, "\"");
    return value;
}

/* The characters up to the next quote, as a name; the caller frees it. */
static char *read_name(reader *r) {
    if (!good(r))
        return NULL;
    const size_t left = (size_t)(r->end - r->at);
    const char *quote = memchr(r->at, '"', left);
    char *name = quote ? strndup(r->at, (size_t)(quote - r->at)) : NULL;
    if (name == NULL || strlen(name) != (size_t)(quote - r->at) || !manifest_name_is_valid(name)) {
        reject(r, "expected a tensor's name");
        free(name);
        return NULL;
    }
    r->at = quote;
    return name;
}

static checkpoint_type read_type(reader *r) {
    for (int i = 0; i < TYPES; i++)
        if (accept(r, type_name[i]))
            return (checkpoint_type)i;
    reject(r, "expected a type: f32, f64, i64 or u8");
    return CHECKPOINT_U8;
}

static void read_shape(reader *r, checkpoint_tensor *t) {
    expect(r, "[");
    if (accept(r, "]"))
        return;
    do {
        if (t->rank == CHECKPOINT_RANK)
            reject(r, "a shape has at most %d dimensions", CHECKPOINT_RANK);
        else
            t->shape[t->rank++] = read_integer(r);
    } while (accept(r, ","));
    expect(r, "]");
}

/* Makes room for one more of `size` bytes behind the `count` in *array: doubled at powers of 2. */
static bool grow(reader *r, void *array, int64_t count, size_t size) {
    if (!good(r) || (count & (count - 1)) != 0)
        return good(r);
    void *old;
    memcpy(&old, array, sizeof old);
    void *larger = realloc(old, (size_t)(count > 0 ? 2 * count : 1) * size);
    if (larger == NULL) {
        error_set(r->err, STATUS_FAILED, "no memory for a manifest of %lld entries",
                  (long long)count);
        return false;
    }
    memcpy(array, &larger, sizeof larger);
    return true;
}

static void check_place(reader *r, const manifest *m, int64_t i) {
    const checkpoint_tensor *t = &m->tensor[i];
    const int64_t elements = manifest_elements(t);
    int64_t end = 0;
    if (good(r) &&
        (elements < 0 || __builtin_mul_overflow(elements, manifest_element_bytes(t->type), &end) ||
         __builtin_add_overflow(end, m->offset[i], &end) || end > m->bytes))
        reject(r, "tensor %s does not lie inside the file's %lld bytes", t->name,
               (long long)m->bytes);
}

static void read_tensor(reader *r, manifest *m) {
    const int64_t i = m->tensors;
    if (!grow(r, &m->tensor, i, sizeof *m->tensor) || !grow(r, &m->offset, i, sizeof *m->offset) ||
        !grow(r, &m->digest, i, sizeof *m->digest))
        return;
    m->tensor[i] = (checkpoint_tensor){0};
    m->tensors++;
    expect(r, "{\"name\":\"");
    m->tensor[i].name = read_name(r);
    expect(r, "\",\"dtype\":\"");
    m->tensor[i].type = read_type(r);
    expect(r, "\",\"shape\":");
    read_shape(r, &m->tensor[i]);
    expect(r, ",\"offset\":");
    m->offset[i] = read_integer(r);
    expect(r, ",\"crc32c\":");
    m->digest[i] = read_checksum(r);
    expect(r, "}");
    check_place(r, m, i);
}

static void read_slab(reader *r, manifest *m) {
    if (grow(r, &m->slab, m->slabs, sizeof *m->slab))
        m->slab[m->slabs++] = read_checksum(r);
}

static void read_all(reader *r, manifest *m) {
    expect(r, "{\"format\":\"sepit-checkpoint\",");
    expect(r, "\"version\":1,\n");
    expect(r, "\"step\":");
    m->step = read_integer(r);
    expect(r, ",\"file_bytes\":");
    m->bytes = read_integer(r);
    expect(r, ",\"slab_bytes\":");
    if (read_integer(r) != MANIFEST_SLAB)
        reject(r, "expected slabs of %d bytes", MANIFEST_SLAB);
    expect(r, ",\n\"tensors\":[\n");
    if (!accept(r, "],\n")) {
        do
            read_tensor(r, m);
        while (accept(r, ",\n"));
        expect(r, "\n],\n");
    }
    expect(r, "\"slabs\":[\n");
    do
        read_slab(r, m);
    while (accept(r, ",\n") || accept(r, ","));
    expect(r, "\n],\n");
    if (good(r) && r->at != r->end)
        reject(r, "expected the end");
    if (good(r) && (m->bytes == 0 || m->slabs != (m->bytes - 1) / MANIFEST_SLAB + 1))
        reject(r, "%lld slabs do not cover the file's %lld bytes", (long long)m->slabs,
               (long long)m->bytes);
}

/* The text above the last line must have the checksum that this line gives. */
static void read_last_line(reader *r) {
    const size_t length = (size_t)(r->end - r->start);
    const char *all_end = r->end;
    r->at = length >= CHECKSUM_BYTES ? r->end - CHECKSUM_BYTES : r->end;
    r->end = r->at;
    const uint32_t found = crc32c(r->start, (size_t)(r->end - r->start));
    reader line = {r->at, all_end, r->start, r->err};
    expect(&line, "\"crc32c\":");
    const uint32_t written = read_checksum(&line);
    expect(&line, "}\n");
    if (good(r) && written != found)
        error_set(r->err, STATUS_INPUT,
                  "manifest: its checksum is %08" PRIx32 ", its last line says %08" PRIx32, found,
                  written);
    r->at = r->start;
}

static int compare_names(const void *a, const void *b, void *context) {
    const checkpoint_tensor *tensor = context;
    return strcmp(tensor[*(const int64_t *)a].name, tensor[*(const int64_t *)b].name);
}

static status index_names(manifest *m, error *err) {
    m->by_name = malloc((size_t)(m->tensors + 1) * sizeof *m->by_name);
    if (m->by_name == NULL)
        return error_set(err, STATUS_FAILED, "no memory for a manifest of %lld tensors",
                         (long long)m->tensors);
    for (int64_t i = 0; i < m->tensors; i++)
        m->by_name[i] = i;
    qsort_r(m->by_name, (size_t)m->tensors, sizeof *m->by_name, compare_names, m->tensor);
    for (int64_t i = 1; i < m->tensors; i++) {
        const char *name = m->tensor[m->by_name[i]].name;
        if (strcmp(name, m->tensor[m->by_name[i - 1]].name) == 0)
            return error_set(err, STATUS_INPUT, "manifest: the tensor %s is there twice", name);
    }
    return STATUS_OK;
}

status manifest_parse(manifest *m, const char *text, size_t length, error *err) {
    *m = (manifest){0};
    *err = (error){0};
    reader r = {text, text + length, text, err};
    read_last_line(&r);
    if (good(&r))
        read_all(&r, m);
    if (good(&r))
        index_names(m, err);
    if (!good(&r))
        manifest_destroy(m);
    return err->code;
}

void manifest_destroy(manifest *m) {
    for (int64_t i = 0; i < m->tensors; i++)
        free((char *)m->tensor[i].name);
    free(m->tensor);
    free(m->offset);
    free(m->digest);
    free(m->by_name);
    free(m->slab);
    *m = (manifest){0};
}

int64_t manifest_find(const manifest *m, const char *name) {
    int64_t low = 0, high = m->tensors;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const int64_t i = m->by_name[middle];
        const int order = strcmp(name, m->tensor[i].name);
        if (order == 0)
            return i;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}
