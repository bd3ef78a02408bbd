#!/usr/bin/env bash
# Stands in for `sepit` where only the job scripts are tested: the same words, run folder, checkpoint
# names, signals and exit status, without a model. It needs no MPI: rank 0 counts the steps, and
# meets the others in every one by way of files.
# usage: stand_in.sh COMMAND CONFIG.json [key=value …]
# Keys: run.dir (needed), train.steps, checkpoint.every, step_s, and faults: hang_at=N (the watchdog
# ends the first run to come to step N: exit 76), dies_at=N (every run that comes to N fails with
# 76 before a checkpoint), deaf=on (TERM and USR1 change nothing).
# It leaves in run.dir: steps (one line a step), signals (one line for each that a rank got), calls.
set -u
rank=${SLURM_PROCID:-${OMPI_COMM_WORLD_RANK:-0}}
command=$1 config=$2
shift 2
dir= steps=10 every=0 step_s=0.2 hang_at=-1 dies_at=-1 deaf=off
for word in "$@"; do
    case $word in
    run.dir=*) dir=${word#*=} ;;
    train.steps=*) steps=${word#*=} ;;
    checkpoint.every=*) every=${word#*=} ;;
    *) eval "${word%%=*}=\${word#*=}" ;;
    esac
done
mkdir -p "$dir/checkpoints"
[ "$rank" -ne 0 ] || echo "$command $config" >>"$dir/calls"
[ "$command" = train ] || exit 0

stopping=
heard() { echo "$rank $1" >>"$dir/signals"; [ "$deaf" = on ] || : >"$dir/asked"; }
trap 'heard USR1' USR1
trap 'heard TERM' TERM
# Files of this start: its ranks meet in them, and no rank left over from an earlier one does.
start=$dir/start.$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}
if [ "$rank" -ne 0 ]; then
    until [ -e "$start.end" ]; do
        [ "$start.now" -ot "$start.$rank" ] || touch "$start.$rank"
        sleep 0.05
    done
    exit "$(cat "$start.end")"
fi

finish() { # exit code, for all ranks
    echo "$1" >"$start.part"
    mv "$start.part" "$start.end"
    exit "$1"
}
meet() { # like a collective call: for ever, where another rank is gone
    local other
    touch "$start.now"
    for ((other = 1; other < ${SLURM_NTASKS:-1}; other++)); do
        until [ "$start.now" -ot "$start.$other" ]; do sleep 0.02; done
    done
}
save() { printf '{"step": %d}\n' "$step" >"$dir/checkpoints/$(printf 'step_%08d.json' "$step")"; }

rm -f "$dir/asked"
echo "start" >>"$dir/log.txt"
step=$(ls "$dir/checkpoints" | sed -nE 's/^step_0*([0-9]+)\.json$/\1/p' | sort -n | tail -n 1)
step=${step:-0}
[ "$step" -eq 0 ] || echo "continuing after step $step from $dir/checkpoints"
touch "$dir/steps"
sed -i "$((step + 1)),\$d" "$dir/steps"
while [ "$step" -lt "$steps" ]; do
    sleep "$step_s" &
    wait $!
    meet
    step=$((step + 1))
    echo "step $step" >>"$dir/steps"
    [ "$step" -ne "$dies_at" ] || finish 76
    if [ "$step" -eq "$hang_at" ] && [ ! -e "$dir/hung" ]; then
        touch "$dir/hung"
        finish 76
    fi
    if [ -e "$dir/asked" ] || [ -e "$dir/STOP" ]; then
        save
        [ ! -e "$dir/STOP" ] || echo "error: stopped: the file $dir/STOP asks to stop; …" >>"$dir/log.txt"
        rm -f "$dir/STOP"
        finish 75
    fi
    if [ "$step" -eq "$steps" ] || { [ "$every" -gt 0 ] && [ $((step % every)) -eq 0 ]; }; then
        save
    fi
done
finish 0
