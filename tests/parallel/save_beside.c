// TEST np=1,2 timeout=60 mode=release,double,asan
/* save: a checkpoint written beside the training is the one that a save at once writes, though the
 * training goes on under it; keeps what it is told to keep; and one that cannot be saved ends the
 * run or is a warning, as the run wants it, but never a run that ends without its last one. */
#include "src/base/log.h"
#include "src/train/save.h"
#include "tests/checkpoint_fixture.h"
#include "tests/parallel/two_tables.h"

enum { EXPERTS = 4, CHUNKS = 2, STEPS = 6 };

static const char config_text[] = "{\"train.steps\": 6}";

typedef struct run {
    two_tables m;
    save_state state;
} run;

static void run_create(run *r) {
    two_create(&r->m, MPI_COMM_WORLD, comm_size(MPI_COMM_WORLD), EXPERTS, false);
    r->state = (save_state){.seed = TWO_SEED};
}

static void run_step(run *r) {
    r->state.step++;
    r->state.tokens += 100;
    two_step(&r->m, (int)r->state.step, CHUNKS);
}

static void open_saver(saver *s, const run *r, const char *folder, const save_policy *policy) {
    error err = {0};
    EXPECT(save_open(s, &r->m.optimizer, folder, &r->state, policy, &err) == STATUS_OK, "%s",
           err.text);
    EXPECT((s->writer != NULL) == policy->beside && s->saved == -1);
}

/* A checkpoint after each step, the last but one the best of all; then the steps on disk. */
static void train(const char *folder, const save_policy *policy) {
    run r;
    saver s;
    error err = {0};
    run_create(&r);
    open_saver(&s, &r, folder, policy);
    while (r.state.step < STEPS) {
        run_step(&r);
        EXPECT(save_poll(&s, &err) == STATUS_OK, "%s", err.text);
        if (r.state.step == 2)
            s.policy.keep.step = 1;
        EXPECT(save_begin(&s, &r.state, config_text, &err) == STATUS_OK, "%s", err.text);
    }
    run_step(&r); /* on, under the last save */
    EXPECT(save_finish(&s, &err) == STATUS_OK && s.saved == STEPS, "%s", err.text);
    save_close(&s);
    two_destroy(&r.m);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(fixture_count(folder, "*") == 8);
    EXPECT(fixture_count(folder, "step_0000000[1356].h5") == 4);
}

static void compare(const char *at_once, const char *beside) {
    char command[600];
    if (comm_rank(MPI_COMM_WORLD) != 0)
        return;
    snprintf(command, sizeof command, "diff -r '%s' '%s'", at_once, beside);
    EXPECT(system(command) == 0, "the files differ");
}

/* Step 1 is saved, step 2 cannot be, and step 3 can. */
static void train_with_fault(const char *folder, bool beside, bool goes_on) {
    const save_policy policy = {{2, -1, 0}, beside, goes_on};
    run r;
    saver s;
    error err = {0};
    run_create(&r);
    open_saver(&s, &r, folder, &policy);
    EXPECT(save_begin(&s, &r.state, config_text, &err) == STATUS_OK, "%s", err.text);
    EXPECT(save_finish(&s, &err) == STATUS_OK && s.saved == 0, "%s", err.text);
    run_step(&r);
    setenv("SEPIT_FAULT", "flush:0", 1);
    status code = save_begin(&s, &r.state, config_text, &err);
    while (code == STATUS_OK && s.writer != NULL && checkpoint_under_way(s.writer) >= 0)
        code = save_poll(&s, &err);
    unsetenv("SEPIT_FAULT");
    EXPECT(code == (goes_on ? STATUS_OK : STATUS_FAILED), "%s", err.text);
    EXPECT(goes_on ? err.code == STATUS_OK : strstr(err.text, "step 1 was not saved") != NULL);
    EXPECT(save_finish(&s, &err) == (goes_on ? STATUS_FAILED : STATUS_OK) && s.saved == 0);
    EXPECT(strstr(err.text, "step 1 was not saved") != NULL, "%s", err.text);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(fixture_count(folder, "*") == 2);
    run_step(&r);
    err = (error){0};
    EXPECT(save_begin(&s, &r.state, config_text, &err) == STATUS_OK, "%s", err.text);
    EXPECT(save_finish(&s, &err) == STATUS_OK && s.saved == 2, "%s", err.text);
    save_close(&s);
    two_destroy(&r.m);
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    log_set_rank(comm_rank(MPI_COMM_WORLD));
    char root[64], at_once[96], beside[96];
    fixture_make_folder(root);
    snprintf(at_once, sizeof at_once, "%s/at once", root);
    snprintf(beside, sizeof beside, "%s/beside", root);
    train(at_once, &(save_policy){.keep = {2, -1, 3}});
    train(beside, &(save_policy){.keep = {2, -1, 3}, .beside = true});
    compare(at_once, beside);
    for (int i = 0; i < 4; i++) {
        char folder[96];
        snprintf(folder, sizeof folder, "%s/fault %d", root, i);
        train_with_fault(folder, i % 2, i / 2);
    }
    fixture_remove_folder(root);
    MPI_Finalize();
    return test_end();
}
