#!/usr/bin/env bash
# TEST timeout=300 mode=release
# slurm/train.sbatch stops requeuing when three starts in a row wrote no newer checkpoint, and only then.
source tests/slurm/common.bash

train stuck -- train.steps=20 checkpoint.every=5 dies_at=7 step_s=0.05
within 120 has_ended
# Start 0 saves step 5; starts 1, 2 and 3 do not get further.
[ "$(state) $(field Restarts) $(field ExitCode)" = "FAILED 3 76:0" ] || fail "$(story)"
grep -q '3 starts in a row wrote no checkpoint after step 5' "$log" || fail "the cause is not in the log: $(story)"
