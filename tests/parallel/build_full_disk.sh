#!/usr/bin/env bash
# TEST timeout=90
# A full disk ends the build on all ranks with one sentence and exit code 1, and leaves nothing.
set -u
swiss=/usr/share/EMBOSS/test/swiss/seq.dat
[ -r $swiss ] || { echo "skipped, because $swiss is not there (package emboss-test)"; exit 77; }
root=$(mktemp -d) && trap 'rm -rf "$root"' EXIT
unshare -m mount -t tmpfs -o size=1m tmpfs "$root" 2>/dev/null || {
    echo "skipped, because this user may not mount a tmpfs"
    exit 77
}
# The mount lives in a name space of its own and ends with it.
unshare -m bash -c '
    mount -t tmpfs -o size=1m tmpfs "$0" || exit 1
    for ranks in 1 3; do
        timeout 30 mpirun -n $ranks "$SEPIT" build build.entries='$swiss' data.path="$0/out.h5" >/tmp/sepit_full.$$ 2>&1
        code=$?
        cat /tmp/sepit_full.$$
        grep -q "free some space" /tmp/sepit_full.$$ && [ $code -eq 1 ] && [ -z "$(ls "$0")" ] || exit 1
        rm -f /tmp/sepit_full.$$
    done
    mount -o remount,size=8m "$0" && "$SEPIT" build build.entries='$swiss' data.path="$0/out.h5" && [ -s "$0/out.h5" ]
' "$root"
