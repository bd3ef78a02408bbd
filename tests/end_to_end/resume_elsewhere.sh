#!/usr/bin/env bash
# TEST timeout=240 mode=release
# One run on four layouts in turn: a STOP file that lies there already ends each start after one step
# with a checkpoint and status 75, and the next goes on with other ranks and expert groups. With
# exact sums losses, norms, expert loads and weights are those of a run that was never stopped, with
# checkpoints written at once or beside training; without them they agree to 1e-5.
source tests/end_to_end/common.bash
make_world
make_stage1 3
stage2_words="init.all=$world/stage1 train.lr_encoder=0 moe.experts=4 train.steps=8 compute.dtype=fp32"
digests() { grep -oE '"name":"/(model|optimizer)[^}]*"' "${1%.h5}.json" | sed 's/"offset":[0-9]*,//'; }
tail_of() { sed -E 's/.*("loss": .*"grad_norm": [^,]*,).*("expert_load": .*"dropped").*/\1 \2/' "$1"; }

wander() { # name, words…: one step on each of four layouts, the rest on a fifth
    local name=$1 layout n ep
    shift
    for layout in 4,4 2,2 4,2 1,1; do
        IFS=, read -r n ep <<<"$layout"
        mkdir -p "$world/run" && touch "$world/run/STOP"
        attempt "$n" train "$world/stage1.json" $stage2_words parallel.ep="$ep" "$@"
        [ "$code" = 75 ] || fail "$name on $layout: exit $code, expected 75: $(tail -n 4 "$world/said")"
        grep -q 'stopped after step .*which is saved: .*STOP asks to stop' "$world/said" ||
            fail "$name on $layout does not say why it ends: $(tail -n 2 "$world/said")"
        [ ! -e "$world/run/STOP" ] || fail "STOP is still there"
    done
    attempt 2 train "$world/stage1.json" $stage2_words parallel.ep=1 "$@"
    [ "$code" = 0 ] && grep -q 'continuing after step 4' "$world/said" || fail "$name: $(tail -n 4 "$world/said")"
    mv "$world/run" "$world/$name"
}
alone() { # name, words…
    attempt 1 train "$world/stage1.json" $stage2_words "${@:2}"
    [ "$code" = 0 ] || fail "$1: exit $code: $(tail -n 4 "$world/said")"
    mv "$world/run" "$world/$1"
}
alone still
wander at_once
wander beside checkpoint.mode=beside
for name in at_once beside; do
    cmp <(tail_of "$world/still/metrics.jsonl") <(tail_of "$world/$name/metrics.jsonl") || fail "$name: other losses"
    cmp <(digests "$world/still/checkpoints/step_00000008.h5") \
        <(digests "$world/$name/checkpoints/step_00000008.h5") || fail "$name: other weights"
done
[ "$(digests "$world/still/checkpoints/step_00000008.h5" | wc -l)" -gt 20 ] || fail "no digests to compare"
wander loose parallel.exact=off
near 1e-5 2 <(losses "$world/loose/metrics.jsonl") <(losses "$world/still/metrics.jsonl") || fail "plain sums"
