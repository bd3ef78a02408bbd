#!/usr/bin/env bash
# TEST timeout=180 mode=release
# A run that continues with another config: what breaks it is refused, all of it in one list and
# before anything changes; what does not is accepted with a line each. Dataset and tokenizer may
# move, not change.
source tests/end_to_end/common.bash
make_world
train() { attempt 2 train "$world/stage1.json" train.steps=6 "$@"; }
says() { grep -qF -- "$1" "$world/said" || fail "it did not say \"$1\": $(cat "$world/said")"; }
refused() { # words of the list…; what is in the run folder stays as it was
    [ "$code" = 2 ] || fail "exit $code, expected 2: $(cat "$world/said")"
    local line
    for line in "$@"; do says "$line"; done
    grep -qE "$noise" "$world/said" && fail "noise: $(cat "$world/said")"
    cmp "$world/before.json" "$world/run/config.json" || fail "config.json has changed"
    [ "$(wc -l <"$world/run/metrics.jsonl")" = "$lines" ] || fail "metrics.jsonl has changed"
}
accepted() {
    [ "$code" = 0 ] || fail "exit $code: $(cat "$world/said")"
    local line
    for line in "$@"; do says "$line"; done
    cp "$world/run/config.json" "$world/before.json"
    lines=$(wc -l <"$world/run/metrics.jsonl")
}

train train.steps=4
accepted
train model.llm.width=64 model.encoder.layers=4 run.seed=4 train.global_batch=16 data.group=2 moe.experts=4 train.lr=1e-3
refused "model.llm.width: 48 → 64" "model.encoder.layers: 3 → 4" "run.seed: 3 → 4" "train.global_batch: 8 → 16" \
    "data.group: 4 → 2" "moe.experts: 0 → 4" "set back what is listed here"
grep -qF 'train.lr' "$world/said" && fail "train.lr does not break a run: $(cat "$world/said")"

# Harmless ones, some that alter the run, one that comes too late.
train train.lr=1e-3 checkpoint.every=5 train.chunks=4 init.all="$world/run"
accepted "changed since the checkpoint: train.lr: 0.003 → 0.001: accepted; the run goes on, but not as it would have" \
    "train.steps: 4 → 6: accepted" "checkpoint.every: 0 → 5: accepted; no result depends on it" "train.chunks: 8 → 4: accepted" \
    "accepted, but without effect" "the learning rate of step 5 is now 0.0004; it would have been 0"
[ "$lines" = 6 ] || fail "$lines lines of metrics after six steps"
train train.lr=1e-3 checkpoint.every=5 train.chunks=4 init.all="$world/run"
accepted "nothing to do"
grep -qF 'changed since' "$world/said" && fail "nothing has changed: $(cat "$world/said")"

# Moved, the inputs are the same ones.
mkdir "$world/ein ordner"
cp "$world/dataset.h5" "$world/ein ordner/ü.h5"
cp "$world/tokenizer.model" "$world/ein ordner/t.model"
train train.steps=7 data.path="$world/ein ordner/ü.h5" data.tokenizer="$world/ein ordner/t.model"
accepted "data.path: " "data.tokenizer: "

# Another tokenizer of the same size, and a dataset that lacks its last entry or one letter.
spm_train --input="$world/entries.dat" --model_prefix="$world/other" --vocab_size=600 --model_type=bpe \
    --byte_fallback=true --character_coverage=1.0 --max_sentence_length=100000 --minloglevel=2 >/dev/null 2>&1 ||
    fail "spm_train"
train train.steps=8 data.tokenizer="$world/other.model"
refused "data.tokenizer: a file with other content → $world/other.model"
cp "$world/entries.dat" "$world/kept.dat"
awk '/^ID/ {n++} n <= 39' "$world/kept.dat" >"$world/entries.dat"
ranks 2 build "$world/build.json" data.path="$world/shorter.h5" >"$world/build.log" 2>&1 || fail "build"
train train.steps=8 data.path="$world/shorter.h5"
refused "data.path: a file with other content → $world/shorter.h5"
sed '0,/^CC   -!- FUNCTION: ./s/^\(CC   -!- FUNCTION: \)./\1#/' "$world/kept.dat" >"$world/entries.dat"
cmp -s "$world/kept.dat" "$world/entries.dat" && fail "no letter has changed"
ranks 2 build "$world/build.json" data.path="$world/letter.h5" >"$world/build.log" 2>&1 || fail "build"
train train.steps=8 data.path="$world/letter.h5"
refused "data.path: a file with other content → $world/letter.h5"
