#include "src/base/json_text.h"

/* Bytes of the UTF-8 character at `at`, of at most `left` bytes; 0 when it is broken. */
static int64_t character_bytes(const unsigned char *at, int64_t left) {
    const int64_t length = at[0] < 0x80                    ? 1
                           : at[0] >= 0xC2 && at[0] < 0xE0 ? 2
                           : at[0] >= 0xE0 && at[0] < 0xF0 ? 3
                           : at[0] >= 0xF0 && at[0] < 0xF5 ? 4
                                                           : 0;
    if (length == 0 || length > left)
        return 0;
    for (int64_t i = 1; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    const unsigned second = length > 1 ? at[1] : 0x80;
    const int overlong = (at[0] == 0xE0 && second < 0xA0) || (at[0] == 0xF0 && second < 0x90);
    const int outside = (at[0] == 0xED && second > 0x9F) || (at[0] == 0xF4 && second > 0x8F);
    return overlong || outside ? 0 : length;
}

void json_print_string(FILE *out, const char *text, int64_t bytes) {
    fputc('"', out);
    for (int64_t i = 0; i < bytes;) {
        const unsigned char *at = (const unsigned char *)text + i;
        const int64_t length = character_bytes(at, bytes - i);
        if (length == 0)
            fputs("\\ufffd", out);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at == '\n')
            fputs("\\n", out);
        else if (*at < 0x20 || *at == 0x7F)
            fprintf(out, "\\u%04x", *at);
        else
            fwrite(at, 1, (size_t)length, out);
        i += length > 0 ? length : 1;
    }
    fputc('"', out);
}
