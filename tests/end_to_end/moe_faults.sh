#!/usr/bin/env bash
# TEST timeout=300 mode=release
# What can go wrong with experts spread over ranks. A rank that fails or dies inside a layer, while
# the others wait for its rows, ends all of them at once with its sentence; layouts that cannot be,
# settings without sense and checkpoints of another model end in a sentence and exit code 2 on every
# rank; and all tokens at one expert of four is no fault: it trains, alike on any layout.
source tests/end_to_end/common.bash
make_world
make_stage1 3
w=$world
experts="init.all=$w/stage1 moe.experts=4 train.lr_encoder=0"

# ---- a rank that fails in the middle of a step ----

# ends RANKS EP FAULT CODE PATTERN WORDS…: mpirun ends by itself with CODE, said PATTERN, and leaves
# no process behind.
ends() {
    local n=$1 ep=$2 fault=$3 want=$4 pattern=$5 code tries=0
    shift 5
    SEPIT_FAULT=$fault timeout -k 2 30 mpirun -n "$n" "$SEPIT" train "$w/stage1.json" \
        run.dir="$w/out/run" train.steps=2 moe.experts=4 parallel.ep="$ep" "$@" >"$w/said" 2>&1
    code=$?
    [ $code = "$want" ] && grep -q "^error: rank $pattern" "$w/said" ||
        fail "$fault on $n ranks: exit $code, expected $want and \"rank $pattern\"; it said: $(cat "$w/said")"
    while pgrep -f "run.dir=$w/out/run" >"$w/left" && [ $((tries += 1)) -lt 20 ]; do sleep 0.2; done
    [ ! -s "$w/left" ] || fail "$fault on $n ranks: processes stay: $(cat "$w/left")"
    [ ! -e "$w/out/run/metrics.jsonl" ] || [ ! -s "$w/out/run/metrics.jsonl" ] ||
        fail "$fault on $n ranks: a step was made: $(cat "$w/out/run/metrics.jsonl")"
    rm -rf "$w/out"
}
on_purpose='SEPIT_FAULT made moe-. fail on purpose'
for case in "2 2 moe-0:1" "4 4 moe-1:2" "4 2 moe-1:3" "4 1 moe-0:2"; do
    read -r n ep fault <<<"$case"
    ends "$n" "$ep" "$fault" 1 "${fault#*:}: $on_purpose"
    grep -q '^experts: 4 in each of 2 layers' "$w/said" || fail "$fault: it did not come to the step"
done
ends 2 2 moe-1:1 1 "1: $on_purpose" init.all="$w/stage1" # while the receipt of upcycling is made
ends 4 2 kill-moe-1:3 137 '3: SEPIT_FAULT kills rank 3 at moe-1'

# ---- layouts and settings ----

refuse_stage2() { refuse "$1" 2 "$2" train "$w/stage1.json" run.dir="$w/out/run" $experts "${@:3}"; }
refuse_stage2 3 'parallel.ep is 2, but 3 ranks cannot form expert groups of 2' parallel.ep=2
refuse_stage2 2 'but 2 ranks cannot form expert groups of 4; with 4 experts parallel.ep may be 1, 2 here' parallel.ep=4
refuse_stage2 3 'the 4 experts of a layer cannot be shared evenly by 3 ranks' parallel.ep=3
refuse_stage2 2 'parallel.ep is 0, but must lie' parallel.ep=0
refuse 2 2 'parallel.ep is 2, but this model has no experts' train "$w/stage1.json" run.dir="$w/out/run" parallel.ep=2
refuse_stage2 4 'train.chunks is 2, but there are 4 ranks' parallel.ep=4 train.chunks=2
refuse_stage2 2 'moe.top_k is 5; it must be .* at most moe.experts \(4\)' moe.top_k=5
refuse_stage2 0 'moe.top_k is 17, but must lie between 1 and 16' moe.top_k=17
refuse_stage2 2 'moe.experts is 1025, but must lie' moe.experts=1025
for layers in often 2 1-0 0,,1 -1 0-2 '0 x' ''; do
    refuse_stage2 2 "moe.layers is \"$layers\"; it must be all, odd, even, or numbers" moe.layers="$layers"
done
refuse_stage2 0 'moe.balance is "sometimes", but must be' moe.balance=sometimes
refuse_stage2 2 'moe.jitter is 0: ties go to the lowest expert.*set moe.jitter' moe.upcycle=exact

# ---- what stage 2 starts from ----

refuse_stage2 2 'init.all is .*none: No such file' init.all="$w/none"
refuse_stage2 2 'init.all is .*tokenizer.model, which is neither' init.all="$w/tokenizer.model"
refuse_stage2 2 'there is no checkpoint in .*traces' init.all="$w/traces"
refuse_stage2 4 'dataset' init.all="$w/dataset.h5" parallel.ep=2
refuse_stage2 2 'linear_1.weight is 48 × 32, but the config.s model.* make it 64 × 32' model.llm.width=64
cp -r "$w/stage1" "$w/damaged"
file=$w/damaged/checkpoints/step_00000003.h5
printf 'XXXX' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc 2>/dev/null
refuse_stage2 2 'none of them is whole' init.all="$w/damaged"
refuse_stage2 2 'step_00000003.h5' init.all="$file"

# ---- a model with experts and one without do not continue each other ----

stage2 2 2 moe train.steps=2
train() { refuse "$1" 2 "$2" train "$w/stage1.json" train.steps=9 "${@:3}"; }
differs() { # the difference that is named, words…
    train 2 'set back what is listed here' "${@:2}"
    grep -qE "^  $1" "$world/said" || fail "not \"$1\": $(cat "$world/said")"
}
same_before() { cat "$w/moe/config.json" "$w/moe/metrics.jsonl" "$w/stage1/config.json"; }
before=$(same_before)
differs 'moe.experts: 4 → 0' run.dir="$w/moe"
differs 'moe.experts: 0 → 4' run.dir="$w/stage1" moe.experts=4 parallel.ep=2
differs 'moe.experts: 4 → 8' run.dir="$w/moe" moe.experts=8 parallel.ep=2
differs 'moe.layers: .*all.* → .*0' run.dir="$w/moe" moe.experts=4 moe.layers=0
[ "$before" = "$(same_before)" ] || fail "a refused run changed the run folder"
train 2 'the checkpoint holds experts, but moe.experts is 0' run.dir="$w/out/run" init.all="$w/moe"
train 2 'mlp.gate.weight is 4 × 48, but .* make it 2 × 48' run.dir="$w/out/run" init.all="$w/moe" moe.experts=2
refuse 2 2 'no tensor .*mlp.gate_proj.weight: it holds another' score "$w/stage1.json" run.dir="$w/moe" --limit 1

# ---- all tokens at one expert: slow, and right ----

hot="moe.force=hot moe.experts=4 train.steps=8"
stage2 1 1 hot $hot
for layout in "2 2" "4 4"; do
    read -r n ep <<<"$layout"
    stage2 "$n" "$ep" "hot-$ep" $hot
    cmp "$w/hot.values" "$w/hot-$ep.values" || fail "hot on $n ranks, parallel.ep=$ep: losses or norms"
    [ "$(grep -cF '"expert_load": [[1.00000, 0.00000, 0.00000, 0.00000], [1.00000' "$w/hot-$ep/metrics.jsonl")" = 8 ] ||
        fail "hot on $n ranks: the first expert did not get every token: $(tail -n 1 "$w/hot-$ep/metrics.jsonl")"
done
stage2 4 4 full $hot moe.capacity=1.25 # a quarter of the tokens, times 1.25, have room
awk -F'"dropped": ' '{split($2, v, ","); if (v[1] < 0.68 || v[1] > 0.6875) bad = 1} END {exit bad || NR != 8}' \
    "$w/full/metrics.jsonl" || fail "hot with a capacity: $(tail -n 1 "$w/full/metrics.jsonl")"
echo "$refused refusals as they should be"
