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
    # Forty entries of at most 220 residues, and one that says nothing about itself.
    awk '/^ID/ {keep = $(NF - 1) <= 220 && n < 40; n += keep} keep' "$entries" >"$world/entries.dat"
    awk '/^ID/ {n++} n == 100 && !/^(CC|KW|FT|DR|DE)/' "$entries" >>"$world/entries.dat"
    awk -v N=15 -v OUT="$world/traces" -f configs/demo/traces.awk "$world/entries.dat" ||
        fail "no traces"
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
 "train": {"steps": 10, "global_batch": 8, "chunks": 8, "lr": 3e-3, "lr_encoder": 1, "lr_llm": 1}}
JSON
}

# What no user should see: a library's own messages, a bug, an abort.
noise='HDF5-DIAG|MPI_ABORT|MPI_Abort|Segmentation|signal:|bug at|[.]cc[(]|LOG[(]|Sanitizer|runtime error:'

# attempt RANKS WORDS…: runs sepit on so many ranks (0: without mpirun) into $world/said; $code is
# the exit code that every rank had by itself (mpirun kills nobody here, so a rank that hangs shows).
attempt() {
    local n=$1 start=("$SEPIT") rank
    shift
    if [ "$n" -eq 0 ]; then
        timeout -k 2 60 "$SEPIT" "$@" >"$world/said" 2>&1 </dev/null
        code=$?
        return
    fi
    rm -f "$world"/code.*
    start=(bash -c '"$@"; echo $? >"$0.$OMPI_COMM_WORLD_RANK"' "$world/code" "$SEPIT")
    timeout -k 2 60 mpirun -n "$n" --mca orte_abort_on_non_zero_status 0 "${start[@]}" "$@" \
        >"$world/said" 2>&1 </dev/null
    code=$(sort -u "$world"/code.* 2>/dev/null)
    for ((rank = 0; rank < n; rank++)); do
        [ -s "$world/code.$rank" ] || code="none from rank $rank"
    done
}

# refuse RANKS CODE PATTERN WORDS…: the attempt ends with CODE on all ranks and a sentence that
# matches PATTERN (-E); no library speaks, and nothing half-written stays in $world/out, which is
# emptied afterwards.
refused=0
refuse() {
    local n=$1 want=$2 pattern=$3 left
    shift 3
    attempt "$n" "$@"
    left=$(find "$world/out" -name 'step_*' -o -name '*.h5' -o -name '*.partial' 2>/dev/null)
    [ "$code" = "$want" ] && grep -qE "^error: .*($pattern)" "$world/said" &&
        ! grep -qE "$noise" "$world/said" && [ -z "$left" ] ||
        fail "$n ranks, sepit $*: exit $code, expected $want and \"error: …$pattern…\"; left behind: ${left:-nothing}; it said: $(head -c 2000 "$world/said")"
    rm -rf "$world/out"
    refused=$((refused + 1))
}

# shrink_world: a smaller encoder, and most proteins without their structure, whose tiles are dear:
# for tests of many runs or steps.
shrink_world() {
    sed -i -e 's/"train": {/&"structure_drop": 0.75, /' \
        -e 's/"layers": 3, "width": 32, "heads": 4, "ffn": 64/"layers": 2, "width": 16, "heads": 2, "ffn": 32/' \
        "$world/stage1.json"
}

# make_stage1 STEPS WORDS…: a short stage 1 in $world/stage1, for stage 2 to start from.
make_stage1() {
    local steps=$1
    shift
    ranks 2 train "$world/stage1.json" run.dir="$world/stage1" train.steps="$steps" "$@" \
        >"$world/stage1.log" 2>&1 || fail "stage 1: $(tail -n 5 "$world/stage1.log")"
}

# stage2 RANKS EP NAME WORDS…: a mixture of four experts from $world/stage1, encoder frozen, into
# $world/NAME. All runs train in the same folder first, so that their checkpoints hold the same
# configuration but for what they are asked. NAME.values: loss, norm and supervised tokens a step.
stage2() {
    local n=$1 ep=$2 name=$3
    shift 3
    timeout -k 2 300 mpirun -n "$n" "$SEPIT" train "$world/stage1.json" init.all="$world/stage1" \
        train.lr_encoder=0 moe.experts=4 parallel.ep="$ep" "$@" >"$world/$name.log" 2>&1 ||
        fail "stage 2 on $n ranks, parallel.ep=$ep $*: $(tail -n 5 "$world/$name.log")"
    mv "$world/run" "$world/$name"
    losses "$world/$name/metrics.jsonl" >"$world/$name.values"
}

# Loss, gradient norm and supervised tokens of each line of a metrics.jsonl.
losses() {
    sed -E 's/.*"loss": ([^,]*),.*"grad_norm": ([^,]*),.*"supervised_tokens": ([^,]*),.*/\1 \2 \3/' "$1"
}

# near BOUND STEPS A B: on the first STEPS lines of these values loss and norm differ by at most
# BOUND, relative to B, and the tokens not at all. Prints the largest difference.
near() {
    paste -d' ' "$3" "$4" | head -n "$2" | awk -v bound="$1" '
        function off(x, y) { x = (x - y) / y; return x < 0 ? -x : x }
        NF != 6 || /null/ || $3 != $6 { print "step " NR ": " $0; bad = 1; next }
        { loss = off($1, $4); norm = off($2, $5) }
        loss > most { most = loss } norm > most { most = norm }
        loss > bound || norm > bound { print "step " NR ": " $0; bad = 1 }
        END { print "largest difference " most + 0; exit bad || NR == 0 }'
}
