#!/usr/bin/env bash
# TEST timeout=200 mode=release
# What the log says about exact sums and threads is true: a run repeats its bits on the same number
# of threads, and on another number too where it says so; a rank on which products come out otherwise
# (here: more threads than the others have) is named.
source tests/end_to_end/common.bash
make_world
values() { sed -E 's/.*"loss": ([^,]*),.*"grad_norm": ([^,]*),.*/\1 \2/' "$1/metrics.jsonl"; }
run() { # threads, name
    OMP_NUM_THREADS=$1 ranks 1 train "$world/stage1.json" train.steps=3 compute.dtype=fp32 \
        >"$world/$2.log" 2>&1 || fail "train on $1 threads: $(tail -n 3 "$world/$2.log")"
    mv "$world/run" "$world/$2"
}
run 1 one
run 1 again
run 2 two
grep -q '^exact sums:' "$world/one.log" || fail "nothing is said about exact sums"
[ "$(values "$world/one")" = "$(values "$world/again")" ] || fail "the same run gave other bits"
if grep -q 'on any threads' "$world/one.log"; then
    [ "$(values "$world/one")" = "$(values "$world/two")" ] || fail "threads matter, but were said not to"
else
    OMP_NUM_THREADS=1 mpirun -n 2 "$SEPIT" train "$world/stage1.json" train.steps=1 compute.dtype=fp32 \
        : -n 1 -x OMP_NUM_THREADS=2 "$SEPIT" train "$world/stage1.json" train.steps=1 compute.dtype=fp32 \
        >"$world/odd.log" 2>&1 || fail "ranks with unequal threads: $(tail -n 3 "$world/odd.log")"
    grep -q 'warning: rank 2 computes' "$world/odd.log" || fail "the odd rank is not named: $(cat "$world/odd.log")"
fi
grep '^exact sums:' "$world/one.log"
