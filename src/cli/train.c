/* sepit train: one stage, into its run folder. */
#include "src/base/log.h"
#include "src/cli/command.h"
#include "src/train/loop.h"

status command_train(const command_input *in, error *err) {
    trainer t;
    status code = trainer_create(&t, in->comm, in->config, err);
    if (code == STATUS_OK)
        code = loop_run(&t, err);
    if (code == STATUS_OK)
        log_info("done: %lld steps; the run is in %s", (long long)t.state.step, t.folder.path);
    else
        run_folder_note_failure(&t.folder, err);
    trainer_destroy(&t);
    return code;
}
