# Sourced by the tests of this folder: a cluster of two nodes with two processors each, in $world.
source tests/end_to_end/common.bash
cluster=$world/cluster
trap 'tests/slurm/cluster.sh down "$cluster" >"$world/down" 2>&1; rm -rf "$world"' EXIT
tests/slurm/cluster.sh up "$cluster" >"$world/up" 2>&1
case $? in
0) ;;
77) trap 'rm -rf "$world"' EXIT; skip "the packages slurm-wlm and munge are not installed" ;;
*) fail "no cluster: $(cat "$world/up")" ;;
esac
export SLURM_CONF=$cluster/slurm.conf
[ "$(id -u)" != 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export SEPIT_PAUSE=2
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1

# submit NAME words…: sbatch on both nodes with one rank each; the job's number into $job, its folder
# is $world/NAME and its output $world/NAME.log. Options of sbatch, the script, its words.
submit() {
    local name=$1
    shift
    run=$world/$name log=$world/$name.log
    job=$(sbatch --parsable --nodes=2 --ntasks-per-node=1 --output="$log" "$@") || fail "sbatch $*"
}

# train NAME [sbatch's options…] -- words…: submits slurm/train.sbatch with the stand-in as program.
train() {
    local name=$1 options=()
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    echo '{}' >"$world/any.json"
    SEPIT=tests/slurm/stand_in.sh submit "$name" "${options[@]}" slurm/train.sbatch "$world/any.json" \
        run.dir="$world/$name" "$@"
}

field() { scontrol show job -o "$job" | sed -nE "s/.* $1=([^ ]*).*/\1/p"; }
state() { field JobState; }
story() { echo "job $job is $(state), restarts $(field Restarts); log: $(tail -n 25 "$log")"; }

# within SECONDS words…: waits until the command succeeds.
within() {
    local tries=$(($1 * 5))
    shift
    until "$@"; do
        [ $((tries--)) -gt 0 ] || fail "waited in vain for: $*; $(story)"
        sleep 0.2
    done
}
has_ended() { case $(state) in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) ;; *) return 1 ;; esac }
is_running() { [ "$(state)" = RUNNING ]; }
has_restarted() { [ "$(field Restarts)" -ge 1 ] && is_running; }
has_steps() { [ "$(wc -l 2>/dev/null <"$run/steps" || echo 0)" -ge "$1" ]; }
node_is() { sinfo -h -N -n "$1" -o %T | grep -q "^$2"; }

# ends_well RESTARTS STEPS SECONDS: the job comes to its end by itself after so many restarts (or some),
# each said in its one log, and the stand-in did every step once.
ends_well() {
    within "$3" has_ended
    [ "$1" != some ] || set -- "$(field Restarts)" "$2" "$3"
    [ "$(state)" = COMPLETED ] || fail "not COMPLETED: $(story)"
    [ "$(field Restarts)" = "$1" ] || fail "expected $1 restarts: $(story)"
    [ "$(grep -oE "job $job, restart [0-9]+" "$log" | sort -u | wc -l)" = $(($1 + 1)) ] ||
        fail "not every restart is in the log: $(story)"
    grep -q "job $job, restart $1," "$log" || fail "the restart count is not in the log: $(story)"
    cmp -s "$run/steps" <(seq -f 'step %g' "$2") || fail "steps: $(tr '\n' ' ' <"$run/steps"); $(story)"
}
