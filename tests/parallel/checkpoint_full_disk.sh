#!/usr/bin/env bash
# TEST timeout=60 mode=release,asan
# A file system with room for one checkpoint: the second fails on all ranks, the first stays.
set -u
program=$SEPIT_BUILD/tests/parallel/checkpoint_failure
root=$(mktemp -d) && trap 'rm -rf "$root"' EXIT
if ! unshare -m mount -t tmpfs -o size=9m tmpfs "$root" 2>/dev/null; then
    echo "skipped, because this user may not mount a tmpfs"
    exit 77
fi
# The mount lives in a name space of its own and ends with it.
unshare -m bash -c "mount -t tmpfs -o size=9m tmpfs '$root' && mpirun -n 2 '$program' full '$root' 1"
