#!/usr/bin/env bash
# TEST timeout=120 mode=release,asan
# A rank that fails inside a layer of experts, while the others wait for its rows, ends all ranks
# within seconds, with its own sentence and a failure.
set -u
program=$SEPIT_BUILD/tests/parallel/moe_fault
log=$(mktemp) && trap 'rm -f "$log"' EXIT
fail() { echo "$1"; cat "$log"; exit 1; }

for case in "2 moe-0:1" "2 moe-2:0" "4 moe-1:3"; do
    read -r ranks fault <<<"$case"
    SEPIT_FAULT=$fault timeout 30 mpirun -n "$ranks" "$program" >"$log" 2>&1
    code=$?
    [ $code -eq 1 ] || fail "$fault on $ranks ranks: exit status $code, want 1"
    point=${fault%:*} rank=${fault#*:}
    said="SEPIT_FAULT made $point fail on purpose"
    [ "$rank" -gt 0 ] && said="rank $rank: $said"
    grep -q "^error: $said" "$log" || fail "$fault: the sentence of rank $rank is missing"
done
# A layer that is not there, a rank that is not there: nothing fails.
for fault in moe-3:0 moe-0:2 kill-moe-0:2; do
    SEPIT_FAULT=$fault timeout 30 mpirun -n 2 "$program" >"$log" 2>&1 || fail "$fault failed"
done
