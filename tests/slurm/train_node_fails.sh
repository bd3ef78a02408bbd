#!/usr/bin/env bash
# TEST timeout=300 mode=release
# A node dies under a job of two nodes, with all that runs there or its slurmd alone: Slurm requeues
# the job, and it goes on when the node is back.
source tests/slurm/common.bash

for how in "fail both" "lose both" "fail n2"; do
    read -r how nodes <<<"$how"
    steps=60 options=()
    [ $how = fail ] || steps=200 # the ranks live on until Slurm gives the node up
    [ "$nodes" = both ] || options=(--nodes=1 --nodelist=n2)
    train $how-$nodes "${options[@]}" -- train.steps=$steps checkpoint.every=3
    within 40 has_steps 7
    tests/slurm/cluster.sh $how "$cluster" n2 || fail "n2 does not $how"
    within 60 node_is n2 down
    tests/slurm/cluster.sh revive "$cluster" n2 || fail "n2 does not come back"
    ends_well 1 $steps 90
    grep -q "continuing after step" "$log" || fail "it began anew: $(story)"
    within 30 node_is n2 idle
done
