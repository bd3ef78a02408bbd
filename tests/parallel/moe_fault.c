// TEST np=1,2 timeout=60
/* Three layers of experts on all ranks, forward and backward; on its own it only has to end.
 * moe_fails_together.sh makes one rank fail inside it. */
#include "parallel/agree.h"
#include "src/base/log.h"
#include "tests/numerics/moe_bench.h"

enum { D = 16, F = 8, E = 4, T = 9, LAYERS = 3 };

int main(int argc, char **argv) {
    static moe_bench b;
    static real x[T * D], y[T * D], d_x[T * D];
    MPI_Init(&argc, &argv);
    const int rank = comm_rank(MPI_COMM_WORLD), ranks = comm_size(MPI_COMM_WORLD);
    log_set_rank(rank);
    b = (moe_bench){.D = D, .F = F, .T = T};
    b.c = (moe_config){.E = E,
                       .k = 2,
                       .slices = 2,
                       .first_expert = rank * (E / ranks),
                       .local_experts = E / ranks};
    bench_create(&b, 2 * T * ranks);
    bench_try(&b, exchange_create(&b.run.exchange, MPI_COMM_WORLD, moe_lanes(&b.c), &b.err));
    gradcheck_fill(x, T * D, "x", 0, 1);
    b.run.statistics = (moe_statistics){NULL, NULL};
    for (int i = 0; i < LAYERS; i++) {
        b.layer.index = i;
        bench_run(&b, x, NULL, y, x, d_x);
        EXPECT(isfinite((double)d_x[0]));
    }
    exchange_destroy(b.run.exchange);
    bench_destroy(&b);
    int failures = test_end(), worst = 0;
    MPI_TRY(MPI_Allreduce(&failures, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD));
    MPI_Finalize();
    return worst;
}
