#!/usr/bin/env bash
# TEST timeout=120 mode=release
# Killed at any point of a save, the job leaves a folder whose newest good checkpoint is found: the
# old one, or, once the data have their name, the new one. The save after that leaves no rubbish.
set -u
program=$SEPIT_BUILD/tests/parallel/checkpoint_failure
root=$(mktemp -d) && trap 'rm -rf "$root"' EXIT
failed=0
fail() {
    echo "$1"
    tail -n 20 "$root/log"
    failed=1
}
job() { mpirun -n 2 "$program" "$@" >"$root/log" 2>&1; }

job save "$root/first" 1 || fail "the first checkpoint was not saved"
for point in create:0=1 reserve:0=1 write:1=1 flush:1=1 flush:0=1 rename-file:0=1 rename-manifest:0=2 sync-folder:0=2; do
    fault=${point%=*} want=${point#*=} folder=$root/$fault
    cp -r "$root/first" "$folder"
    SEPIT_FAULT=kill-$fault job save "$folder" 2 && fail "kill-$fault: the job was not killed"
    grep -q "SEPIT_FAULT kills rank" "$root/log" || fail "kill-$fault: ended in another way"
    job resume "$folder" "$want" || fail "kill-$fault: step $want is not found, or step 3 not saved"
    [ -z "$(find "$folder" -name '*.bad-*')" ] || fail "kill-$fault: something was set aside"
    [ -z "$(find "$folder" -name '*.partial')" ] || fail "kill-$fault: a .partial stays"
done
exit $failed
