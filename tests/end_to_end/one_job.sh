#!/usr/bin/env bash
# TEST timeout=120 mode=release
# Two jobs on one run folder (a name with spaces and UTF-8): the second names the first and changes
# nothing; once the first is killed, however hard, the next one starts from what it left.
source tests/end_to_end/common.bash
make_world
job=
trap '[ -z "$job" ] || { kill -9 $job $(pgrep -P $job); wait $job; } 2>/dev/null; rm -rf "$world"' EXIT
run="$world/läufe/run of ünf"
first() { # a long job; returns when its first checkpoint is there
    SLURM_JOB_ID=4711 mpirun -n 2 "$SEPIT" train "$world/stage1.json" run.dir="$run" \
        train.steps=100000 train.global_batch=2 train.chunks=2 checkpoint.every=1 \
        >"$world/first" 2>&1 </dev/null &
    job=$!
    local start=$SECONDS
    until ls "$run"/checkpoints/step_*.json >/dev/null 2>&1; do
        [ $((SECONDS - start)) -lt 40 ] || fail "no checkpoint in 40 s: $(tail -n 5 "$world/first")"
        sleep 0.05
    done
}
second() { attempt 2 train "$world/stage1.json" run.dir="$run" train.steps=2 train.global_batch=2 train.chunks=2; }

first
holder=$(pgrep -P $job | head -n 1) # rank 0
started=$(wc -l <"$run/log.txt")
second
[ "$code" = 2 ] && grep -qE "^error: (rank 0: )?another job is writing into the run folder .*run of ünf: host .*, process $holder, Slurm job 4711 \(restart 0\), since 20" "$world/said" ||
    fail "second job: exit $code: $(cat "$world/said")"
grep -qE "$noise" "$world/said" && fail "noise: $(cat "$world/said")"
[ "$(grep -c '^data: ' "$run/log.txt")" = 1 ] || fail "the second job wrote into log.txt"
grep -q '"global_batch":.*2' "$run/config.json" || fail "config.json"
kill -0 "$holder" || fail "the first job did not go on"

kill -9 "$holder"
wait $job
[ $? -ne 0 ] || fail "a killed job: exit 0"
job=
[ -s "$run/run.lock" ] || fail "a killed job left no name in run.lock: the test tests nothing"
last=$(ls "$run/checkpoints" | grep -E '^step_[0-9]+\.json$' | tail -n 1)
last=$((10#${last//[!0-9]/}))
attempt 2 train "$world/stage1.json" run.dir="$run" train.steps=$((last + 3)) train.global_batch=2 train.chunks=2
[ "$code" = 0 ] && grep -q "continuing after step" "$world/said" || fail "after the kill: exit $code: $(cat "$world/said")"
[ ! -s "$run/run.lock" ] || fail "a job that is done still stands in run.lock"
