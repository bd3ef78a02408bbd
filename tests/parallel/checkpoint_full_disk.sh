#!/usr/bin/env bash
# TEST timeout=60 mode=release,asan
# A file system with room for one checkpoint: the second fails on all ranks, the first stays. And
# one that fills up in the middle of a save beside the training, when nothing was reserved.
set -u
tests=$SEPIT_BUILD/tests/parallel
root=$(mktemp -d) && trap 'rm -rf "$root"' EXIT
if ! unshare -m mount -t tmpfs -o size=9m tmpfs "$root" 2>/dev/null; then
    echo "skipped, because this user may not mount a tmpfs"
    exit 77
fi
# The mounts live in a name space of their own and end with it.
on_disk() { # SIZE COMMAND…
    unshare -m bash -c "mount -t tmpfs -o size=$1 tmpfs '$root' && ${*:2}"
}
on_disk 9m mpirun -n 2 "'$tests/checkpoint_failure'" full "'$root'" 1 &&
    on_disk 20m mpirun -n 2 "'$tests/checkpoint_beside'" fill "'$root'" 1
