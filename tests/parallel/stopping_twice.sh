#!/usr/bin/env bash
# TEST timeout=120 mode=release
# Real signals to a job under mpirun: to mpirun, to one rank, once and twice. Once ends all ranks by
# agreement with status 75; twice within ten seconds ends them all at once with status 1.
set -u
program=$SEPIT_BUILD/tests/parallel/stopping_signals
root=$(mktemp -d) && trap 'rm -rf "$root"' EXIT
fail() { echo "$1"; cat "$root/said"; kill -9 "$job" 2>/dev/null; exit 1; }
set -m # else the shell starts background jobs deaf to SIGINT

# begin STEP_SECONDS: a job on three ranks; returns when all of them catch signals.
begin() {
    rm -f "$root"/pid.*
    timeout -k 2 60 mpirun -n 3 "$program" "$root" "$1" >"$root/said" 2>&1 </dev/null &
    job=$!
    local rank
    for rank in 0 1 2; do
        for ((i = 0; i < 1500; i++)); do [ -s "$root/pid.$rank" ] && break; sleep 0.02; done
        process[rank]=$(cat "$root/pid.$rank") || fail "rank $rank did not start"
    done
    launcher=$(ps -o ppid= -p "${process[0]}" | tr -d ' ')
}
lives() { # a process that is not merely waiting for its parent to ask how it ended
    local state=$(ps -o stat= -p "$1")
    [ -n "$state" ] && [ "${state:0:1}" != Z ]
}
# ends WHAT CODE SECONDS PATTERN: how the job ends, and that no rank is left.
ends() {
    local start=$SECONDS
    wait "$job"
    local code=$?
    [ $code -eq "$2" ] || fail "$1: exit status $code, want $2"
    [ $((SECONDS - start)) -le "$3" ] || fail "$1: it took $((SECONDS - start)) s"
    grep -qE "$4" "$root/said" || fail "$1: not said: $4"
    for rank in 0 1 2; do
        while lives "${process[rank]}"; do
            [ $((SECONDS - start)) -le "$3" ] || fail "$1: rank $rank goes on"
            sleep 0.05
        done
    done
}

for victim in 0 2; do
    for signal in USR1 TERM INT; do
        begin 0.05
        kill -$signal "${process[victim]}"
        ends "$signal to rank $victim" 75 10 "^ended: rank $victim: SIG$signal asks to stop"
    done
done
begin 0.05
kill -USR1 "$launcher"
ends "USR1 to mpirun" 75 10 "^ended: SIGUSR1 asks to stop"
begin 0.05
touch "$root/STOP"
ends "STOP" 75 10 "^ended: rank 0: the file $root/STOP asks to stop"
[ ! -e "$root/STOP" ] || fail "STOP is still there"

begin 30
kill -USR1 "${process[1]}"
sleep 2
kill -TERM "${process[1]}"
ends "twice to rank 1" 1 10 "^error: rank 1: SIGTERM: the second signal within 10 s"
begin 30
kill -USR1 "$launcher"
sleep 2
kill -USR1 "$launcher"
ends "twice to mpirun" 1 10 "SIGUSR1: the second signal within 10 s"
begin 30
kill -INT "$launcher"
ends "Ctrl-C" 1 10 "^SIGTERM: when mpirun ends a job"
