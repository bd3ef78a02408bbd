/* Writing JSON strings, for programs that print JSON lines. */
#ifndef SEPIT_BASE_JSON_TEXT_H
#define SEPIT_BASE_JSON_TEXT_H

#include <stdint.h>
#include <stdio.h>

/* Prints the UTF-8 text of `bytes` bytes as a JSON string, quotes included. Bytes that are not
 * UTF-8 become U+FFFD. */
void json_print_string(FILE *out, const char *text, int64_t bytes);

#endif
