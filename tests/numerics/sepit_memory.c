// TEST timeout=60 mode=release,double,asan
/* The promised sizes of the arenas hold, and are not more than half too large; bf16 and fp32 agree.
 * (An arena ends the process when more is taken than was promised.) */
#include "tests/numerics/chunk_bench.h"

/* Large enough that the arenas' rounding does not matter. */
static const sepit_config WIDER = {.encoder = {.layers = 4, .D = 64, .H = 4, .F = 256},
                                   .llm = {.layers = 3,
                                           .D = 96,
                                           .H = 6,
                                           .K = 2,
                                           .F = 256,
                                           .V = 4096,
                                           .norm_eps = 1e-5,
                                           .rotary_base = 10000},
                                   .structure = true};

static void expect_tight(const char *what, size_t bound, size_t peak) {
    printf("  %-12s promised %9zu, used %9zu, ratio %.3f\n", what, bound, peak,
           (double)bound / (double)peak);
    EXPECT(peak <= bound && (double)bound <= 1.5 * (double)peak, "%s: %zu promised, %zu used", what,
           bound, peak);
}

static double check_run(const chunk *c, bool structured, bool bf16, real scale) {
    static model_bench bench;
    sepit_config config = WIDER;
    config.structure = structured;
    const sepit_sizes sizes = chunk_sizes(c);
    model_create(&bench, &config, bf16, &sizes);
    const bool training = scale != 0;
    const double loss = model_run(&bench, c, scale, NULL);
    printf("%s, %s, structure %s\n", bf16 ? "bf16" : "not rounded",
           training ? "training" : "inference", structured ? "on" : "off");
    expect_tight("activations", sepit_activation_bytes(&config, &sizes, bf16, training),
                 bench.m.activations.peak);
    const size_t scratch = sepit_scratch_bytes(&config, &sizes, bf16, training);
    /* The structure module's tile is of a fixed size, and so is what products may take where bf16
     * operands go through fp32 products; either is more than these small layers need. */
    if (structured || bf16)
        EXPECT(bench.m.scratch.peak <= scratch, "%zu used", bench.m.scratch.peak);
    else
        expect_tight("scratch", scratch, bench.m.scratch.peak);
    model_destroy(&bench);
    return loss;
}

/* A rounding to bf16 is off by 2^-9 at most. On its way to the loss a number passes through seven
 * products in each of the LLM's three blocks and one in the head, two roundings each; the roundings
 * are independent. */
static void check_bf16(const chunk *c) {
    const double fp32 = check_run(c, true, false, 1), bf16 = check_run(c, true, true, 1);
    EXPECT(check_run(c, true, true, 0) == bf16, "Inference gives another loss.");
    printf("loss: fp32 %.6f, bf16 %.6f, relative difference %.1e\n", fp32, bf16, bf16 / fp32 - 1);
    EXPECT(bf16 != fp32, "bf16 was not used.");
    EXPECT_CLOSE(bf16 / fp32, 1, sqrt(2 * (7 * 3 + 1)) / 512);
}

int main(void) {
    static chunk c;
    prompt many[CHUNK_SEQUENCES - 1];
    for (int i = 0; i < CHUNK_SEQUENCES - 1; i++)
        many[i] = (prompt){i % 2, 10, 60, 40};
    chunk_make(&c, 2, (const int[]){0, 1}, CHUNK_SEQUENCES - 1, many);
    for (int structured = 0; structured < 2; structured++) {
        const double loss = check_run(&c, structured, false, 1);
        EXPECT(check_run(&c, structured, false, 0) == loss, "Inference gives another loss.");
    }
    if (sizeof(real) == sizeof(float))
        check_bf16(&c);
    return test_end();
}
