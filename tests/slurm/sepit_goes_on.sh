#!/usr/bin/env bash
# TEST timeout=1200 mode=release
# sepit on two nodes through slurm/train.sbatch: whatever cuts the job off, it goes on by itself, and the
# joined run has every step once, with the loss, gradient norm and tokens of the run that nothing cut off.
source tests/slurm/common.bash
make_world

# start NAME [sbatch's options…] -- words…
start() {
    local name=$1 options=()
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    sed "s/\"dir\": \"run\"/\"dir\": \"$name\"/" "$world/stage1.json" >"$world/$name.json"
    submit "$name" "${options[@]}" slurm/train.sbatch "$world/$name.json" train.steps=$steps \
        checkpoint.every=3 watchdog.least_s=20 watchdog.setup_s=60 "$@"
    begun=$SECONDS
}
lines() { wc -l 2>/dev/null <"$run/metrics.jsonl" || echo 0; }
has_trained() { [ "$(lines)" -ge "$1" ]; }
# A process of this run, on whichever node.
a_rank() { pgrep -f "^$SEPIT train $run.json" | tail -n 1; }

# whole STEPS: the run of so many steps that nothing cuts off, which the next ones are compared with.
whole() {
    steps=$1
    start "whole$steps" --
    within 300 has_ended
    [ "$(state)" = COMPLETED ] || fail "uninterrupted: $(story)"
    losses "$run/metrics.jsonl" >"$world/whole.values"
    [ "$(wc -l <"$world/whole.values")" = "$steps" ] || fail "uninterrupted: $(lines) lines"
    echo "$steps steps, uninterrupted: $((SECONDS - begun)) s"
}

# same WHAT RESTARTS: the job comes to its end by itself, with so many restarts (or some), and goes on
# from checkpoints to the whole run's values.
same() {
    within 300 has_ended
    [ "$(state)" = COMPLETED ] || fail "$1: not COMPLETED: $(story)"
    [ "$(field Restarts)" = "$2" ] || { [ "$2" = some ] && [ "$(field Restarts)" -gt 0 ]; } ||
        fail "$1: expected $2 restarts: $(story)"
    losses "$run/metrics.jsonl" | cmp -s - "$world/whole.values" ||
        fail "$1: not the values of the whole run: $(losses "$run/metrics.jsonl" | diff - "$world/whole.values"); $(story)"
    [ "$(grep -c "^$job " "$run/starts.txt")" -gt 1 ] || fail "$1: starts.txt: $(cat "$run/starts.txt")"
    grep -qE "continuing after step [1-9][0-9]* " "$log" || fail "$1: it began anew: $(story)"
    echo "$1: $((SECONDS - begun)) s"
}

whole 16
start usr1 --
within 60 has_trained 4
scancel --signal=USR1 "$job"
same "scancel --signal=USR1" 1

start requeued --
within 60 has_trained 5
scontrol requeue "$job"
same "scontrol requeue" 1

start mpirun --export=ALL,SEPIT_LAUNCH=mpirun --
within 60 has_trained 4
scancel --batch --signal=USR1 "$job"
same "mpirun, the shell gets USR1" 1

start killed --
within 60 has_trained 4
kill -9 "$(a_rank)"
same "a rank killed" 0

start hung --
within 60 has_trained 4
kill -STOP "$(a_rank)"
same "a rank that hangs" 1

start node --
within 60 has_trained 4
tests/slurm/cluster.sh fail "$cluster" n2
within 60 node_is n2 down
tests/slurm/cluster.sh revive "$cluster" n2
same "a node dies" 1

whole 150
start limit --time=1 --signal=USR1@40 --
same "time limit" some
grep -q 'exit 75' "$log" || fail "it was not stopped by a signal: $(story)"

# The ranks and the script live on, out of Slurm's sight; they give way to the job's new start.
start lost --
within 60 has_trained 4
tests/slurm/cluster.sh lose "$cluster" n1
within 60 node_is n1 down
tests/slurm/cluster.sh revive "$cluster" n1
same "slurmd of the script's node killed" 1
