// TEST timeout=30 mode=release,double,asan
/* Structure reaches exactly the tokens it should: with attention cut off, the vectors of residues
 * with a coordinate change and those of <cls>, <eos> and residues without one do not; and a protein
 * without any coordinate is a protein without structure. */
#include "tests/numerics/chunk_bench.h"

enum { D = 16, ROWS = 7 + 2, MISSING = 3 };

static chunk c;
static model_bench bench;

static void encode(bool on, real *rows) {
    c.structure[0] = on;
    const real *y = sepit_encode(&bench.m.nn, &bench.model, &c.batch.protein);
    memcpy(rows, y, ROWS * D * sizeof *rows);
    arena_reset(&bench.m.activations, 0);
}

/* No token sees another one. */
static void cut_attention(params *p) {
    for (int64_t t = 0; t < p->count; t++)
        if (strstr(p->table[t].name, "attention.output.dense") != NULL)
            memset(p->value + p->table[t].offset, 0,
                   (size_t)p->table[t].elements * sizeof *p->value);
    params_refresh(p);
}

int main(void) {
    real with[ROWS * D], without[ROWS * D];
    chunk_make(&c, 1, (const int[]){0}, 0, NULL);
    const sepit_sizes sizes = chunk_sizes(&c);
    model_create(&bench, &CHUNK_MODEL, false, &sizes);
    encode(true, with);
    encode(false, without);
    for (int t = 0; t < ROWS; t++) /* attention carries it everywhere */
        EXPECT(memcmp(with + t * D, without + t * D, D * sizeof *with) != 0, "token %d", t);

    cut_attention(&bench.model.params);
    encode(true, with);
    encode(false, without);
    for (int t = 0; t < ROWS; t++) {
        const bool same = memcmp(with + t * D, without + t * D, D * sizeof *with) == 0;
        EXPECT(same == (t == 0 || t == MISSING || t == ROWS - 1), "token %d", t);
    }

    model_draw(&bench.model.params);
    for (int i = 0; i < 3 * ROWS; i++)
        c.coord[i] = NAN;
    encode(true, with);
    encode(false, without);
    EXPECT(relative_distance(with, without, ROWS * D) < 10 * (double)REAL_EPSILON);
    model_destroy(&bench);
    return test_end();
}
