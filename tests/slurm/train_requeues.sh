#!/usr/bin/env bash
# TEST timeout=400 mode=release
# slurm/train.sbatch with a stand-in program: a job that got USR1, whose watchdog fired, or that was
# requeued goes on by itself; one that was cancelled or told to STOP stays down.
source tests/slurm/common.bash

train usr1 -- train.steps=20
within 40 has_steps 3
scancel --signal=USR1 "$job"
ends_well 1 20 60
[ "$(sort -u "$run/signals" | tr '\n' ' ')" = "0 USR1 1 USR1 " ] || fail "USR1 reached: $(cat "$run/signals")"
grep -q 'exit 75 (stopped by a signal' "$log" || fail "the cause is not in the log: $(story)"

train hang -- train.steps=12 checkpoint.every=2 hang_at=5
ends_well 1 12 60
grep -q 'exit 76 (hung' "$log" || fail "the cause is not in the log: $(story)"

train requeue -- train.steps=20
within 40 has_steps 3
scontrol requeue "$job" || fail "scontrol requeue"
ends_well 1 20 60

# The shell alone gets the signal, as with --signal=B:USR1@….
train batch -- train.steps=20
within 40 has_steps 3
scancel --batch --signal=USR1 "$job"
ends_well 1 20 60

train mpirun --export=ALL,SEPIT_LAUNCH=mpirun -- train.steps=20
within 40 has_steps 3
scancel --batch --signal=USR1 "$job"
ends_well 1 20 60

train cancelled -- train.steps=100
within 40 has_steps 3
scancel "$job"
within 30 has_ended
sleep 3
[ "$(state) $(field Restarts)" = "CANCELLED 0" ] || fail "a cancelled job came back: $(story)"

train stop -- train.steps=100
within 40 has_steps 3
touch "$run/STOP"
within 40 has_ended
[ "$(state) $(field Restarts) $(field ExitCode)" = "FAILED 0 75:0" ] || fail "a run with STOP came back: $(story)"
