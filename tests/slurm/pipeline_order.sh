#!/usr/bin/env bash
# TEST timeout=300 mode=release
# slurm/pipeline.sh: jobs run one after another, only those whose config is given; a stage that is
# requeued holds up the next; after a failure the rest is cancelled.
source tests/slurm/common.bash
export SEPIT=tests/slurm/stand_in.sh
for each in build stage0 stage1 stage2; do echo '{}' >"$world/$each.json"; done
options=(--nodes=2 --ntasks-per-node=1 --output="$world/%x.log")

# jobs STEP…: $jobs are the numbers that pipeline.sh printed, for exactly these steps.
jobs() {
    [ "$(cut -d' ' -f2 <"$world/jobs" | tr '\n' ' ')" = "$* " ] || fail "submitted: $(cat "$world/jobs")"
    jobs=($(cut -d' ' -f1 <"$world/jobs"))
}
watch() { job=${jobs[$1]} log=$world/sepit-$2.log; }

run=$world/run
slurm/pipeline.sh "${options[@]}" build "$world/build.json" run.dir="$run" \
    stage1 "$world/stage1.json" run.dir="$world/one" train.steps=15 \
    stage2 "$world/stage2.json" run.dir="$run" train.steps=5 \
    evaluate "$world/stage2.json" run.dir="$run" >"$world/jobs" || fail "pipeline.sh"
jobs build stage1 stage2 evaluate
watch 1 stage1
run=$world/one
within 40 has_steps 3
[ "$(cat "$world/run/calls")" = "build $world/build.json" ] || fail "stage 1 began after: $(cat "$world/run/calls")"
scancel --signal=USR1 "$job"
ends_well 1 15 60
[ ! -e "$world/run/steps" ] || fail "stage 2 began before stage 1 was done"
watch 3 evaluate
within 60 has_ended
[ "$(state)" = COMPLETED ] || fail "$(story)"
printf '%s\n' "build $world/build.json" "train $world/stage2.json" "score $world/stage2.json" |
    cmp -s - "$world/run/calls" || fail "calls: $(cat "$world/run/calls")"

# A stage that fails (its watchdog, and no progress) takes those behind it with it.
SEPIT_IDLE_STARTS=1 slurm/pipeline.sh "${options[@]}" stage0 "$world/stage0.json" run.dir="$world/zero" \
    dies_at=1 stage1 "$world/stage1.json" run.dir="$world/never" >"$world/jobs" || fail "pipeline.sh"
jobs stage0 stage1
watch 0 stage0
within 40 has_ended
[ "$(state)" = FAILED ] || fail "$(story)"
watch 1 stage1
within 40 has_ended
[ "$(state)" = CANCELLED ] && [ ! -e "$world/never" ] || fail "stage 1 after a failed stage 0: $(story)"

# What is wrong is said before anything is submitted.
refuses() { # pattern words…
    local pattern=$1
    shift
    slurm/pipeline.sh "${options[@]}" "$@" >"$world/said" 2>&1
    [ $? -eq 2 ] && grep -q "$pattern" "$world/said" || fail "pipeline.sh $*: $(cat "$world/said")"
    [ -z "$(squeue -h)" ] || fail "pipeline.sh $*: submitted $(squeue -h)"
}
refuses 'usage:'
refuses 'after stage2; the order' stage2 "$world/stage2.json" stage1 "$world/stage1.json"
refuses 'after stage1; the order' stage1 "$world/stage1.json" stage1 "$world/stage1.json"
refuses 'cannot be read' build "$world/build.json" stage1 "$world/none.json"
refuses 'stage1 has no config' stage1 stage2 "$world/stage2.json"
refuses 'stage2 has no config' stage1 "$world/stage1.json" stage2
refuses 'not a step' build.json
