#!/usr/bin/env bash
# TEST timeout=240 mode=release
# A run that hangs ends by itself within its budget and a few seconds, with status 76, with the late
# rank named in the log and no process left, stopped or not. A slow run, a long checkpoint, a run
# that was stopped as a whole and a clock that jumps do not end.
set -u
program=$SEPIT_BUILD/tests/parallel/watchdog_job
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
run=$folder/run
fail() { echo "failed: $*"; cat "$folder/said"; head -n 99 "$run"/watchdog/[rv]*; exit 1; }

# The processes of this test's job, whatever state they are in.
ranks() {
    local p
    for p in $(grep -lx watchdog_job /proc/[0-9]*/comm 2>/dev/null); do
        p=${p%/comm}
        grep -q -a -F "$run" "$p/cmdline" 2>/dev/null && echo "${p#/proc/}"
    done
}

# job RANKS KIND RANK: sets $code and $took (whole seconds).
job() {
    mkdir -p "$run"
    local start=$SECONDS
    timeout -k 5 60 mpirun -n "$1" "$program" "$run" "$2" "$3" >"$folder/said" 2>&1
    code=$?
    took=$((SECONDS - start))
}

# ends RANKS KIND RANK PATTERN: the job ends with 76 in time and says what matches the pattern (-E).
ends() {
    rm -rf "$run"
    job "$1" "$2" "$3"
    [ $code -eq 76 ] || fail "$2: exit status $code, want 76"
    [ $took -le 25 ] || fail "$2: took $took s"
    grep -qE "^error: watchdog: .*$4" "$folder/said" || fail "$2: does not say: $4"
    grep -qE "^error: watchdog: .*$4" "$run/log.txt" || fail "$2: log.txt does not say: $4"
    [ "$(grep -c '^error: watchdog' "$run/log.txt")" = 1 ] || fail "$2: more than one verdict"
    [ -z "$(ranks)" ] || fail "$2: left the processes $(ranks)"
}

# goes_well RANKS KIND RANK
goes_well() {
    rm -rf "$run"
    job "$1" "$2" "$3"
    [ $code -eq 0 ] || fail "$2: exit status $code"
    ! grep -q "is behind" "$folder/said" || fail "$2: a false alarm"
    [ -z "$(ls "$run/watchdog")" ] || fail "$2: left files behind"
}

waits='wait in step 20, phase step, collective 40 \(second\)'
ends 4 stopped 2 "rank 2 on host [^ ]+ is behind: no sign of life .*; ranks 0-1, 3 $waits"
grep -q 'MPI_Barrier' "$run/watchdog/rank_1.txt" || fail "no stack of a rank that waits"
[ ! -e "$run/watchdog/rank_2.txt" ] || fail "a stopped rank has written"
ends 4 stopped 0 "rank 0 on host [^ ]+ is behind: no sign of life .*; ranks 1-3 $waits"

ends 4 loop 3 "rank 3 on host [^ ]+ is behind: step 20, phase step, collective 39 \(first\); ranks 0-2 $waits"
# The addresses of its stack lead to the loop.
report=$run/watchdog/rank_3.txt
if command -v addr2line >/dev/null; then
    sed -n 's/.*watchdog_job(+\(0x[0-9a-f]*\)).*/\1/p' "$report" | xargs addr2line -fe "$program" |
        grep never_come_back >/dev/null || fail "the stack of the rank that loops does not show the loop"
fi

ends 4 skip 1 "rank 1 on host [^ ]+ is (ahead|in another place)"
ends 3 setup 1 "rank 1 on host [^ ]+ is behind: step 0, phase set-up"

# The next start keeps the verdict.
job 1 none 0
[ $code -eq 0 ] && grep -q 'rank 1' "$run/watchdog_1/verdict.txt" || fail "the older verdict is gone"

# Files that block: no word, but an end.
rm -rf "$run"
job 2 fifo 1
[ $code -eq 76 ] && [ $took -le 30 ] || fail "fifo: exit status $code after $took s"

goes_well 4 late 2
for kind in slow none; do
    goes_well 4 $kind 1
    ! grep -q '^warning: watchdog' "$folder/said" || fail "$kind: taken for overdue"
done

# Stopped as a whole for longer than the budgets of step and set-up, as Slurm suspends a job.
rm -rf "$run"
job 2 slow 1 &
until ls "$run"/watchdog/heartbeat_* >/dev/null 2>&1; do sleep 0.1; done
sleep 2
stopped=$(ranks)
[ "$(wc -w <<<"$stopped")" = 2 ] || fail "the ranks were not found: $stopped"
kill -STOP $stopped
sleep 15
kill -CONT $stopped
wait $!
[ -z "$(ls "$run/watchdog")" ] || fail "a suspended job was taken for a hang"
