#!/usr/bin/env bash
# TEST timeout=120 mode=release
# Ctrl-C and a killed rank end the whole job within seconds, and whatever moment it was, the newest
# checkpoint under its final name is whole and the run continues from it.
source tests/end_to_end/common.bash
make_world
set -m # else the shell starts background jobs deaf to SIGINT
long="$world/stage1.json train.steps=100000 train.global_batch=2 train.chunks=2"
folder=$world/run/checkpoints

# begin: a job on two ranks that saves after every step; returns when the second checkpoint is there.
begin() {
    mpirun -n 2 "$SEPIT" train $long checkpoint.every=1 >"$world/said" 2>&1 </dev/null &
    job=$!
    local start=$SECONDS seen=$(newest)
    while [ "$(newest)" -lt $((seen + 2)) ]; do
        [ $((SECONDS - start)) -lt 40 ] || fail "no checkpoint in 40 s: $(tail -n 5 "$world/said")"
        sleep 0.02
    done
    sleep "$1"
}
newest() { # step of the newest manifest, or 0
    local last=$(ls "$folder" 2>/dev/null | grep -E '^step_[0-9]+\.json$' | tail -n 1)
    last=${last//[!0-9]/}
    echo $((10#${last:-0}))
}
ranks_of() { pgrep -P "$1"; } # mpirun's children on this machine
lives() { # a process that is not merely waiting for its parent to ask how it ended
    local state=$(ps -o stat= -p "$1")
    [ -n "$state" ] && [ "${state:0:1}" != Z ]
}

# ends: the job and all of its ranks are gone within 10 s, with a failure; then what it left is good.
ends() {
    local start=$SECONDS before=$(newest)
    local process
    for process in $job $members; do
        while lives "$process"; do
            [ $((SECONDS - start)) -lt 10 ] || { kill -9 -- -"$job" $members; fail "$1: process $process goes on after 10 s"; }
            sleep 0.05
        done
    done
    wait "$job"
    [ $? -ne 0 ] || fail "$1: exit 0"
    timeout 30 "$SEPIT" score $long --limit 1 >"$world/scored" 2>&1 || fail "$1: $(cat "$world/scored")"
    grep -qE 'damaged|skipped' "$world/scored" && fail "$1: a checkpoint is not whole: $(cat "$world/scored")"
    local step=$(sed -nE 's/^model of step ([0-9]+) .*/\1/p' "$world/scored")
    [ "$step" -ge "$before" ] || fail "$1: step $step is the newest whole one, but $before was there"
    # The next run takes up that step and clears away what was half-written.
    timeout 60 mpirun -n 2 "$SEPIT" train $long train.steps=$((step + 1)) >"$world/again" 2>&1 ||
        fail "$1, continued: $(tail -n 3 "$world/again")"
    grep -q "continuing after step $step from" "$world/again" || fail "$1: it did not continue after step $step"
    [ -z "$(find "$world/run" -name '*.partial')" ] || fail "$1: a .partial stays"
    [ "$(wc -l <"$world/run/metrics.jsonl")" = $((step + 1)) ] || fail "$1: not one line a step"
}

for pause in 0 0.017 0.05; do
    begin $pause
    members=$(ranks_of $job)
    kill -INT $job
    ends "Ctrl-C after $pause s"
done
for victim in 1 2; do
    begin 0.03
    members=$(ranks_of $job)
    kill -9 "$(sed -n ${victim}p <<<"$members")"
    ends "rank process $victim killed"
done
