#!/usr/bin/env bash
# TEST timeout=120 mode=release
# Proteins at the edge, all in one run without special care: without structure, with residues
# without coordinates, with a structure of one residue, of 1, 1,022, 1,023 and 3,000 residues, an
# entry without comment, one without even a name, and letters that are no amino acid. Built, trained
# on 1 and 2 ranks (equal bits), scored, and asked one by one.
source tests/end_to_end/common.bash
make_world
w=$world

crc64() { # of a text: x^64+x^4+x^3+x+1, reflected, as UniProt writes it
    local crc=0 i bit byte
    for ((i = 0; i < ${#1}; i++)); do
        printf -v byte %d "'${1:i:1}"
        crc=$((crc ^ byte))
        for bit in 1 2 3 4 5 6 7 8; do
            crc=$(((crc >> 1 & 0x7FFFFFFFFFFFFFFF) ^ (crc & 1 ? 0xD800000000000000 : 0)))
        done
    done
    printf %016X $crc
}
[ "$(crc64 M)" = 66F0000000000000 ] || fail "crc64"
residues() { # COUNT: a sequence that does not repeat
    awk -v n="$1" 'BEGIN { srand(n); a = "ACDEFGHIKLMNPQRSTVWY"; for (i = 0; i < n; i++) printf "%s", substr(a, 1 + int(20 * rand()), 1) }'
}
entry() { # ACCESSION SEQUENCE LINE…: one in UniProt's form
    local accession=$1 sequence=$2
    shift 2
    printf 'ID   ODD_%s  Reviewed;  %d AA.\nAC   %s;\n' "$accession" ${#sequence} "$accession"
    [ $# -eq 0 ] || printf '%s\n' "$@"
    printf 'SQ   SEQUENCE   %d AA;  1 MW;  %s CRC64;\n' ${#sequence} "$(crc64 "$sequence")"
    fold -w 60 <<<"$sequence" | sed 's/^/     /'
    echo //
}
named="DE   RecName: Full=Namely;" function="CC   -!- FUNCTION: Holds cells together."
{
    entry P00001 M "$named" "$function"
    entry P00002 "$(residues 40)" "$named" "$function"
    entry P00003 "$(residues 50)" "$named" "$function"
    entry P00004 "$(residues 60)" "$named" "$function"
    entry P00005 "$(residues 1022)" "$named" "$function"
    entry P00006 "$(residues 1023)" "$named" "$function"
    entry P00007 "$(residues 3000)" "$named" "$function"
    entry P00008 "$(residues 70)" "$named"
    entry P00009 "$(residues 80)"
    entry P00010 MXBZUOJKLX "$named" "$function"
    entry P00011 K "$named" "$function"
} >"$w/odd.dat"
mkdir "$w/shapes"
awk -v N=99 -v OUT="$w/shapes" -f configs/demo/traces.awk <(sed 's/MXBZUOJKLX/MXBZUOXKLX/' "$w/odd.dat") || fail traces
rm "$w/shapes"/P0000{1,2,5,6}.pdb "$w/shapes/P00010.pdb"
# Residues 11 to 30 and the last are not seen; of P00004 only residue 7 is.
sed -i -E '/^ATOM +(1[1-9]|2[0-9]|30|50) /d' "$w/shapes/P00003.pdb"
sed -i -E '/^ATOM/{/^ATOM +7 /!d}' "$w/shapes/P00004.pdb"
attempt 2 build data.path="$w/odd.h5" build.entries="$w/odd.dat" build.structures="$w/shapes"
grep -q '11 proteins, 5357 residues, 11 captions' "$w/said" &&
    grep -q '6 proteins with a structure; 3181 residues' "$w/said" || fail "build: $(cat "$w/said")"

keys="data.path=$w/odd.h5 train.global_batch=11 train.chunks=4 train.steps=2 train.structure_drop=0"
for ranks in 1 2; do
    attempt $ranks train "$w/stage1.json" run.dir="$w/run" $keys
    mv "$w/run" "$w/odd$ranks" # the same run.dir for both: it is written into the checkpoint
    [ "$code" = 0 ] && ! grep -qE "$noise|not finite" "$w/said" || fail "train on $ranks: $(tail -n 5 "$w/said")"
    [ "$(grep -cE '"loss": [0-9.]+, .*"grad_norm": [0-9.]+, "skipped": false, "samples": 11,' "$w/odd$ranks/metrics.jsonl")" = 2 ] ||
        fail "metrics on $ranks ranks: $(cat "$w/odd$ranks/metrics.jsonl")"
done
cmp "$w/odd1/checkpoints/step_00000002.h5" "$w/odd2/checkpoints/step_00000002.h5" || fail "1 and 2 ranks differ"

# bfloat16 and the module switched off, too.
attempt 2 train "$w/stage1.json" run.dir="$w/off" $keys model.structure=off compute.dtype=fp32 train.steps=1
[ "$code" = 0 ] || fail "model.structure=off: $(tail -n 5 "$w/said")"

for ranks in 1 2; do
    attempt $ranks score "$w/stage1.json" run.dir="$w/odd2" data.path="$w/odd.h5" --output "$w/scores.$ranks"
    [ "$code" = 0 ] || fail "score on $ranks: $(cat "$w/said")"
    [ "$(grep -cE '"tokens": [1-9][0-9]*, "nll": [0-9.]+}$' "$w/scores.$ranks")" = 11 ] || fail "scores: $(cat "$w/scores.$ranks")"
done
cmp "$w/scores.1" "$w/scores.2" || fail "the scores of 1 and 2 ranks differ"

ask() { attempt "$1" generate "$w/stage1.json" run.dir="$w/odd2" data.path="$w/odd.h5" generate.max_tokens=3 --json --protein "${@:2}"; }
answered() {
    [ "$code" = 0 ] && grep -qE '^\{"protein": .*"answer": ".*", "tokens": [0-3], ' "$w/said" && ! grep -qE "$noise" "$w/said" ||
        fail "$1: exit $code, $(cat "$w/said")"
}
for number in $(seq -w 1 11); do
    ask $((10#$number % 4 ? 0 : 2)) "P000$number"
    answered "P000$number"
done
ask 0 "$w/shapes/P00004.pdb" --question 'What is <protein>?'
answered "the file of a structure with one seen residue"
