/* The number the program computes with: float, or double in the MODE=double build, which exists
 * for gradient checks and as the slow twin. Sums that run over many terms use double either way.
 */
#ifndef SEPIT_TENSOR_REAL_H
#define SEPIT_TENSOR_REAL_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#ifdef SEPIT_DOUBLE
typedef double real;
#define REAL_EPSILON DBL_EPSILON
#else
typedef float real;
#define REAL_EPSILON FLT_EPSILON
#endif

#endif
