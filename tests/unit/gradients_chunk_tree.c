// TEST timeout=20
/* gradients: any number of chunks gives the bits of tree_sum_rows over all of them, whose tree is
 * written out by hand for five, also when the last chunk is merged piece by piece; arrays are
 * reused over steps; no chunk gives zero. */
#include "parallel/tree.h"
#include "src/base/rng.h"
#include "src/train/gradients.h"
#include "tests/test.h"

enum { N = 1000, MOST = 16 };

static void fill(real *row, int chunk) {
    const rng_key key = rng_key_make(3, "gradients test");
    for (int i = 0; i < N; i++)
        row[i] = (real)(rng_normal(key, (uint64_t)chunk, (uint64_t)i) * exp((double)(i % 11) - 5));
}

/* The last chunk finishes piece by piece, from the end of the array on. */
static void finish_in_pieces(gradients *g, const real *row) {
    static const int64_t ends[] = {N, 900, 900, 17, 0};
    real *array = gradients_open_chunk(g);
    const real *place = gradients_total_place(g);
    for (int k = 0; k < 4; k++) {
        for (int64_t i = ends[k + 1]; i < ends[k]; i++)
            array[i] += row[i];
        gradients_finish_from(g, ends[k + 1]);
    }
    EXPECT(gradients_total_place(g) == place, "the total moved");
}

static void check_chunks(gradients *g, int chunks, bool pieces) {
    static real rows[MOST * N], one[N];
    for (int c = 0; c < chunks; c++)
        fill(rows + c * N, c);
    if (chunks == 5) /* ((0+1)+(2+3))+4 */
        for (int i = 0; i < N; i++)
            one[i] =
                ((rows[i] + rows[N + i]) + (rows[2 * N + i] + rows[3 * N + i])) + rows[4 * N + i];
    gradients_begin(g);
    for (int c = 0; c < chunks - pieces; c++) {
        real *array = gradients_open_chunk(g);
        for (int i = 0; i < N; i++)
            array[i] += rows[c * N + i];
        gradients_close_chunk(g);
    }
    if (pieces)
        finish_in_pieces(g, rows + (chunks - 1) * N);
    const real *total = gradients_total(g);
    tree_sum_rows(rows, chunks, N, sizeof(real));
    EXPECT(memcmp(total, rows, sizeof(real) * N) == 0, "%d chunks: other bits", chunks);
    if (chunks == 5)
        EXPECT(memcmp(total, one, sizeof one) == 0, "not the tree written by hand");
}

int main(void) {
    gradients g;
    error err = {0};
    EXPECT(gradients_create(&g, N, MOST, true, &err) == STATUS_OK, "%s", err.text);
    for (int step = 0; step < 2; step++)
        for (int chunks = 1; chunks <= MOST; chunks++)
            for (int pieces = 0; pieces < 2; pieces++)
                check_chunks(&g, chunks, pieces);
    EXPECT(g.arrays <= gradients_arrays(MOST, true), "%d arrays", g.arrays);
    gradients_begin(&g);
    EXPECT(gradients_total(&g)[N / 2] == 0);
    gradients_destroy(&g);

    EXPECT(gradients_create(&g, N, MOST, false, &err) == STATUS_OK, "%s", err.text);
    gradients_begin(&g);
    for (int c = 0; c < 3; c++) {
        gradients_open_chunk(&g)[7] += (real)(c + 1);
        gradients_close_chunk(&g);
    }
    EXPECT(gradients_total(&g)[7] == 6 && g.arrays == 1, "plain sum in one array");
    gradients_destroy(&g);
    return test_end();
}
