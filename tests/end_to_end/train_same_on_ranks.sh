#!/usr/bin/env bash
# TEST timeout=300 mode=release,double
# Ten steps on 1, 2 and 4 ranks: loss and gradient norm have the same bits, and so have the weights
# (power-of-two layouts, exact sums). On 3 ranks, and with plain sums, the order of summation differs:
# loss and norm agree to 1e-5 at equal weights (the first step), in the double build on all ten.
source tests/end_to_end/common.bash
make_world
run() { # ranks, name, words…
    local n=$1 name=$2
    shift 2
    ranks "$n" train "$world/stage1.json" "$@" >"$world/$name.log" 2>&1 ||
        fail "train on $n ranks: $(tail -n 5 "$world/$name.log")"
    mv "$world/run" "$world/$name"
    losses "$world/$name/metrics.jsonl" >"$world/$name.values"
    [ "$(wc -l <"$world/$name.values")" = 10 ] || fail "$name: not ten steps"
}
steps=1
[[ $SEPIT_BUILD == *double* ]] && steps=10
run 1 one
run 2 two
run 4 four
cmp "$world/one.values" "$world/two.values" || fail "1 and 2 ranks differ"
cmp "$world/one.values" "$world/four.values" || fail "1 and 4 ranks differ"
for n in two four; do
    cmp "$world/one/checkpoints/step_00000010.h5" "$world/$n/checkpoints/step_00000010.h5" ||
        fail "the weights of 1 and $n ranks differ"
done
run 3 three
near 1e-5 $steps "$world/three.values" "$world/one.values" || fail "1 and 3 ranks differ by more than 1e-5"
run 2 plain parallel.exact=off
near 1e-5 $steps "$world/plain.values" "$world/one.values" || fail "plain sums differ by more than 1e-5"
awk 'NR == 1 {first = $1} {last = $1} END {exit !(last < first)}' "$world/one.values" ||
    fail "the loss does not fall"
echo "first and last step: $(sed -n '1p;10p' "$world/one.values" | tr '\n' ' ')"
