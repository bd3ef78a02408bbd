#!/usr/bin/env bash
# Submits the steps of an experiment as jobs that wait for each other: build → stage0 → stage1 → stage2 →
# evaluate, those that are named. A job starts when the one before it is done, however often that one is
# requeued; when one fails, those behind it are cancelled.
# usage: slurm/pipeline.sh [SBATCH-OPTION…] STEP CONFIG.json [WORD…] [STEP CONFIG.json [WORD…]]…
#        STEP: build, stage0, stage1, stage2 or evaluate, in this order; WORD: key=value or a flag of the step
#        SBATCH-OPTION, as --option=value, is for all steps: --nodes=4 --partition=cpu
# example: slurm/pipeline.sh --nodes=2 build my/build.json stage1 my/stage1.json stage2 my/stage2.json \
#              parallel.ep=4 evaluate my/stage2.json --output scores.jsonl
# Prints a line for each job: its number and its step. SEPIT_EVALUATE: the command of `evaluate` (score).
set -eu
here=$(dirname "$0")
order=" build stage0 stage1 stage2 evaluate "
die() { echo "error: $*" >&2; exit 2; }
usage() { sed -n '5,7s/^# //p' "$0" >&2; exit 2; }
is_step() { case $order in *" $1 "*) ;; *) return 1 ;; esac }

options=()
while [ $# -gt 0 ] && ! is_step "$1"; do
    case $1 in
    --*=*) options+=("$1") ;;
    -*) die "$1: give sbatch's options as --option=value" ;;
    *) die "$1 is not a step; the steps are$order" ;;
    esac
    shift
done
[ $# -gt 0 ] || usage

# The whole line is looked at before the first job is submitted.
left=$order step= words=0
for word in "$@"; do
    if is_step "$word"; then
        [ "$words" -gt 0 ] || [ -z "$step" ] || die "$step has no config"
        case $left in *" $word "*) ;; *) die "$word comes after $step; the order is$order" ;; esac
        step=$word words=0 left=" ${left#*" $word "}"
    else
        [ "$words" -gt 0 ] || [ -r "$word" ] || die "$step: the config $word cannot be read"
        words=$((words + 1))
    fi
done
[ "$words" -gt 0 ] || die "$step has no config"

before=
submit() { # STEP CONFIG words…
    local step=$1 script=train.sbatch depends=()
    shift
    case $step in
    build) script=build.sbatch ;;
    evaluate) script=build.sbatch && export SEPIT_COMMAND=${SEPIT_EVALUATE:-score} ;;
    esac
    [ -z "$before" ] || depends=(--dependency="afterok:$before" --kill-on-invalid-dep=yes)
    before=$(sbatch --parsable --job-name="sepit-$step" "${options[@]}" "${depends[@]}" "$here/$script" "$@") ||
        die "sbatch refused $step; the jobs above are submitted (scancel them, or go on by hand)"
    before=${before%%;*}
    echo "$before $step"
}

while [ $# -gt 0 ]; do
    section=("$1")
    shift
    while [ $# -gt 0 ] && ! is_step "$1"; do
        section+=("$1")
        shift
    done
    submit "${section[@]}"
done
