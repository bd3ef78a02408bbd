#!/usr/bin/env bash
# TEST timeout=300 mode=release
# Ten steps at once, and six and then four from the checkpoint: same metrics, same weights, no step
# twice; also continued on another number of ranks.
source tests/end_to_end/common.bash
make_world
values() { sed -E 's/"(tokens_per_s|step_s|compute_s|comm_s|io_s|peak_bytes)": [^,}]*//g' "$1"; }
train() { ranks "$1" train "$world/stage1.json" run.dir="$world/$2" "${@:3}" >"$world/log" 2>&1; }
train 2 whole || fail "whole: $(tail -n 5 "$world/log")"
# Steps 1-6 of a ten-step schedule: stopped by an impossible seventh step is not at hand, so the
# checkpoint after step 6 is taken and everything newer removed.
train 2 parts checkpoint.every=6 || fail "parts: $(tail -n 5 "$world/log")"
rm "$world/parts/checkpoints/step_00000010".*
echo '{"step": 11, "torn' >>"$world/parts/metrics.jsonl"
cp -r "$world/parts" "$world/other"
train 2 parts || fail "parts, continued: $(tail -n 5 "$world/log")"
grep -q 'continuing after step 6' "$world/log" || fail "it did not say that it continues"
cmp <(values "$world/whole/metrics.jsonl") <(values "$world/parts/metrics.jsonl") || fail "metrics"
train 4 other || fail "on four ranks: $(tail -n 5 "$world/log")"
cmp <(values "$world/whole/metrics.jsonl") <(values "$world/other/metrics.jsonl") || fail "4 ranks"
train 2 parts || fail "a finished run: $(tail -n 5 "$world/log")"
grep -q 'nothing to do' "$world/log" || fail "a finished run was run again"
