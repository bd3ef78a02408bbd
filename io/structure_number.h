/* Decimal numbers of structure files: short, many, and never to be guessed at. */
#ifndef SEPIT_IO_STRUCTURE_NUMBER_H
#define SEPIT_IO_STRUCTURE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads all of text [length] as a decimal number: sign, digits, point, exponent, and the standard
 * uncertainty in brackets that CIF allows: "-12.345", "1.5e3", "7.25(4)". Correctly rounded up to
 * 15 digits (an exact integer divided by an exact power of ten, in double), within one unit in the
 * last place above. False, *value untouched, for anything else, NaN and infinity included. */
bool structure_number_read(const char *text, size_t length, float *value);

/* The same for an integer of at most 18 digits. */
bool structure_integer_read(const char *text, size_t length, int64_t *value);

#endif
