/* SQ lines: the sequence, and whether it is the one that the record announces. */
#include "io/uniprot_store.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the CRC reads words of eight letters");

/* a · x^64 modulo P = x^64+x^4+x^3+x+1, where bit 63−k is the coefficient of x^k: a multiplication
 * by x^4+x^3+x+1 is four shifts, and what they push out (degree 64 to 67) is reduced once more.
 * P has so few terms, and all so low, that this beats any table. */
static uint64_t advance_word(uint64_t a) {
    const uint64_t out = (a << 63) ^ (a << 61) ^ (a << 60);
    a ^= (a >> 1) ^ (a >> 3) ^ (a >> 4);
    return a ^ out ^ (out >> 1) ^ (out >> 3) ^ (out >> 4);
}

uint64_t uniprot_crc64(const char *letters, size_t count) {
    static const uint64_t polynomial = UINT64_C(0xd800000000000000);
    uint64_t crc = 0;
    for (; count >= 8; letters += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, letters, 8);
        crc = advance_word(crc ^ word);
    }
    for (; count > 0; letters++, count--) {
        crc ^= (uint8_t)*letters;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? polynomial : 0);
    }
    return crc;
}

/* "SEQUENCE   38 AA;  4279 MW;  7A1A0A3B2C1D0E0F CRC64;" */
typedef struct announcement {
    int64_t length; /* −1: not said */
    uint64_t crc;
    bool has_crc;
} announcement;

static announcement read_announcement(uniprot_slice line) {
    char text[128];
    const size_t size = line.size < sizeof text - 1 ? line.size : sizeof text - 1;
    memcpy(text, line.text, size);
    text[size] = '\0';
    announcement a = {.length = -1};
    if (strncmp(text, "SEQUENCE", 8) == 0) {
        char *end;
        const long long length = strtoll(text + 8, &end, 10);
        if (end > text + 8 && strncmp(end, " AA", 3) == 0)
            a.length = length;
    }
    const char *label = strstr(text, " CRC64");
    const char *digits = label;
    while (digits && digits > text && isxdigit((unsigned char)digits[-1]))
        digits--;
    if (digits && label - digits == 16) {
        a.crc = strtoull(digits, NULL, 16);
        a.has_crc = true;
    }
    return a;
}

/* Copies the letters of a line; 0, or the first character that is none. */
static char copy_letters(uniprot_store *store, uniprot_slice line) {
    char *out = store->text + store->text_used;
    for (size_t i = 0; i < line.size; i++) {
        const char c = line.text[i];
        if (c >= 'A' && c <= 'Z')
            *out++ = c;
        else if (c != ' ')
            return c;
    }
    store->text_used = (size_t)(out - store->text);
    return 0;
}

static status check_sequence(const uniprot_entry *entry, announcement a, int64_t id_length,
                             error *err) {
    if (a.length < 0)
        return error_set(err, STATUS_INPUT, "the SQ line is not \"SEQUENCE n AA; …\".");
    if (entry->length != a.length)
        return error_set(err, STATUS_INPUT,
                         "the sequence has %lld residues, the SQ line says %lld.",
                         (long long)entry->length, (long long)a.length);
    if (id_length >= 0 && entry->length != id_length)
        return error_set(err, STATUS_INPUT,
                         "the sequence has %lld residues, the ID line says %lld.",
                         (long long)entry->length, (long long)id_length);
    const uint64_t crc = uniprot_crc64(entry->sequence, (size_t)entry->length);
    if (a.has_crc && crc != a.crc)
        return error_set(err, STATUS_INPUT,
                         "the sequence's CRC64 is %016llX, the SQ line says %016llX.",
                         (unsigned long long)crc, (unsigned long long)a.crc);
    return STATUS_OK;
}

status uniprot_parse_sequence(uniprot_store *store, uniprot_entry *entry, uniprot_block block,
                              int64_t id_length, const char **at, uniprot_tally *tally,
                              error *err) {
    *at = block.at;
    uniprot_slice line;
    const bool has_line = uniprot_block_next(&block, &line);
    CHECK(has_line, "an SQ block has its SQ line");
    const announcement a = read_announcement(line);
    char *letters = uniprot_text_begin(store);
    const char *begin = block.at;
    while (uniprot_block_next(&block, &line)) {
        const char bad = copy_letters(store, line);
        if (bad) {
            *at = begin;
            return error_set(err, STATUS_INPUT,
                             "the sequence has '%c' where a capital letter is expected.",
                             isprint((unsigned char)bad) ? bad : '?');
        }
        begin = block.at;
    }
    entry->sequence = letters;
    entry->length = (int64_t)(store->text + store->text_used - letters);
    uniprot_text_end(store);
    if (entry->length == 0)
        return error_set(err, STATUS_INPUT, "the sequence is empty.");
    if (!a.has_crc)
        tally->unchecked_crc++;
    return check_sequence(entry, a, id_length, err);
}
