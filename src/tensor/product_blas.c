/* Products of the MODE=double build. */
#include "src/tensor/product.h"

#ifdef SEPIT_DOUBLE

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

struct product_engine {
    char library[64];
};

/* OpenBLAS starts one thread per core unless told otherwise; here threads are asked for. */
static int blas_threads(void) {
    const char *asked = getenv("OMP_NUM_THREADS");
    const long threads = asked == NULL ? 1 : strtol(asked, NULL, 10);
    return threads > 1 && threads < 1024 ? (int)threads : 1;
}

status product_engine_create(product_engine **engine, error *err) {
    product_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return error_set(err, STATUS_FAILED, "no memory for the product engine");
    openblas_set_num_threads(blas_threads());
    snprintf(e->library, sizeof e->library, "OpenBLAS %s", openblas_get_corename());
    *engine = e;
    return STATUS_OK;
}

void product_engine_destroy(product_engine *engine) {
    free(engine);
}

bool product_takes_bf16(product_engine *engine) {
    (void)engine;
    return false;
}

const char *product_library(const product_engine *engine) {
    return engine->library;
}

static int blas_int(int64_t n) {
    CHECK(n >= 0 && n <= INT32_MAX, "BLAS cannot count to %lld.", (long long)n);
    return (int)n;
}

void product_run(product_engine *engine, const product *p) {
    (void)engine;
    cblas_dgemm(CblasRowMajor, p->a.transposed ? CblasTrans : CblasNoTrans,
                p->b.transposed ? CblasTrans : CblasNoTrans, blas_int(p->M), blas_int(p->N),
                blas_int(p->K), 1, p->a.data, blas_int(p->a.ld), p->b.data, blas_int(p->b.ld),
                p->beta, p->c, blas_int(p->ldc));
}

#endif
