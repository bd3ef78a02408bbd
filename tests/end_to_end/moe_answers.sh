#!/usr/bin/env bash
# TEST timeout=180 mode=release,double
# score and generate with a model of experts: the same lines on any number of ranks, whatever layout
# it was trained on, also with a capacity; and a model upcycled so that it gives the dense model's
# output scores every answer as the dense one does.
source tests/end_to_end/common.bash
make_world
w=$world fp32=compute.dtype=fp32
[[ $SEPIT_BUILD == *double* ]] && fp32=
make_stage1 8

# score RANKS NAME WORDS…: lines into $w/NAME
score() {
    local n=$1 name=$2
    shift 2
    ranks "$n" score "$w/stage1.json" $fp32 --limit 21 --output "$w/$name" "$@" >"$w/said" 2>&1 ||
        fail "score on $n ranks: $(tail -n 3 "$w/said")"
    [ "$(grep -c '"nll": [0-9]' "$w/$name")" = 21 ] || fail "$name: not 21 scores"
}

trained="moe.experts=4 moe.top_k=2 moe.renormalize=on moe.layers=odd"
stage2 4 2 moe train.steps=8 $fp32 $trained moe.upcycle=drop
for n in 1 2 3; do score "$n" "moe-$n" run.dir="$w/moe" $trained; done
cmp "$w/moe-1" "$w/moe-2" && cmp "$w/moe-1" "$w/moe-3" || fail "scores on 1, 2 and 3 ranks differ"
for n in 1 2; do score "$n" "full-$n" run.dir="$w/moe" $trained moe.capacity_eval=0.5; done
cmp "$w/full-1" "$w/full-2" || fail "scores with a capacity differ on 1 and 2 ranks"
! cmp -s "$w/full-1" "$w/moe-1" || fail "dropping half of the rows changes no score"

protein=$(awk '/^AC/ {sub(/;.*/, "", $2); print $2; exit}' "$w/entries.dat")
for n in 1 2; do
    for capacity in 0 2; do
        ranks "$n" generate "$w/stage1.json" $fp32 $trained run.dir="$w/moe" --protein "$protein" --json \
            generate.max_tokens=12 moe.capacity_eval=$capacity >"$w/answer-$n-$capacity" 2>"$w/said" ||
            fail "generate on $n ranks: $(tail -n 3 "$w/said")"
    done
done
grep -q '"tokens": 1[0-2]' "$w/answer-1-0" || fail "no answer: $(cat "$w/answer-1-0")"
cmp "$w/answer-1-0" "$w/answer-2-0" || fail "answers on 1 and 2 ranks differ"
cmp "$w/answer-1-2" "$w/answer-2-2" || fail "answers with a capacity differ"

# One step that moves nothing: weights as upcycled. In fp32 the answers' scores agree to 1e-5.
same="moe.upcycle=exact moe.jitter=0.01 train.lr=0 train.steps=1"
stage2 2 2 exact $fp32 $same moe.top_k=2
stage2 2 2 copy $fp32 train.lr=0 train.steps=1
score 2 dense run.dir="$w/stage1"
score 2 exact-scores run.dir="$w/exact" moe.experts=4 moe.top_k=2
score 2 copy-scores run.dir="$w/copy" moe.experts=4
largest() { # relative difference of the scores in two files
    paste "$1" "$2" | awk -F'"nll": ' '{
        d = ($2 + 0) / ($3 + 0) - 1; d = d < 0 ? -d : d; most = d > most ? d : most } END { print NR == 21 ? most + 0 : "nothing" }'
}
said=$(largest "$w/dense" "$w/exact-scores")
awk -v d="$said" 'BEGIN {exit !(d < 1e-5)}' || fail "upcycled exactly, the scores differ by $said"
other=$(largest "$w/dense" "$w/copy-scores")
awk -v d="$other" 'BEGIN {exit !(d > 1e-3)}' || fail "copied, the scores differ by $other only"
echo "scores differ from the dense model's by $said when upcycled exactly, by $other when copied"
