// TEST np=4 timeout=60 mode=release,double,asan
/* save: with exact sums every layout of ranks and experts goes through the same norms and writes
 * the same bytes; each continues from another one's checkpoint as if nothing had happened; and what
 * a checkpoint does not hold starts at zero, or is refused, with a sentence. */
#include "tests/checkpoint_fixture.h"

#include "src/base/log.h"
#include "src/nn/setup.h"
#include "src/train/save.h"
#include "tests/parallel/two_tables.h"

enum { CHUNKS = 4, EXPERTS = 4, MIDDLE = 2, NORMS = 12, LAYOUTS = 6 };

static const int layouts[LAYOUTS][2] = {{1, 1}, {2, 1}, {2, 2}, {4, 1}, {4, 2}, {4, 4}};
static const char receipt[] = "copied, 3 of 7";
static char root[64];

/* Rank 0's norms on one rank, for its other layouts to compare with. */
static double norms[NORMS + 1];

typedef struct run {
    two_tables m;
    double fraction[TWO_LAYERS * EXPERTS], bias[TWO_LAYERS * EXPERTS];
    save_state state;
} run;

static void run_create(run *r, MPI_Comm comm, int ep, bool encoder) {
    two_create(&r->m, comm, ep, EXPERTS, encoder);
    memset(r->fraction, 0, sizeof r->fraction);
    memset(r->bias, 0, sizeof r->bias);
    r->state = (save_state){.seed = TWO_SEED,
                            .router_layers = TWO_LAYERS,
                            .experts = EXPERTS,
                            .router_fraction = r->fraction,
                            .router_bias = r->bias};
}

static void run_destroy(run *r) {
    free(r->state.upcycle);
    two_destroy(&r->m);
}

static void run_step(run *r) {
    const int step = (int)++r->state.step;
    const optimizer_report report = two_step(&r->m, step, CHUNKS);
    r->state.tokens += 10;
    for (int i = 0; i < TWO_LAYERS * EXPERTS; i++) {
        r->fraction[i] = 1.0 / (i + step + 2);
        r->bias[i] = 0.25 * i - step;
    }
    if (norms[step] == 0)
        norms[step] = report.norm;
    EXPECT(r->m.rank > 0 || report.norm == norms[step], "step %d on %d ranks, ep %d: norm %a", step,
           r->m.ranks, r->m.ep, report.norm);
}

static char *folder_of(char folder[160], int layout, const char *what) {
    snprintf(folder, 160, "%s/%d of %d %s", root, layouts[layout][0], layouts[layout][1], what);
    return folder;
}

static void run_save(const run *r, const char *folder) {
    error err = {0};
    EXPECT(save_checkpoint(&r->m.optimizer, folder, &r->state, "{}", &err) == STATUS_OK, "%s",
           err.text);
}

/* Nothing of what was there before may help. */
static status run_restore(run *r, const char *folder, error *err) {
    char path[200];
    checkpoint *file = NULL;
    for (int t = 0; t < r->m.optimizer.tables; t++) {
        const params *p = r->m.optimizer.table[t].params;
        memset(p->value, 0, (size_t)p->elements * sizeof(real));
    }
    snprintf(path, sizeof path, "%s/step_%08d.h5", folder, MIDDLE);
    status code = checkpoint_open(&file, r->m.world, path, err);
    if (code == STATUS_OK)
        code = save_restore(&r->m.optimizer, file, &r->state, err);
    checkpoint_close(file);
    return code;
}

static uint32_t file_sum(const char *folder, int step) {
    char path[200];
    snprintf(path, sizeof path, "%s/step_%08d.h5", folder, step);
    FILE *f = fopen(path, "rb");
    uint32_t sum = f == NULL ? 0 : 1;
    for (int c; f != NULL && (c = fgetc(f)) != EOF;)
        sum = (sum ^ (uint32_t)c) * 16777619U;
    if (f != NULL)
        fclose(f);
    return sum;
}

static void expect_same_file(const char *folder, int step) {
    char first[160];
    if (comm_rank(MPI_COMM_WORLD) != 0)
        return;
    const uint32_t want = file_sum(folder_of(first, 0, "whole"), step);
    EXPECT(want != 0 && file_sum(folder, step) == want, "%s, step %d, is not as on one rank",
           folder, step);
}

/* ---- one layout ------------------------------------------------------------------------------ */

/* All steps at once, with a checkpoint on the way; and more, for their norms alone: blocks added in
 * another order show in the bits of some of them. */
static void run_whole(MPI_Comm comm, int layout) {
    run r;
    char folder[160];
    folder_of(folder, layout, "whole");
    run_create(&r, comm, layouts[layout][1], false);
    r.state.upcycle = strdup(receipt);
    for (int step = 1; step <= NORMS; step++) {
        run_step(&r);
        if (step == MIDDLE || step == TWO_STEPS)
            run_save(&r, folder);
    }
    run_destroy(&r);
    expect_same_file(folder, MIDDLE);
    expect_same_file(folder, TWO_STEPS);
}

/* The other half, from the checkpoint of another layout. */
static void run_half(MPI_Comm comm, int layout) {
    run r;
    error err = {0};
    char folder[160];
    run_create(&r, comm, layouts[layout][1], false);
    folder_of(folder, (layout + 2) % LAYOUTS, "whole");
    EXPECT(run_restore(&r, folder, &err) == STATUS_OK, "%s", err.text);
    EXPECT(r.state.step == MIDDLE && r.state.tokens == 10 * MIDDLE && r.state.seed == TWO_SEED);
    EXPECT(r.fraction[3] == 1.0 / (3 + MIDDLE + 2) && r.bias[3] == 0.75 - MIDDLE);
    EXPECT_TEXT(r.state.upcycle, receipt);
    while (r.state.step < TWO_STEPS)
        run_step(&r);
    run_save(&r, folder_of(folder, layout, "half"));
    run_destroy(&r);
    expect_same_file(folder, TWO_STEPS);
}

/* The weights alone, as for answers. */
static void load_weights(MPI_Comm comm, int layout) {
    run r;
    two_tables *m = &r.m;
    error err = {0};
    checkpoint *file = NULL;
    char folder[160], path[200];
    run_create(&r, comm, layouts[layout][1], false);
    const int64_t frozen = m->dense.gradient_from;
    real *drawn = malloc((size_t)frozen * sizeof *drawn);
    memcpy(drawn, m->dense.value, (size_t)frozen * sizeof *drawn);
    EXPECT(run_restore(&r, folder_of(folder, 0, "whole"), &err) == STATUS_OK, "%s", err.text);
    EXPECT(memcmp(drawn, m->dense.value, (size_t)frozen * sizeof *drawn) == 0,
           "what is frozen has changed");
    free(drawn);
    snprintf(path, sizeof path, "%s/step_%08d.h5", folder, MIDDLE);
    EXPECT(checkpoint_open(&file, comm, path, &err) == STATUS_OK, "%s", err.text);
    params copy[2];
    two_declare(&copy[0], &copy[1], m->rank % m->ep * m->local, m->local);
    const share_table table[] = {{&copy[0], comm, 0}, {&copy[1], m->data, EXPERTS}};
    for (int t = 0; t < 2; t++)
        EXPECT(params_allocate(&copy[t], false, &err) == STATUS_OK);
    EXPECT(setup_load_tables(file, table, 2, &err) == STATUS_OK, "%s", err.text);
    for (int t = 0; t < 2; t++) {
        EXPECT(memcmp(copy[t].value, m->table[t].params->value,
                      (size_t)copy[t].elements * sizeof(real)) == 0,
               "table %d", t);
        params_destroy(&copy[t]);
    }
    checkpoint_close(file);
    run_destroy(&r);
}

/* ---- what is in the file --------------------------------------------------------------------- */

static int64_t rank_of(const checkpoint *file, const char *name) {
    const checkpoint_tensor *t = checkpoint_find(file, name);
    return t == NULL ? -1 : t->rank;
}

/* Read by hand: names and places are those of DESIGN.md §6, and the values those of the model. */
static void check_file(const run *r, const checkpoint *file) {
    const params *experts = &r->m.experts;
    const char *stacked = "/model/model.layers.1.mlp.experts.down_proj.weight";
    const int64_t n = (TWO_COLS - 1) * TWO_ROWS;
    const checkpoint_tensor *t = checkpoint_find(file, stacked);
    EXPECT(t != NULL && t->rank == 3 && t->shape[0] == EXPERTS && t->shape[1] == TWO_COLS - 1 &&
           t->shape[2] == TWO_ROWS);
    for (int e = 0; e < EXPERTS; e++) {
        real got = 0;
        error err = {0};
        char name[PARAM_NAME];
        snprintf(name, sizeof name, "model.layers.1.mlp.experts.%d.down_proj.weight", e);
        EXPECT(checkpoint_read(file, stacked, setup_real_type(), e * n + 5, 1, &got, &err) ==
                   STATUS_OK,
               "%s", err.text);
        EXPECT(got == param_value(experts, params_find(experts, name))[5], "%s", name);
    }
    EXPECT(rank_of(file, "/model/encoder.a") == 2 && rank_of(file, "/model/structure") == 2);
    EXPECT(rank_of(file, "/optimizer/m/encoder.a") < 0, "a frozen tensor has a moment");
    EXPECT(rank_of(file, "/optimizer/v/structure") < 0, "a frozen tensor has a moment");
    EXPECT(rank_of(file, "/optimizer/v/llm.bias") == 1);
    EXPECT(rank_of(file, "/optimizer/m/model.layers.0.mlp.experts.gate_proj.weight") == 3);
    EXPECT(rank_of(file, "/train/router_bias") == 2 && rank_of(file, "/train/upcycle") == 1);
}

static void check_one_rank(MPI_Comm comm) {
    run r;
    error err = {0};
    checkpoint *file = NULL;
    char folder[160], path[200];
    run_create(&r, comm, 1, false);
    EXPECT(run_restore(&r, folder_of(folder, 5, "whole"), &err) == STATUS_OK, "%s", err.text);
    snprintf(path, sizeof path, "%s/step_%08d.h5", folder, MIDDLE);
    EXPECT(checkpoint_open(&file, comm, path, &err) == STATUS_OK, "%s", err.text);
    if (file != NULL)
        check_file(&r, file);
    checkpoint_close(file);
    run_destroy(&r);
}

/* ---- another split, another model ------------------------------------------------------------ */

static bool log_says(FILE *log, const char *words) {
    char text[4096];
    rewind(log);
    const size_t length = fread(text, 1, sizeof text - 1, log);
    text[length] = '\0';
    return strstr(text, words) != NULL;
}

/* The encoder is trained now and was not: its moments start at zero, all others go on. */
static void check_thawed(MPI_Comm comm) {
    run r;
    error err = {0};
    char folder[160];
    FILE *log = tmpfile();
    run_create(&r, comm, 2, true);
    const optimizer_part *part = &r.m.optimizer.trained[0];
    for (int64_t i = 0; i < part->share.shard.local; i++)
        part->m[i] = part->v[i] = 7;
    log_set_file(log);
    EXPECT(run_restore(&r, folder_of(folder, 0, "whole"), &err) == STATUS_OK, "%s", err.text);
    log_set_file(NULL);
    EXPECT(comm_rank(comm) != 0 || log_says(log, "no AdamW moments of 4 tensors"));
    EXPECT(comm_rank(comm) != 0 || log_says(log, "/model/encoder.a, …"));
    int64_t wrong = 0;
    for (int64_t i = 0; i < part->share.segments; i++) {
        const share_segment *s = &part->share.segment[i];
        const param_group group = share_param(&part->share, s)->group;
        const bool zero = group == GROUP_ENCODER || group == GROUP_STRUCTURE;
        for (int64_t k = s->local; k < s->local + s->count; k++)
            wrong += zero ? part->m[k] != 0 || part->v[k] != 0 : part->v[k] <= 0 || part->v[k] >= 1;
    }
    EXPECT(wrong == 0, "%lld moments are wrong", (long long)wrong);
    run_destroy(&r);
    fclose(log);
}

static void check_refusals(MPI_Comm comm) {
    run r;
    error err = {0};
    char folder[160];
    run_create(&r, comm, 1, false);
    strcpy(r.m.dense.table[4].name, "projectile");
    EXPECT(run_restore(&r, folder_of(folder, 0, "whole"), &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "no tensor /model/projectile") != NULL, "%s", err.text);
    strcpy(r.m.dense.table[4].name, "projector");
    r.m.optimizer.table[1].experts = EXPERTS + 1;
    EXPECT(run_restore(&r, folder, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "is 4 × 451 × 37") != NULL && strstr(err.text, "5 × 451 × 37") != NULL,
           "%s", err.text);
    r.m.optimizer.table[1].experts = EXPERTS;
    r.state.router_layers = TWO_LAYERS + 1;
    EXPECT(run_restore(&r, folder, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "/train/router_fraction") != NULL, "%s", err.text);
    r.state.router_layers = TWO_LAYERS;
    EXPECT(run_restore(&r, folder, &err) == STATUS_OK, "%s", err.text);
    run_destroy(&r);
}

/* A file with one of a tensor's two moments is damaged, not of another split. */
static void check_half_moments(MPI_Comm comm) {
    const real number = 1;
    const bool first = comm_rank(comm) == 0;
    const checkpoint_tensor tensor[] = {{"/model/a", setup_real_type(), 1, {1}},
                                        {"/optimizer/m/a", setup_real_type(), 1, {1}}};
    const checkpoint_slice slice[] = {{0, 0, 1, &number}, {1, 0, 1, &number}};
    const checkpoint_content content = {MIDDLE, tensor, 2, slice, first ? 2 : 0, NULL, 0, "{}"};
    error err = {0};
    run r = {0};
    char folder[160];
    snprintf(folder, sizeof folder, "%s/half", root);
    EXPECT(checkpoint_save(comm, folder, &content, (checkpoint_retention){2, -1, 0}, &err) ==
               STATUS_OK,
           "%s", err.text);
    params_init(&r.m.dense);
    params_declare_vector(&r.m.dense, "a", 1, GROUP_LLM);
    const share_table table = {&r.m.dense, comm, 0};
    EXPECT(optimizer_create(&r.m.optimizer, &table, 1, &err) == STATUS_OK, "%s", err.text);
    two_draw(&r.m.dense);
    r.m.world = comm;
    EXPECT(run_restore(&r, folder, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, "no tensor /optimizer/v/a") != NULL, "%s", err.text);
    optimizer_destroy(&r.m.optimizer);
    params_destroy(&r.m.dense);
}

static MPI_Comm first_ranks(int ranks) {
    MPI_Comm comm;
    const int rank = comm_rank(MPI_COMM_WORLD);
    MPI_Comm_split(MPI_COMM_WORLD, rank < ranks ? 0 : MPI_UNDEFINED, rank, &comm);
    return comm;
}

static void on_layout(void (*verb)(MPI_Comm, int), int layout) {
    MPI_Comm comm = first_ranks(layouts[layout][0]);
    if (comm != MPI_COMM_NULL) {
        verb(comm, layout);
        MPI_Comm_free(&comm);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    fixture_make_folder(root);
    void (*const verbs[])(MPI_Comm, int) = {run_whole, run_half, load_weights};
    for (int v = 0; v < 3; v++)
        for (int layout = 0; layout < LAYOUTS; layout++)
            on_layout(verbs[v], layout);
    MPI_Comm one = first_ranks(1);
    if (one != MPI_COMM_NULL) {
        check_one_rank(one);
        MPI_Comm_free(&one);
    }
    check_thawed(MPI_COMM_WORLD);
    check_refusals(MPI_COMM_WORLD);
    check_half_moments(MPI_COMM_WORLD);
    fixture_remove_folder(root);
    MPI_Finalize();
    return test_end();
}
