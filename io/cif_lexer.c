#include "io/cif_lexer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

cif_lexer cif_lexer_start(const char *text, size_t size, const char *path) {
    return (cif_lexer){.begin = text, .end = text + size, .at = text, .path = path, .line = 1};
}

status cif_lexer_refuse(const cif_lexer *lexer, error *err, const char *format, ...) {
    char sentence[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return error_set(err, STATUS_INPUT, "%s:%lld: %s", lexer->path, (long long)lexer->line,
                     sentence);
}

static inline bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Bytes above 127 pass: authors' names come in UTF-8 although STAR 1.1 knows ASCII only. */
static inline bool is_word(char c) {
    return (unsigned char)c > ' ';
}

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Eight bytes at once as a little-endian number, on any machine: the first is the lowest. */
static inline uint64_t load(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? word : __builtin_bswap64(word);
}

/* The first byte that is no part of a word. Words are short and of changing length: one test of
 * eight bytes instead of a loop whose end the processor cannot foresee. The subtraction sets the
 * top bit of the first byte below 0x21; bits above that one mean nothing and are not looked at. */
static inline const char *skip_word(const char *p, const char *end) {
    while (end - p >= 8) {
        const uint64_t word = load(p);
        const uint64_t low = (word - EACH_BYTE(0x21)) & ~word & EACH_BYTE(0x80);
        if (low != 0)
            return p + (__builtin_ctzll(low) >> 3);
        p += 8;
    }
    while (p < end && is_word(*p))
        p++;
    return p;
}

static inline const char *skip_blanks(const char *p, const char *end) {
    while (end - p >= 8) {
        const uint64_t other = load(p) ^ EACH_BYTE(' ');
        if (other != 0)
            return p + (__builtin_ctzll(other) >> 3);
        p += 8;
    }
    while (p < end && *p == ' ')
        p++;
    return p;
}

static inline void skip_space(cif_lexer *lexer) {
    const char *p = lexer->at, *const end = lexer->end;
    for (p = skip_blanks(p, end); p < end && (!is_word(*p) || *p == '#'); p = skip_blanks(p, end)) {
        if (*p == '#') {
            const char *stop = memchr(p, '\n', (size_t)(end - p));
            p = stop != NULL ? stop : end;
            continue;
        }
        if (!is_space(*p))
            break;
        lexer->line += *p == '\n';
        p++;
    }
    lexer->at = p;
}

/* From the `;` at the head of a line to the next one. The line end before the second belongs to
 * the marks. */
static status read_block(cif_lexer *lexer, cif_token *token, error *err) {
    const char *start = lexer->at + 1;
    int64_t lines = 0;
    for (const char *p = start; (p = memchr(p, '\n', (size_t)(lexer->end - p))) != NULL;) {
        lines++;
        const char *stop = p++;
        if (p < lexer->end && *p == ';') {
            if (stop > start && stop[-1] == '\r')
                stop--;
            *token = (cif_token){CIF_QUOTED, start, (size_t)(stop - start)};
            lexer->line += lines;
            lexer->at = p + 1;
            if (lexer->at < lexer->end && !is_space(*lexer->at))
                return cif_lexer_refuse(lexer, err,
                                        "white space was expected after the ';' that ends a text");
            return STATUS_OK;
        }
    }
    return cif_lexer_refuse(lexer, err,
                            "the text that begins with ';' here never ends with a line that begins "
                            "with ';'. Is the file cut short?");
}

static status read_quoted(cif_lexer *lexer, cif_token *token, error *err) {
    const char quote = *lexer->at, *start = lexer->at + 1;
    for (const char *p = start; p < lexer->end && *p != '\n'; p++)
        if (*p == quote && (p + 1 == lexer->end || is_space(p[1]))) {
            *token = (cif_token){CIF_QUOTED, start, (size_t)(p - start)};
            lexer->at = p + 1;
            return STATUS_OK;
        }
    return cif_lexer_refuse(lexer, err, "the quote %c that opens here does not close on its line",
                            quote);
}

/* Reserved words, in any case: they cannot be plain values. */
static void find_keyword(cif_token *token) {
    const char *t = token->text;
    const size_t n = token->length;
    if (n >= 5 && strncasecmp(t, "data_", 5) == 0)
        *token = (cif_token){CIF_DATA, t + 5, n - 5};
    else if (n == 5 && strncasecmp(t, "loop_", 5) == 0)
        token->kind = CIF_LOOP;
    else if ((n >= 5 && strncasecmp(t, "save_", 5) == 0) ||
             (n == 5 && strncasecmp(t, "stop_", 5) == 0) ||
             (n == 7 && strncasecmp(t, "global_", 7) == 0))
        token->kind = CIF_OTHER;
}

/* Any of the first letters of data_ loop_ save_ stop_ global_, in either case. */
static inline bool may_be_keyword(const cif_token *t) {
    const char c = (char)(t->text[0] | 0x20);
    return t->length >= 5 && (c == 'd' || c == 'l' || c == 's' || c == 'g');
}

status cif_lexer_next(cif_lexer *lexer, cif_token *token, error *err) {
    skip_space(lexer);
    const char *start = lexer->at, *p = start, *const end = lexer->end;
    if (p == end) {
        *token = (cif_token){CIF_END, end, 0};
        return STATUS_OK;
    }
    if (*p == ';' && (p == lexer->begin || p[-1] == '\n'))
        return read_block(lexer, token, err);
    if (*p == '\'' || *p == '"')
        return read_quoted(lexer, token, err);
    p = skip_word(p, end);
    if (p < end && !is_space(*p))
        return cif_lexer_refuse(lexer, err,
                                "the byte 0x%02x does not belong into an mmCIF text. Is the file "
                                "damaged or compressed?",
                                (unsigned)(unsigned char)*p);
    *token = (cif_token){*start == '_' ? CIF_TAG : CIF_PLAIN, start, (size_t)(p - start)};
    if (may_be_keyword(token))
        find_keyword(token);
    lexer->at = p;
    return STATUS_OK;
}
