// TEST np=1,2,4 timeout=60 mode=release,asan
/* bad_steps: the samples of the chunk whose numbers went bad are named on rank 0, whichever rank
 * has it; a row of such steps ends in a report, on all ranks alike. */
#include "parallel/agree.h"
#include "src/base/log.h"
#include "src/train/bad_steps.h"
#include "tests/test.h"

#include <unistd.h>

enum { PROTEINS = 40, CHUNKS = 8, GRADIENT = 1000, BAD_CHUNK = 5, STEP = 4 };

static char accession[PROTEINS][ACCESSION_SIZE];
static int64_t offset[PROTEINS + 1], question[2 * PROTEINS + 1], text[2 * PROTEINS + 1];
static uint8_t source[PROTEINS], split[PROTEINS];
static int32_t owner[2 * PROTEINS];
static real gradient[GRADIENT];
static int rank, ranks;

/* Two captions for each protein; the longest accession fills its field. */
static dataset make_dataset(void) {
    static char name[] = "made-up.h5";
    for (int i = 0; i < PROTEINS; i++) {
        char whole[32];
        snprintf(whole, sizeof whole, "ACCESSIONNUMBER%X", i % 16);
        if (i % 2 == 0)
            snprintf(whole, sizeof whole, "P%05d", i);
        memcpy(accession[i], whole, ACCESSION_SIZE);
        offset[i + 1] = offset[i] + 50 + i;
        for (int k = 2 * i; k < 2 * i + 2; k++) {
            owner[k] = i;
            question[k + 1] = question[k] + 10;
            text[k + 1] = text[k] + 30 + k;
        }
    }
    return (dataset){.path = name,
                     .proteins = PROTEINS,
                     .captions = 2 * PROTEINS,
                     .accession = accession[0],
                     .offset = offset,
                     .source = source,
                     .split = split,
                     .caption_protein = owner,
                     .caption_question_offset = question,
                     .caption_offset = text};
}

/* What the log and the report of rank 0 hold after one bad step. */
static void run(sampler *s, bad_steps *b, const double *loss, char *log, size_t size) {
    FILE *file = fmemopen(log, size, "w");
    bad_step step = {.step = STEP, .loss = NAN, .grad_norm = INFINITY, .lr = 0.5, .sampler = s};
    sampler_chunks_of_rank(CHUNKS, rank, ranks, &step.first_chunk, &step.end_chunk);
    step.own_loss = loss + step.first_chunk;
    step.gradient = gradient;
    step.gradient_count = GRADIENT;
    log_set_file(file);
    bad_steps_note_bad(b, MPI_COMM_WORLD, &step);
    log_set_file(NULL);
    fclose(file);
}

/* Every sample of the chunk, as the sampler has it, must be there by name. */
static void expect_chunk(sampler *s, const char *said, int64_t chunk, int there) {
    sampler_batch batch;
    sampler_draw(s, STEP - 1, &batch);
    EXPECT(batch.offset[chunk + 1] > batch.offset[chunk], "chunk %lld is empty", (long long)chunk);
    for (int64_t i = batch.offset[chunk]; i < batch.offset[chunk + 1]; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.16s caption %lld", accession[batch.sample[i].protein],
                 (long long)batch.sample[i].caption);
        const char *at = strstr(said, name);
        while (at != NULL && strchr(", \n", at[strlen(name)]) == NULL) /* 1 is not 12 */
            at = strstr(at + 1, name);
        EXPECT((at != NULL) == there, "%s in: %s", name, said);
    }
}

static void check_loss(sampler *s) {
    static char log[1 << 16];
    double loss[CHUNKS] = {1, 2, 1, 2, 1, NAN, 1, 2};
    bad_steps b;
    bad_steps_begin(&b, 2);
    run(s, &b, loss, log, sizeof log);
    EXPECT(b.in_a_row == 1 && b.total == 1 && !bad_steps_too_many(&b));
    if (rank == 0) {
        char want[64];
        snprintf(want, sizeof want,
                 "chunk 5 of rank %d, whose loss is not finite:", BAD_CHUNK * ranks / CHUNKS);
        EXPECT(strstr(log, want) != NULL && strstr(b.report, want) != NULL, "%s", log);
        EXPECT(strstr(log, "step 4: loss nan, gradient norm inf, learning rate 0.5") == log, "%s",
               log);
        for (int64_t c = 0; c < CHUNKS; c++)
            expect_chunk(s, log, c, c == BAD_CHUNK);
    }
    bad_steps_note_good(&b);
    EXPECT(b.in_a_row == 0 && b.total == 1 && b.report == NULL);
    bad_steps_end(&b);
}

/* All losses are finite and the last rank's gradient is not: its chunks are named. */
static void check_gradient(sampler *s) {
    static char log[1 << 16];
    const double loss[CHUNKS] = {0};
    bad_steps b;
    bad_steps_begin(&b, 2);
    gradient[GRADIENT - 1] = rank == ranks - 1 ? (real)INFINITY : 0;
    run(s, &b, loss, log, sizeof log);
    for (int64_t c = 0; rank == 0 && c < CHUNKS; c++)
        expect_chunk(s, b.report, c, c >= CHUNKS - CHUNKS / ranks);
    if (rank == 0 && ranks <= 2)
        EXPECT(strstr(log, "more of the 8 chunks") != NULL || ranks == 2, "%s", log);
    gradient[GRADIENT - 1] = 0;
    run(s, &b, loss, log, sizeof log);
    if (rank == 0)
        EXPECT(strstr(log, "only their sum") != NULL, "%s", log);
    EXPECT(bad_steps_too_many(&b));
    bad_steps_end(&b);
}

static void check_report(sampler *s) {
    static char log[1 << 16], got[1 << 16];
    char root[] = "/tmp/sepit bad-XXXXXX", folder[64], path[96];
    const double loss[CHUNKS] = {NAN};
    bad_steps b;
    error err = {0};
    if (rank == 0)
        EXPECT(mkdtemp(root) != NULL);
    MPI_Bcast(root, sizeof root, MPI_CHAR, 0, MPI_COMM_WORLD);
    bad_steps_begin(&b, 3);
    for (int i = 0; i < 3; i++)
        run(s, &b, loss, log, sizeof log);
    EXPECT(bad_steps_too_many(&b));
    EXPECT(bad_steps_stop(&b, MPI_COMM_WORLD, root, &err) == STATUS_FAILED);
    EXPECT(strstr(err.text, "3 steps in a row") == err.text && strstr(err.text, root) != NULL, "%s",
           err.text);
    snprintf(path, sizeof path, "%s/bad_steps.txt", root);
    if (rank == 0) {
        FILE *file = fopen(path, "r");
        EXPECT(file != NULL && fread(got, 1, sizeof got - 1, file) > 0);
        EXPECT(strstr(got, b.report) != NULL, "%s", got);
        if (file != NULL)
            fclose(file);
        unlink(path);
        rmdir(root);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    snprintf(folder, sizeof folder, "%s/nowhere", root);
    EXPECT(bad_steps_stop(&b, MPI_COMM_WORLD, folder, &err) == STATUS_FAILED);
    EXPECT(strstr(err.text, "cannot create") != NULL, "%s", err.text);
    bad_steps_end(&b);
}

static void check_fault(void) {
    setenv("SEPIT_FAULT", "nan-5-3", 1);
    EXPECT(bad_steps_fault(5, 3) && !bad_steps_fault(5, 4) && !bad_steps_fault(4, 3));
    setenv("SEPIT_FAULT", "nan-5", 1);
    EXPECT(bad_steps_fault(5, 3) && bad_steps_fault(5, 4) && !bad_steps_fault(4, 3));
    unsetenv("SEPIT_FAULT");
    EXPECT(!bad_steps_fault(5, 3));
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    rank = comm_rank(MPI_COMM_WORLD);
    ranks = comm_size(MPI_COMM_WORLD);
    log_set_rank(rank);
    const dataset d = make_dataset();
    const sampler_config settings = {
        .seed = 1, .group = 2, .global_batch = 32, .chunks = CHUNKS, .max_text = 64};
    sampler s;
    error err = {0};
    EXPECT(sampler_create(&s, &settings, &d, &err) == STATUS_OK, "%s", err.text);
    check_loss(&s);
    check_gradient(&s);
    check_report(&s);
    check_fault();
    sampler_destroy(&s);
    MPI_Finalize();
    return test_end();
}
