#!/usr/bin/env bash
# TEST timeout=240 mode=release
# Whatever a hasty user gives the program comes back as a sentence that names file, line or key and
# says what to do, with exit code 2 (1 for the machine) on all ranks within seconds.
source tests/end_to_end/common.bash
make_world
w=$world
out=data.path=$w/out/x.h5

# ---- words of the command line ----
refuse 2 2 'there is no command trian' trian "$w/stage1.json"
refuse 0 2 'sepit train has no flag --fast; usage: sepit train' train "$w/stage1.json" --fast
refuse 0 2 'sepit train has no flag --limit' train "$w/stage1.json" --limit 3
refuse 0 2 'score has no flag --json' score "$w/stage1.json" --json
refuse 0 2 '"0", but must be a whole number >= 1' score "$w/stage1.json" --limit 0
refuse 0 2 '"2x", but must be' score "$w/stage1.json" --limit 2x
refuse 0 2 'limit needs a value' score "$w/stage1.json" --limit
refuse 0 2 'train.steps" is neither a config' train "$w/stage1.json" train.steps
refuse 0 2 '"=5" has no key' train "$w/stage1.json" =5
refuse 0 2 'there is no command tarin; the list above' help tarin
attempt 3 help train
[ "$code" = 0 ] && [ "$(grep -c train.global_batch "$w/said")" = 1 ] || fail "help on 3 ranks: $(cat "$w/said")"
attempt 0 train --help
[ "$code" = 0 ] && grep -q 'train.global_batch' "$w/said" || fail "train --help: exit $code"
attempt 3 --version
[ "$code" = 0 ] && grep -qx 'sepit [0-9.]*' "$w/said" && [ "$(wc -l <"$w/said")" = 1 ] || fail "--version: $(cat "$w/said")"
grep -q '"tool": "'"$(cat "$w/said")"'"' <<<"$("$SEPIT" inspect "$w/dataset.h5" --json)" || fail "the dataset names another tool"
attempt 0 help generate
grep -q data.max_text "$w/said" && ! grep -q data.group "$w/said" || fail "help generate: not the keys it reads"
attempt 0
[ "$code" = 2 ] && grep -q '^usage: sepit' "$w/said" || fail "no word at all: exit $code"
for words in "help train" "inspect $w/dataset.h5" "inspect $w/dataset.h5 --json"; do
    timeout 20 "$SEPIT" $words >/dev/full 2>"$w/said"
    [ $? = 1 ] && grep -q 'cannot write all of the standard output' "$w/said" || fail "sepit $words >/dev/full"
done

# ---- config ----
mkdir "$w/folder.json"
printf '{"run": {"dir": "x"},\n "train": {"steps": 3,}}\n' >"$w/comma.json"
head -c 3000 /dev/urandom >"$w/random.json"
cat >"$w/three.json" <<'JSON'
{"run": {"dirr": "out/run"}, "train": {"steps": "many", "lr": 100}, "modle": {"structure": true}}
JSON
refuse 2 2 'cannot open the config .*/none.json: No such file' train "$w/none.json"
refuse 0 2 'cannot read the config .*folder.json: Is a directory' train "$w/folder.json"
refuse 0 2 'comma.json:2: this is not JSON' train "$w/comma.json"
refuse 0 2 'random.json' train "$w/random.json"
refuse 3 2 'there is no key run.dirr; did you mean run.dir\?' train "$w/three.json"
for mistake in 'three.json: train.steps is "many", but must be a whole number' \
    'three.json: train.lr is 100, but must lie between 0 and 10' \
    'three.json: there is no key modle.structure; did you mean model.structure'; do
    grep -q "$mistake" "$w/said" || fail "of several mistakes not told: $mistake"
done

# ---- entries and structures ----
swiss=$entries
awk '/^ID/ {n++} n <= 3' "$swiss" >"$w/three.dat"
gzip -c "$w/three.dat" >"$w/whole.dat.gz"
size=$(stat -c %s "$w/whole.dat.gz")
head -c $((size / 2)) "$w/whole.dat.gz" >"$w/half.dat.gz"
head -c $((size - 4)) "$w/whole.dat.gz" >"$w/tail.dat.gz"
awk '/^ID/ {n++} n == 2 {sub(/[0-9A-F]+ CRC64/, "0123456789ABCDEF CRC64")} {print}' "$w/three.dat" >"$w/onebad.dat"
sed 's/[0-9A-F]* CRC64/0123456789ABCDEF CRC64/' "$w/three.dat" >"$w/allbad.dat"
refuse 3 2 'half.dat.gz: damaged gzip file' build $out build.entries="$w/half.dat.gz"
refuse 2 2 'tail.dat.gz: damaged gzip file' build $out build.entries="$w/three.dat,$w/tail.dat.gz"
refuse 3 2 'none of the 3 entries can be used' build $out build.entries="$w/allbad.dat"
[ "$(grep -cE 'skipped: .*allbad.dat:[0-9]+: entry [A-Z0-9]+: .*CRC64' "$w/said")" = 3 ] || fail "not every bad entry was named"
bad=$(awk '/CRC64/ && /0123456789ABCDEF/ {print NR}' "$w/onebad.dat")
accession=$(awk '/^ID/ {n++} n == 2 && /^AC/ {print $2; exit}' "$w/onebad.dat")
attempt 3 build $out build.entries="$w/onebad.dat"
[ "$code" = 0 ] && grep -q "onebad.dat:$bad: entry $accession .*CRC64\|onebad.dat:$bad: entry ${accession%;}: .*CRC64" "$w/said" &&
    grep -qE 'damaged record +1$' "$w/said" && grep -qE 'kept +2$' "$w/said" || fail "one bad entry: exit $code, $(cat "$w/said")"
rm -rf "$w/out"
real=/usr/share/doc/python-biopython-doc/Tests/PDB/1LCD.cif.gz
if [ -r $real ]; then
    zcat $real | awk '{print} /^ATOM/ && ++n == 40 {print "garbage here"}' >"$w/garbage.cif"
    attempt 2 build $out build.entries="$swiss" build.structures="$w/garbage.cif,$real"
    [ "$code" = 0 ] && grep -qE 'skipped: .*garbage.cif:[0-9]+: ' "$w/said" &&
        grep -qE 'damaged +1$' "$w/said" && grep -q '1 proteins with a structure' "$w/said" ||
        fail "garbage in a loop: exit $code, $(cat "$w/said")"
    rm -rf "$w/out"
    refuse 0 2 'garbage.cif:[0-9]+: ' generate "$w/stage1.json" --protein "$w/garbage.cif" --question what
fi

# ---- dataset and tokenizer ----
run="run.dir=$w/out/run train.steps=1 train.global_batch=2 train.chunks=4"
train() { refuse "$1" "$2" "$3" train "$w/stage1.json" $run "${@:4}"; }
size=$(stat -c %s "$w/dataset.h5")
for bytes in 0 100 3000 $((size / 2)) $((size - 1)); do
    head -c "$bytes" "$w/dataset.h5" >"$w/cut.hdf5"
    train 0 2 'cut.hdf5: ' data.path="$w/cut.hdf5"
done
train 3 2 'cut.hdf5: ' data.path="$w/cut.hdf5"
refuse 2 2 'cut.hdf5: ' inspect "$w/cut.hdf5"
train 2 2 'none.h5: No such file .*sepit build' data.path="$w/none.h5"
train 0 2 'traces: ' data.path="$w/traces"
head -c 2000 "$w/tokenizer.model" >"$w/cut.model"
train 2 2 'data.tokenizer: cannot open .*none.model: No such file .*spm_train' data.tokenizer="$w/none.model"
train 3 2 'data.tokenizer: .*cut.model .* not a whole SentencePiece model' data.tokenizer="$w/cut.model"
train 0 2 'data.tokenizer: .*stage1.json .* not a whole' data.tokenizer="$w/stage1.json"

# ---- training ----
train 4 2 'train.chunks is 2, but there are 4 ranks' train.chunks=2
train 0 2 'train.chunks must be a power of two .* it is 6' train.chunks=6
train 2 2 'data.max_text is 20, but questions with the system sentence have up to [0-9]+' data.max_text=20
train 0 2 'model.encoder.width is 32 and model.encoder.heads is 5' model.encoder.heads=5
train 2 2 'model.llm.heads is 4 and model.llm.kv_heads is 3' model.llm.kv_heads=3
train 0 2 'model.llm.width is 0, but must lie' model.llm.width=0
train 2 1 'a model with 7[.0-9]*e\+12 parameters on this rank needs .* GiB.*lower model' model.llm.width=1000000
train 0 1 'cannot use the folder .*three.dat: Not a directory' run.dir="$w/three.dat"

# ---- what works although it looks odd: a folder of spaces and letters beyond ASCII, a batch larger
# than the dataset; this run is what the rest asks ----
odd="$w/ein Lauf – μ=3"
attempt 2 train "$w/stage1.json" run.dir="$odd" train.structure_drop=1 train.steps=1 train.global_batch=100
[ "$code" = 0 ] && [ -s "$odd/checkpoints/step_00000001.json" ] &&
    grep -q '"samples": 100,' "$odd/metrics.jsonl" || fail "odd folder: exit $code, $(cat "$w/said")"

# ---- score and generate ----
refuse 2 2 'is an HDF5 file but no dataset of this program' inspect "$odd/checkpoints/step_00000001.h5"
score() { refuse "$1" "$2" "$3" score "$w/stage1.json" run.dir="$odd" --limit 3 "${@:4}"; }
score 2 2 'cannot write /nowhere/x: No such file' --output /nowhere/x
score 0 2 'traces: Is a directory' --output "$w/traces"
score 0 1 'cannot write the scores: No space left' --output /dev/full
[ -c /dev/full ] || fail "/dev/full was replaced"
score 2 2 'none of 3 answers has room under data.max_text=20' data.max_text=20
score 2 2 'there is no checkpoint in .*nothing/checkpoints: train first' run.dir="$w/nothing"
spm_train --input="$w/corpus.txt" --model_prefix="$w/other" --vocab_size=700 --model_type=bpe \
    --byte_fallback=true --hard_vocab_limit=false --minloglevel=2 >/dev/null 2>&1 || fail spm_train
score 3 2 'embed_tokens.weight is [0-9]+ × 48, but the config.s model.* and tokenizer make it [0-9]+ × 48' \
    data.tokenizer="$w/other.model"
cp "$odd/config.json" "$w/config.before"
refuse 2 2 'cannot continue from it .*set back what is listed here' train "$w/stage1.json" run.dir="$odd" data.tokenizer="$w/other.model"
cmp "$w/config.before" "$odd/config.json" || fail "a refused run changed the config.json that was there"

ask() { refuse "$1" 2 "$2" generate "$w/stage1.json" run.dir="$odd" generate.max_tokens=4 "${@:3}"; }
printf '>x\nMKV\nAC1DE\n' >"$w/digit.fa"
printf '>x\n\n>y\nMKV\n' >"$w/empty.fa"
printf 'MKVLA\n' >"$w/bare.fa"
printf '>x\nMK>V\nAC\n' >"$w/middle.fa"
printf '>x\nMKV\0AC\n' >"$w/nul.fa"
: >"$w/zero.fa"
printf 'HETATM    1  O   HOH A   1      10.000  10.000  10.000  1.00 30.00           O\nEND\n' >"$w/water.pdb"
known=$(awk '/^AC/ {sub(/;.*/, "", $2); print $2; exit}' "$world/entries.dat")
ask 2 'generate needs --protein: an accession'
ask 2 'P00000 is neither a file nor an accession in .*dataset.h5' --protein P00000
ask 0 'a protein from a file needs a --question' --protein "$w/digit.fa"
ask 2 "digit.fa:3: the sequence holds '1'" --protein "$w/digit.fa" --question what
ask 0 "middle.fa:2: the sequence holds '>'" --protein "$w/middle.fa" --question what
ask 0 'nul.fa: a NUL byte in it' --protein "$w/nul.fa" --question what
ask 0 'empty.fa: the first FASTA record has no sequence' --protein "$w/empty.fa" --question what
ask 0 'bare.fa: this is no FASTA file' --protein "$w/bare.fa" --question what
ask 0 'zero.fa: .*it is empty' --protein "$w/zero.fa" --question what
ask 0 'water.pdb: there is no protein chain' --protein "$w/water.pdb" --question what
ask 0 'traces: expected a file' --protein "$w/traces" --question what
ask 0 'the question has [0-9]+ tokens .* data.max_text is 20' --protein "$known" data.max_text=20
attempt 2 generate "$w/stage1.json" run.dir="$odd" generate.max_tokens=4 --protein "$known"
[ "$code" = 0 ] && grep -q '^answer:' "$w/said" || fail "the good question: exit $code, $(cat "$w/said")"

# A damaged checkpoint is named and set aside.
truncate -s -100 "$odd/checkpoints/step_00000001.h5"
refuse 2 2 'none of them is whole' score "$w/stage1.json" run.dir="$odd" --limit 1
grep -q 'step_00000001.h5 has [0-9]* bytes where its manifest says' "$w/said" || fail "the damaged checkpoint was not named"
echo "$refused refusals as they should be"
