#!/usr/bin/env bash
# TEST timeout=180 mode=release
# Killed at any point of a save, at once or beside the training, the job leaves a folder whose newest
# good checkpoint is found: the old one, or, once the data have their name, the new one. So does a
# save that replaces a checkpoint of the same step, and one killed while it deletes an old one. The
# save after that leaves no rubbish.
set -u
tests=$SEPIT_BUILD/tests/parallel
root=$(mktemp -d) && trap 'rm -rf "$root"' EXIT
failed=0
fail() {
    echo "$1"
    tail -n 20 "$root/log"
    failed=1
}
job() { mpirun -n 2 "$@" >"$root/log" 2>&1; }
at_once="$tests/checkpoint_failure save" beside="$tests/checkpoint_beside begin"

killed() { # FOLDER FAULT NEWEST ROWS COMMAND…: the save of COMMAND is killed, then NEWEST is found
    local folder=$1 fault=kill-$2 want=$3 rows=$4
    shift 4
    local what="$fault, ${folder##*/}"
    SEPIT_FAULT=$fault job "$@" && fail "$what: the job was not killed"
    grep -q "SEPIT_FAULT kills rank" "$root/log" || fail "$what: ended in another way"
    "$tests/checkpoint_failure" resume "$folder" "$want" "$rows" >"$root/log" 2>&1 ||
        fail "$what: step $want is not found, or the next not saved"
    [ -z "$(find "$folder" -name '*.bad-*')" ] || fail "$what: something was set aside"
    [ -z "$(find "$folder" -name '*.partial')" ] || fail "$what: a .partial stays"
    [ "$(find "$folder" -type f | wc -l)" = 4 ] || fail "$what: $(ls "$folder")"
}

job $at_once "$root/one" 1 || fail "the first checkpoint was not saved"
cp -r "$root/one" "$root/two" && job $at_once "$root/two" 2 700 || fail "nor the second"
for way in at_once beside; do
    for point in create=1 reserve=1 write:0=1 write:1=1 written:0=1 flush:1=1 flush:0=1 rename-file=1 rename-manifest=2 sync-folder=2; do
        cp -r "$root/one" "$root/$way"
        killed "$root/$way" "${point%=*}" "${point#*=}" 1200 ${!way} "$root/$way" 2
        rm -r "${root:?}/$way"
    done
    cp -r "$root/two" "$root/retain-$way"
    killed "$root/retain-$way" retain 3 1200 ${!way} "$root/retain-$way" 3
done
# Step 2 again, with other content: the old one, then the new one.
for point in flush:0=700 rename-file=700 rename-manifest=1200 sync-folder=1200; do
    cp -r "$root/two" "$root/replace-${point%=*}"
    killed "$root/replace-${point%=*}" "${point%=*}" 2 "${point#*=}" $at_once "$root/replace-${point%=*}" 2
done
exit $failed
