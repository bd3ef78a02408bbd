#!/usr/bin/env bash
# TEST timeout=400 mode=release
# slurm/train.sbatch at the time limit: with --signal every rank hears USR1 before it and the job goes
# on in a new one; a program that does not stop in time is ended by Slurm, and the job goes on, too.
source tests/slurm/common.bash

train early --time=1 --signal=USR1@15 -- train.steps=220
within 90 test -s "$run/signals"
within 5 grep -q '1 USR1' "$run/signals"
! grep -q TERM "$run/signals" || fail "TERM came before the run had stopped: $(cat "$run/signals")"
ends_well some 220 200 # Slurm may ask up to a minute early, so one restart or more
grep -q 'job [0-9]*, restart 1, ' "$log" || fail "it was never cut off: $(story)"

train late --time=1 --signal=USR1@1 -- train.steps=1000 checkpoint.every=10 deaf=on step_s=0.25
within 150 has_restarted
grep -q 'time limit reached before' "$log" || fail "the cause is not in the log: $(story)"
within 10 grep -q 'restart 1, .*newest checkpoint: step [1-9]' "$log"
