#!/usr/bin/env bash
# TEST timeout=120 mode=release
# A disk that is full, or read-only, for the dataset, the run folder, the metrics and the checkpoint:
# one sentence and exit code 1 on all ranks, before the first step where that can be known, and
# nothing half-written under its name.
if [ "${1:-}" != inside ]; then
    # The mounts live in a name space of their own and end with it.
    unshare -m true 2>/dev/null || { echo "skipped, because this user may not mount a tmpfs"; exit 77; }
    exec unshare -m bash "$0" inside
fi
source tests/end_to_end/common.bash
make_world
small=$world/small
mkdir "$small"
trap 'umount "$small" 2>/dev/null; rm -rf "$world"' EXIT
disk() { # SIZE: a new one
    umount "$small" 2>/dev/null
    mount -t tmpfs -o size="$1" tmpfs "$small" || fail "no tmpfs"
}
nothing_stays() {
    [ -z "$(find "$small" -type f)" ] || fail "left: $(find "$small" -type f)"
}
few="$world/stage1.json train.steps=3 train.global_batch=2 train.chunks=4"
train() {
    refuse "$1" 1 "$2" train $few run.dir="$small/run" "${@:3}"
    local left=$(find "$small" -name 'step_*' -o -name '*.partial')
    [ -z "$left" ] || fail "half-written: $left"
}

for size in 8k 300k 1m; do
    disk $size
    refuse 2 1 'small has .* MiB free and .* MiB are needed; free some space' build "$world/build.json" \
        data.path="$small/x.h5"
    nothing_stays
done

# A quota, or another job that fills the disk in that moment: the free space that was promised is
# not there. HDF5 must never be the one to find out: it crashes at the end of the program.
cat >"$world/promise.c" <<'C'
#include <sys/statvfs.h>
int statvfs(const char *path, struct statvfs *info) {
    (void)path;
    *info = (struct statvfs){.f_frsize = 4096, .f_bavail = 1 << 30};
    return 0;
}
C
gcc -shared -fPIC -o "$world/promise.so" "$world/promise.c" || fail "gcc"
export LD_PRELOAD=$world/promise.so
for ranks in 0 2; do
    disk 8k
    refuse $ranks 1 'cannot reserve the space of .*x.h5.partial: No space left' build "$world/build.json" data.path="$small/x.h5"
    nothing_stays
    disk 100k
    train $ranks 'cannot reserve the space of .*step_00000003.h5.partial: No space left'
done
unset LD_PRELOAD

# No room for a checkpoint: known before the first step.
disk 2m
train 2 'no room for a checkpoint: .*run/checkpoints has .* MiB free and .* MiB are needed'
grep -q 'no room for a checkpoint' "$small/run/log.txt" || fail "log.txt does not say why the run ended"
[ ! -s "$small/run/metrics.jsonl" ] || fail "it trained in vain"

# No room for anything: the config.json that was there before stays whole.
disk 1m
mkdir "$small/run"
echo '{"before": 1}' >"$small/run/config.json"
head -c 2m /dev/zero >"$small/fill" 2>/dev/null
train 0 'cannot write .*run/(config.json.partial|watchdog/heartbeat_[^ ]*): No space left on device; free some space'
[ "$(cat "$small/run/config.json")" = '{"before": 1}' ] || fail "config.json was overwritten"

# The disk fills while the run goes on: after the second checkpoint, there is no room for a third.
disk 12m
start=$(date +%s)
(while [ ! -e "$small/run/checkpoints/step_00000001.json" ] && [ $(($(date +%s) - start)) -lt 30 ]; do sleep 0.02; done
    head -c 20m /dev/zero >"$small/fill") 2>/dev/null &
attempt 2 train $few run.dir="$small/run" checkpoint.every=1 train.steps=400
wait
[ "$code" = 1 ] && grep -qE '^error: .*(checkpoint of step [0-9]+ was not saved: .*small/run/checkpoints has .* free|cannot write .*small/run/metrics.jsonl: No space left on device; make room)' "$world/said" &&
    ! grep -qE "$noise" "$world/said" || fail "filling up: exit $code, $(tail -n 3 "$world/said")"
[ -z "$(find "$small" -name '*.partial')" ] || fail "a .partial stays"
rm "$small/fill"
attempt 2 score $few run.dir="$small/run" --limit 1
[ "$code" = 0 ] && ! grep -q damaged "$world/said" || fail "the checkpoint before is not whole: $(cat "$world/said")"

# Read-only: nothing can be trained, but what is there can be asked.
mount -o remount,ro "$small" || fail "remount"
attempt 2 train $few run.dir="$small/run" train.steps=400
[ "$code" = 1 ] && grep -qE '^error: .*cannot write .*run/(log.txt|run.lock): Read-only file system; choose another run.dir' "$world/said" ||
    fail "read-only: exit $code, $(cat "$world/said")"
attempt 1 score $few run.dir="$small/run" --limit 1
[ "$code" = 0 ] || fail "score from a read-only disk: $(cat "$world/said")"
attempt 2 score $few run.dir="$small/run" --limit 1 --output "$small/scores"
[ "$code" = 2 ] && grep -q 'cannot write .*small/scores: Read-only file system' "$world/said" ||
    fail "scores on a read-only disk: exit $code, $(cat "$world/said")"
umount "$small"
echo "$refused refusals as they should be"
