#!/usr/bin/env bash
# TEST timeout=600 mode=release,double
# Stage 2 on (ranks, parallel.ep) = (1,1) (2,1) (2,2) (4,1) (4,2) (4,4). With exact sums loss and
# gradient norm of every step have the same bits, and so has every byte of the last checkpoint but
# for the number parallel.ep in its copy of the config: 100 steps with one expert a token, 20 with
# two, dropped rows, redrawn columns and a z-loss, 10 with counted fractions and drawn ties, 10 with
# biases. So has a run that stops on one layout and continues on another. Without exact sums, with
# other chunks, and on three ranks, sums differ in order: loss and norm agree at equal weights (the
# first step), in the double build on all ten steps, and so do the weights after them; the same
# layout gives the same bits twice.
source tests/end_to_end/common.bash
make_world
shrink_world
make_stage1 5
fp32=compute.dtype=fp32 main=100 double=no
[[ $SEPIT_BUILD == *double* ]] && fp32= main=20 double=yes
layouts="1,1 2,1 2,2 4,1 4,2 4,4"

# ---- exact sums: the same bits ----

# Name and checksum of every tensor of a checkpoint.
digests() { grep -oE '"name":"[^}]*"' "${1%.h5}.json" | sed 's/"offset":[0-9]*,//'; }

# same_bytes A B: checkpoints alike but for one character of the config, where A has a "1".
same_bytes() {
    local differ
    differ=$(cmp -l "$1" "$2" 2>&1 | awk '{print $2 " " $3}')
    [[ $differ == "" || $differ == "61 62" || $differ == "61 64" ]] && return
    echo "$(wc -l <<<"$differ") bytes differ, in $(diff <(digests "$1") <(digests "$2") | grep -c '^<') tensors:"
    diff <(digests "$1") <(digests "$2") | grep '^<' | head
    return 1
}

# exactly NAME STEPS WORDS…: a run on all layouts; the first one stays as $world/NAME.
exactly() {
    local name=$1 steps=$2 first=$world/$1 layout other
    local file=checkpoints/step_$(printf %08d "$2").h5
    shift 2
    stage2 1 1 "$name" train.steps="$steps" "$@"
    [ "$(grep -cv null "$first.values")" = "$steps" ] || fail "$name: not $steps finite steps"
    for layout in ${layouts#* }; do
        other=$world/$name-$layout
        stage2 "${layout%,*}" "${layout#*,}" "$name-$layout" train.steps="$steps" "$@"
        cmp "$first.values" "$other.values" || fail "$name on $layout: losses or norms differ"
        same_bytes "$first/$file" "$other/$file" || fail "$name on $layout: the weights differ"
        rm -r "$other"
    done
    echo "$name: $steps steps with the same bits; loss, norm, tokens: $(sed -n '1p;$p' "$first.values" | tr '\n' ' ')"
}

exactly one $main
two="$fp32 moe.top_k=2 moe.renormalize=on moe.capacity=1.25 moe.upcycle=drop moe.z_weight=1e-3"
exactly two 20 $two
grep -q '"dropped": 0[.][0-9]*[1-9]' "$world/two/metrics.jsonl" || fail "two: nothing was dropped"
exactly ties 10 moe.upcycle=exact moe.jitter=0.01 moe.balance=two_pass moe.slices=3
bias="moe.balance=bias moe.layers=1"
exactly bias 10 $bias

# ---- stopped, and continued on another layout: still the same bits ----

# continued NAME STEPS EVERY WORDS…: as $world/NAME, but on two ranks up to step EVERY, then on four.
continued() {
    local name=$1 steps=$2 file
    file=checkpoints/step_$(printf %08d "$2").h5
    stage2 2 2 parts train.steps="$steps" checkpoint.every="$3" "${@:4}"
    rm "$world/parts/${file%.h5}".*
    mv "$world/parts" "$world/run"
    stage2 4 4 parts train.steps="$steps" checkpoint.every="$3" "${@:4}"
    grep -q "continuing after step $3 " "$world/parts.log" || fail "$name was not continued"
    cmp "$world/$name.values" "$world/parts.values" || fail "$name, continued: losses or norms differ"
    cmp <(digests "$world/$name/$file" | grep -v '"/config"') \
        <(digests "$world/parts/$file" | grep -v '"/config"') || fail "$name, continued: the weights differ"
    rm -r "$world/parts"
}
continued two 20 12 $two
continued bias 10 6 $bias

# ---- other orders of summation ----

# alike BOUND A B: loss and norm of the first step differ by at most BOUND; in the double build those
# of all steps, and the weights after them by 1e-7.
alike() {
    local steps=1 said
    [ $double = yes ] && steps=10
    said=$(near "$1" $steps "$world/$2.values" "$world/$3.values") || fail "$2 and $3: $said"
    echo "$2 and $3, steps 1 to $steps: $said"
    [ $double = no ] || h5diff -d 1e-7 "$world/$2/checkpoints/step_00000010.h5" \
        "$world/$3/checkpoints/step_00000010.h5" /model >"$world/said" 2>&1 ||
        fail "$2 and $3: the weights differ: $(head -n 5 "$world/said")"
}

stage2 1 1 like train.steps=10 $fp32
for other in "2 2 4" "4 2 16" "4 4 16" "4 1 4"; do
    read -r n ep chunks <<<"$other"
    stage2 "$n" "$ep" "plain-$n,$ep" train.steps=10 $fp32 parallel.exact=off train.chunks="$chunks"
    alike 1e-5 "plain-$n,$ep" like
done
stage2 4 2 again train.steps=10 $fp32 parallel.exact=off train.chunks=16
cmp "$world/again.values" "$world/plain-4,2.values" || fail "the same layout twice: losses or norms"
same_bytes "$world/again/checkpoints/step_00000010.h5" "$world/plain-4,2/checkpoints/step_00000010.h5" ||
    fail "the same layout twice: the weights"

stage2 1 1 six train.steps=10 $fp32 moe.experts=6
stage2 3 1 three-1 train.steps=10 $fp32 moe.experts=6
stage2 3 3 three-3 train.steps=10 $fp32 moe.experts=6
alike 1e-5 three-1 six
alike 1e-5 three-3 six

# The products' inputs are rounded to bf16 in the same places on any layout: only the order of fp32
# sums is left here too, and no wider bound is needed.
if [ $double = no ]; then
    stage2 1 1 rounded train.steps=10
    stage2 4 2 rounded-plain train.steps=10 parallel.exact=off train.chunks=16
    alike 1e-5 rounded-plain rounded
fi
