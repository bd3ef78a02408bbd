#!/usr/bin/env bash
# TEST timeout=300 mode=release
# The load of four experts in each of two layers, over the last twenty of 200 steps on real entries:
# with the balance loss (default weight), with counted fractions or with biases (ten times as fast as
# by default, for a run so short) the most loaded expert gets less than 1.3 times an even share;
# without any of them more than twice that share, after half of the steps.
source tests/end_to_end/common.bash
make_world
shrink_world
make_stage1 100 compute.dtype=fp32

# The share of all tokens that the most loaded expert of any layer got in the last 20 lines of a
# metrics.jsonl, times the number of experts.
largest_load() {
    tail -n 20 "$1" | awk '
        match($0, /"expert_load": \[\[[^"]*\]\]/) {
            text = substr($0, RSTART + 17, RLENGTH - 19)
            layers = split(text, layer, /\], \[/)
            for (l = 1; l <= layers; l++) {
                experts = split(layer[l], load, ", ")
                for (e = 1; e <= experts; e++) sum[l, e] += load[e]
            }
            lines++
        }
        END {
            for (i in sum) most = sum[i] > most ? sum[i] : most
            print lines == 20 && layers == 2 && experts == 4 ? most / lines * experts : "unreadable"
        }'
}

# load NAME LOW HIGH WORDS…: a run after which the largest load lies between LOW and HIGH.
load() {
    local name=$1 low=$2 high=$3 most
    shift 3
    stage2 2 2 "$name" train.steps=200 compute.dtype=fp32 "$@"
    most=$(largest_load "$world/$name/metrics.jsonl")
    awk -v x="$most" -v low="$low" -v high="$high" 'BEGIN {exit !(x + 0 >= low && x + 0 < high)}' ||
        fail "$name: the largest load is $most times the even one, expected $low to $high"
    echo "$name: largest load $most times the even one, last loss, norm, tokens: $(tail -n 1 "$world/$name.values")"
}
load loss 1 1.3
load counted 1 1.3 moe.balance=two_pass
load bias 1 1.3 moe.balance=bias moe.bias_rate=1e-2
load none 2 4 moe.balance=off train.steps=100
