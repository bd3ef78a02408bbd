# Sourced by the tests of this folder: a small world made of real entries, in a folder of its own.
# After `make_world`: $world/dataset.h5, tokenizer.model, stage1.json (a tiny model) and traces/.
set -u
fail() { echo "failed: $*" >&2; exit 1; }
skip() { echo "skipped, because $*"; exit 77; }
entries=/usr/share/EMBOSS/test/swiss/seq.dat
[ -r "$entries" ] || skip "the package emboss-test is not installed"
command -v spm_train >/dev/null || skip "the package sentencepiece is not installed"
world=$(mktemp -d) || fail "no temporary folder"
trap 'rm -rf "$world"' EXIT

# sepit on N ranks: ranks N words…
ranks() { local n=$1; shift; mpirun -n "$n" "$SEPIT" "$@"; }

make_world() {
    mkdir "$world/traces"
    awk -v N=30 -v OUT="$world/traces" -f configs/demo/traces.awk "$entries" || fail "no traces"
    # The first 40 entries, and one that says nothing about itself.
    awk '/^ID/ {n++} n <= 40' "$entries" >"$world/entries.dat"
    awk '/^ID/ {n++} n == 41 && !/^(CC|KW|FT|DR|DE)/' "$entries" >>"$world/entries.dat"
    cat >"$world/build.json" <<JSON
{"build": {"entries": ["entries.dat"], "structures": ["traces"]}, "data": {"path": "dataset.h5"}}
JSON
    ranks 2 build "$world/build.json" >"$world/build.log" 2>&1 || fail "build: $(cat "$world/build.log")"
    "$SEPIT" inspect "$world/dataset.h5" --text >"$world/corpus.txt" || fail "inspect --text"
    spm_train --input="$world/corpus.txt" --model_prefix="$world/tokenizer" --vocab_size=600 \
        --model_type=bpe --byte_fallback=true --character_coverage=1.0 \
        --normalization_rule_name=identity --remove_extra_whitespaces=false \
        --max_sentence_length=100000 --hard_vocab_limit=false --minloglevel=2 >/dev/null 2>&1 ||
        fail "spm_train"
    cat >"$world/stage1.json" <<JSON
{"run": {"dir": "run", "seed": 3},
 "data": {"path": "dataset.h5", "tokenizer": "tokenizer.model", "max_text": 96,
          "system": "You know proteins."},
 "model": {"encoder": {"layers": 3, "width": 32, "heads": 4, "ffn": 64},
           "llm": {"layers": 2, "width": 48, "heads": 4, "kv_heads": 2, "ffn": 96}},
 "train": {"steps": 10, "global_batch": 12, "chunks": 8, "lr": 3e-3, "lr_encoder": 1, "lr_llm": 1}}
JSON
}
