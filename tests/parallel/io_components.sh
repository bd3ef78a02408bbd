#!/usr/bin/env bash
# TEST timeout=120 mode=release
# Checkpoints and datasets are written by pwrite and read by pread: the program asks neither MPI-IO
# nor HDF5's MPI driver for anything, and works under OMPIO, under ROMIO, and with neither.
set -u
calls=$(nm -u "$SEPIT" | grep -E ' (P?MPI_File_|H5Pset_f?dxpl_mpio|H5Pset_fapl_mpio)')
[ -z "$calls" ] || { echo "the program calls $calls"; exit 1; }
log=$(mktemp) && trap 'rm -f "$log"' EXIT
for component in ompio romio321 ^ompio,romio321; do
    for test in checkpoint_round_trip checkpoint_beside build_same_bytes; do
        mpirun -n 2 --mca io "$component" "$SEPIT_BUILD/tests/parallel/$test" >"$log" 2>&1 && continue
        echo "$test fails with --mca io $component"
        tail -n 20 "$log"
        exit 1
    done
done
