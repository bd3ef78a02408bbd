#!/usr/bin/env bash
# TEST timeout=60
# A /dev/shm without room (a container's may have 64 MiB): a node's table is refused with a sentence
# on every rank, not with a hang; a checkpoint does not need it.
set -u
unshare -m mount -t tmpfs -o size=24m tmpfs /dev/shm 2>/dev/null || {
    echo "skipped, because this user may not mount a tmpfs"
    exit 77
}
root=$(mktemp -d) && trap 'rm -rf "$root"' EXIT
# The mounts live in a name space of their own and end with it.
unshare -m bash -c '
    mount -t tmpfs -o size=24m tmpfs /dev/shm || exit 1
    for ranks in 1 3; do
        timeout 20 mpirun -n $ranks "$SEPIT_BUILD/tests/parallel/node_shared_table" full || exit 1
        [ -z "$(ls /dev/shm | grep sepit)" ] || exit 1
    done
    mount -t tmpfs -o size=4k tmpfs /dev/shm || exit 1
    timeout 20 "$SEPIT_BUILD/tests/parallel/checkpoint_failure" save "$0" 1
' "$root"
