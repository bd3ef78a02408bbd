#!/usr/bin/env bash
# TEST timeout=120 mode=release
# A chunk whose numbers go bad on one rank: the step is skipped on all ranks, counted, and its
# samples are named, the same ones on any layout; several in a row end the run with a checkpoint and
# a report, and the run continues from there.
source tests/end_to_end/common.bash
make_world
steps_of() { sed -E 's/.*"step": ([0-9]+),.*"skipped": ([a-z]*),.*/\1 \2/' "$1" | tr '\n' ';'; }
for n in 1 2 4; do
    export SEPIT_FAULT=nan-5-3
    attempt $n train "$world/stage1.json" run.dir="$world/one$n" train.steps=5
    unset SEPIT_FAULT
    [ "$code" = 0 ] || fail "$n ranks: exit $code: $(cat "$world/said")"
    [ "$(steps_of "$world/one$n/metrics.jsonl")" = "1 false;2 false;3 true;4 false;5 false;" ] ||
        fail "$n ranks: $(steps_of "$world/one$n/metrics.jsonl")"
    losses "$world/one$n/metrics.jsonl" >"$world/values.$n"
    grep -A1 '^step 3: loss nan, gradient norm nan' "$world/one$n/log.txt" | tail -n 1 >"$world/names.$n"
    grep -qE "^  chunk 5 of rank $((5 * n / 8)), whose loss is not finite: [A-Z0-9]+ caption [0-9]+" "$world/names.$n" ||
        fail "$n ranks name: $(cat "$world/one$n/log.txt")"
    sed -i 's/rank [0-9]*/rank/' "$world/names.$n"
    cmp "$world/names.1" "$world/names.$n" && cmp "$world/values.1" "$world/values.$n" || fail "$n ranks differ from one"
done

export SEPIT_FAULT=nan-6
attempt 2 train "$world/stage1.json" train.steps=9 train.bad_steps=3
unset SEPIT_FAULT
[ "$code" = 1 ] && grep -qE '^error: 3 steps in a row had a loss or gradient that is not finite.*/run/bad_steps.txt' "$world/said" ||
    fail "a row: exit $code: $(cat "$world/said")"
[ "$(grep -cE '^step [123]: ' "$world/run/bad_steps.txt")" = 3 ] && [ "$(grep -c 'chunk 6 of rank 1' "$world/run/bad_steps.txt")" = 3 ] ||
    fail "report: $(cat "$world/run/bad_steps.txt")"
[ -e "$world/run/checkpoints/step_00000003.json" ] || fail "no checkpoint at the end: $(ls "$world/run/checkpoints")"
attempt 2 train "$world/stage1.json" train.steps=5 train.bad_steps=3
[ "$code" = 0 ] && grep -q 'continuing after step 3' "$world/said" || fail "continued: exit $code: $(cat "$world/said")"
[ "$(steps_of "$world/run/metrics.jsonl")" = "1 true;2 true;3 true;4 false;5 false;" ] || fail "$(steps_of "$world/run/metrics.jsonl")"
