/* Parameters: one table, from which all else comes.
 *
 * A model declares its tensors once (name as in Hugging Face files, shape, initial values, group).
 * Storage is flat: values, gradients and optimizer state are arrays of `elements` numbers in which
 * tensor i starts at offset[i]; offsets are multiples of 16 elements. The gradient array can be
 * swapped (params_use_gradient), so that each chunk of a batch can have its own.
 * In bf16 the table also holds a rounded copy of every matrix, refreshed by params_refresh after
 * the values changed.
 */
#ifndef SEPIT_NN_PARAMS_H
#define SEPIT_NN_PARAMS_H

#include "src/base/error.h"
#include "src/tensor/gemm.h"
#include "src/tensor/real.h"

#include <stdbool.h>
#include <stdint.h>

/* Groups differ in learning rate and in being frozen (spec/sepit.md §5). */
typedef enum param_group {
    GROUP_ENCODER,   /* ESM-2 */
    GROUP_STRUCTURE, /* structure module */
    GROUP_PROJECTOR,
    GROUP_LLM,    /* experts included */
    GROUP_ROUTER, /* of the mixture of experts */
    GROUP_COUNT
} param_group;

typedef enum param_init {
    INIT_ZERO,
    INIT_ONE,
    INIT_NORMAL, /* N(0, scale) */
    INIT_UNIFORM /* U(low, low + scale) */
} param_init;

enum { PARAM_NAME = 120, PARAM_ALIGN = 16 };

typedef struct param {
    char name[PARAM_NAME];
    int rank;         /* 1 or 2 */
    int64_t shape[2]; /* [rows, cols]; cols = 1 where rank is 1 */
    param_group group;
    param_init init;
    double scale, low;
    int64_t expert;   /* which of the experts' tensors of this kind; −1: not an expert's */
    int64_t offset;   /* of its first element in the flat arrays */
    int64_t elements; /* rows · cols */
} param;

typedef struct params {
    int64_t count, capacity;
    param *table;             /* owned */
    int64_t elements;         /* of each flat array, alignment gaps (always 0) included */
    int64_t storage;          /* elements allocated: at least `elements`; the rest stays 0 */
    real *value;              /* [storage], owned: the truth, also in bf16 */
    uint16_t *rounded;        /* [storage] bf16, owned; NULL in fp32 and fp64 */
    real *gradient;           /* [storage − gradient_from] where backward adds; borrowed; NULL:
                                 nothing is wanted */
    int64_t gradient_from;    /* the element that gradient[0] belongs to; 0 unless set: what lies
                                 before it (a frozen encoder) costs no gradient memory */
    bool frozen[GROUP_COUNT]; /* no gradient for these groups */
} params;

void params_init(params *p);
void params_destroy(params *p);

/* Declares a tensor and returns its index. Bug if the name is taken or storage already exists. */
int64_t params_declare(params *p, const char *name, int64_t rows, int64_t cols, param_group group);
/* The same for a vector. */
int64_t params_declare_vector(params *p, const char *name, int64_t n, param_group group);
/* Says that the tensor declared last is expert `expert`'s. Its name holds ".experts.N.". */
void params_set_expert(params *p, int64_t expert);
/* The next tensor starts at a multiple of `elements`: so that each expert fills whole blocks. */
void params_align(params *p, int64_t elements);
/* Sets the initialisation of the tensor declared last (zero if never called). */
void params_set_init(params *p, param_init init, double scale, double low);

/* Asks for room beyond `elements`, before params_allocate: sharding pads to whole blocks. */
void params_reserve(params *p, int64_t storage);

/* After the last declaration: allocates the values (and bf16 copies when `bf16`).
 * STATUS_FAILED when memory is short, naming the bytes. */
status params_allocate(params *p, bool bf16, error *err);

/* Draws initial values: element i of a tensor is a pure function of (seed, name, i). */
void params_draw(params *p, uint64_t seed);

/* Index by name, or −1. */
int64_t params_find(const params *p, const char *name);

/* Where the frozen groups at the front of the table end: the first element of the first tensor
 * that is trained, or `elements` when none is. */
int64_t params_first_trained(const params *p);

/* The array backward adds to, from now on; NULL for inference. */
void params_use_gradient(params *p, real *gradient);

/* Refreshes the bf16 copies from the values; nothing to do otherwise. */
void params_refresh(params *p);

/* Views. The gradient is NULL when the tensor's group is frozen or no gradient is wanted. */
const real *param_value(const params *p, int64_t index);
real *param_gradient(const params *p, int64_t index);
/* The matrix for products: bf16 copy or the values. */
operand param_operand(const params *p, int64_t index);

#endif
