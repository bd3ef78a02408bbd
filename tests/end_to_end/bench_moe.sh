#!/usr/bin/env bash
# TEST timeout=60
# `sepit bench moe` on 1, 2 and 4 ranks, small: it prints every way to run the layer, and the
# fullest expert has as many rows as the routing says; what cannot be run is refused.
set -u
fail() { echo "failed: $*" >&2; exit 1; }
small="bench.tokens=64 bench.width=64 bench.ffn=32 bench.rounds=1"
for n in 1 2 4; do
    # shellcheck disable=SC2086
    said=$(mpirun -n $n "$SEPIT" bench moe $small 2>&1) || fail "$n ranks: $said"
    rows() { awk -v name="$1" 'index($0, "  " name "  ") == 1 {print $NF}' <<<"$said"; }
    [ "$(rows dense)" = 0 ] || fail "$n ranks, dense: $said"
    [ "$(rows balanced)" = $((16 * n)) ] || fail "$n ranks, balanced: $said"
    [ "$(rows 'balanced, 4 slices')" = $((16 * n)) ] || fail "$n ranks, 4 slices: $said"
    [ "$(rows hot)" = $((64 * n)) ] || fail "$n ranks, hot: $said"
    grep -q 'exchange and permutation' <<<"$said" || fail "$n ranks, no parts: $said"
    [ "$(grep -c 'of the delay is hidden' <<<"$said")" = $((n > 1 ? 3 : 0)) ] || fail "delay: $said"
done
refused() { # SENTENCE RANKS WORDS…
    local said code
    said=$(mpirun -n "$2" "$SEPIT" bench "${@:3}" 2>&1)
    code=$?
    [ $code = 2 ] || fail "${*:3} on $2 ranks: exit $code: $said"
    grep -q "$1" <<<"$said" || fail "${*:3} on $2 ranks: $said"
}
refused 'bench.width is 100' 2 moe bench.width=100
refused '4 experts' 3 moe
refused 'no benchmark "mow"' 1 mow
