/* The output head and the loss, at supervised places only, in blocks of rows: logits exist for one
 * block at a time, and their gradient overwrites them. */
#include "src/nn/llama.h"

#include "src/tensor/loss.h"

#include <string.h>

/* Enough rows for a product to run at full speed, few enough that [ROWS,V] stays small. */
enum { ROWS = 256 };

/* What one block of rows works on; all in scratch. */
typedef struct loss_block {
    int64_t rows;
    int64_t *place;  /* [ROWS] token of each row */
    int32_t *target; /* [ROWS] */
    real *x, *d_x;   /* [ROWS,D] hidden states and their gradient */
    double *nll;     /* [ROWS] */
} loss_block;

/* Collects the next supervised places from token `t` on; returns the token after the last. */
static int64_t gather_rows(const text_batch *text, const real *hidden, int64_t D, int64_t t,
                           loss_block *block) {
    const int64_t T = text->offset[text->B];
    block->rows = 0;
    for (; t < T && block->rows < ROWS; t++) {
        if (text->target[t] < 0)
            continue;
        block->place[block->rows] = t;
        block->target[block->rows] = text->target[t];
        memcpy(block->x + block->rows * D, hidden + t * D, (size_t)D * sizeof *hidden);
        block->rows++;
    }
    return t;
}

/* x → logits → nll, and back to d_x where scale ≠ 0. */
static void run_rows(const nn_context *nn, const params *p, const llama *llm, loss_block *block,
                     real scale) {
    const int64_t rows = block->rows, V = llm->config.V;
    const linear head = {.weight = llm->head, .bias = -1};
    const size_t mark = arena_mark(nn->scratch);
    const operand x = gemm_operand(nn->gemm, nn->scratch, block->x, rows, llm->config.D);
    real *logits = ARENA_ARRAY(nn->scratch, real, rows * V);
    linear_forward(nn, p, &head, &x, logits);
    cross_entropy(logits, block->target, rows, V, scale, block->nll);
    if (scale != 0)
        linear_backward(nn, p, &head, &x, logits, 0, block->d_x);
    arena_reset(nn->scratch, mark);
}

double llama_loss(const nn_context *nn, const params *p, const llama *llm, const text_batch *text,
                  const real *hidden, real scale, double *nll, real *d_hidden) {
    const int64_t T = text->offset[text->B], D = llm->config.D;
    const size_t mark = arena_mark(nn->scratch);
    loss_block block = {.place = ARENA_ARRAY(nn->scratch, int64_t, ROWS),
                        .target = ARENA_ARRAY(nn->scratch, int32_t, ROWS),
                        .x = ARENA_ARRAY(nn->scratch, real, ROWS * D),
                        .d_x = ARENA_ARRAY(nn->scratch, real, ROWS * D),
                        .nll = ARENA_ARRAY(nn->scratch, double, ROWS)};
    if (scale != 0)
        memset(d_hidden, 0, (size_t)(T * D) * sizeof *d_hidden);
    double sum = 0;
    int64_t done = 0;
    for (int64_t t = 0; t < T;) {
        t = gather_rows(text, hidden, D, t, &block);
        run_rows(nn, p, llm, &block, scale);
        for (int64_t i = 0; i < block.rows; i++) {
            sum += block.nll[i];
            if (nll != NULL)
                nll[done + i] = block.nll[i];
            if (scale != 0)
                memcpy(d_hidden + block.place[i] * D, block.d_x + i * D,
                       (size_t)D * sizeof *hidden);
        }
        done += block.rows;
    }
    CHECK(done == text->supervised, "%lld places have a target, the batch says %lld.",
          (long long)done, (long long)text->supervised);
    arena_reset(nn->scratch, mark);
    return sum;
}

size_t llama_loss_bytes(const llama_config *c, int64_t supervised, bool bf16, bool training) {
    const int64_t rows = supervised < ROWS ? supervised : ROWS;
    const size_t block = arena_bytes(ROWS, sizeof(int64_t) + sizeof(int32_t) + sizeof(double)) +
                         arena_bytes(2 * ROWS * c->D, sizeof(real));
    const int64_t rounded = bf16 ? c->D + (training ? c->V : 0) : 0;
    const size_t operands = arena_bytes(rows * rounded, sizeof(uint16_t));
    const size_t logits = arena_bytes(rows * c->V, sizeof(real));
    const size_t products = bf16 ? GEMM_SCRATCH_BYTES : 0;
    return block + operands + logits + products + 8 * 64;
}
