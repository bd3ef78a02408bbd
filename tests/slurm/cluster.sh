#!/usr/bin/env bash
# A real Slurm cluster on this machine: munge, slurmctld, and two slurmd that are the nodes n1 and n2.
# usage: tests/slurm/cluster.sh up DIR             starts it, with everything it writes in DIR
#        tests/slurm/cluster.sh down DIR           cancels its jobs and ends what `up` started
#        tests/slurm/cluster.sh fail DIR NODE      the node dies: its slurmd and all that runs under it
#        tests/slurm/cluster.sh lose DIR NODE      only its slurmd dies; what runs there goes on
#        tests/slurm/cluster.sh revive DIR NODE    its slurmd starts again
# After `up`, export SLURM_CONF=DIR/slurm.conf: sbatch, squeue and the others then talk to it.
# Exit status: 0 done, 1 failed, 2 usage, 77 Slurm or munge is not installed.
set -u
say() { echo "cluster: $*" >&2; }
usage() { sed -n '3,7s/^# //p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
what=$1 dir=$(realpath -m "$2") node=${3:-} daemons="n1 n2 slurmctld munged"
export PATH=$PATH:/usr/sbin:/sbin SLURM_CONF=$dir/slurm.conf

# ---- processes: those whose number and start time were written down, and what they started ----------
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

start() { # NAME words…: a program that stays in the foreground, in our background
    local name=$1
    shift
    setsid "$@" >>"$dir/$name.out" 2>&1 </dev/null &
    echo "$! $(start_time $!)" >"$dir/$name.pid"
}

lives() { # NAME: what `start` started under it still runs; its number into $process
    local since
    read -r process since 2>/dev/null <"$dir/$1.pid" && [ -n "$since" ] &&
        [ "$(start_time "$process")" = "$since" ]
}

wait_for() { # seconds words…: until the command succeeds
    local tries=$(($1 * 10))
    shift
    until "$@"; do
        [ $((tries--)) -gt 0 ] || return 1
        sleep 0.1
    done
}

gone() { ! lives "$1"; }

# What runs on a node besides its slurmd: slurmd starts slurmstepd with CLUSTER_NODE in its
# environment, and those start the tasks, which know their node as SLURMD_NODENAME.
members() { # NODE
    local file text slurmd=none
    lives "$1" && slurmd=$process
    for file in /proc/[0-9]*/environ; do
        [ "$file" != "/proc/$slurmd/environ" ] || continue
        text=$({ tr '\0' '\n' <"$file"; } 2>/dev/null)
        grep -qFx "SLURM_CONF=$SLURM_CONF" <<<"$text" &&
            grep -qEx "(CLUSTER_NODE|SLURMD_NODENAME)=$1" <<<"$text" && echo "${file//[!0-9]/}"
    done
}

kill_members() { # NODE; twice, for what was being started meanwhile
    local found=$(members "$1")
    [ -z "$found" ] || kill -9 $found 2>/dev/null
    found=$(members "$1")
    [ -z "$found" ] || kill -9 $found 2>/dev/null
    return 0
}

start_node() { start "$1" env CLUSTER_NODE="$1" slurmd -D -N "$1" -f "$SLURM_CONF"; }

# ---- the cluster ------------------------------------------------------------------------------------
free_ports() { # prints the first of three neighbouring ports that nobody listens on
    local base port busy
    for ((base = 17600; base < 18600; base += 10)); do
        busy=
        for port in $base $((base + 1)) $((base + 2)); do
            (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null && busy=1
        done
        [ -n "$busy" ] || { echo $base; return; }
    done
    return 1
}

# Timeouts are far shorter than a real cluster's, so that a test lasts a minute and not an hour:
# cred_expire is the wait before a requeued job starts again (120 s), SlurmdTimeout the wait before a
# silent node is down (300 s), KillWait what a job has between TERM and KILL (30 s).
write_configuration() {
    local port host=$(hostname -s) user=$(id -un)
    port=$(free_ports) || { say "no three free ports from 17600 to 18599"; return 1; }
    cat >"$SLURM_CONF" <<CONF
ClusterName=sepit
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=10
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/slurmctld.pidfile
SlurmctldLogFile=$dir/slurmctld.log
# A folder of its own for each node: without TmpFS PMIx fails between two nodes of one machine.
SlurmdSpoolDir=$dir/spool.%n
SlurmdPidFile=$dir/slurmd.%n.pidfile
SlurmdLogFile=$dir/slurmd.%n.log
TmpFS=$dir/tmp.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=8
MessageTimeout=10
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 2))] CPUs=2 RealMemory=1000
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
CONF
}

munge_answers() { munge -n -S "$dir/munge.socket" >/dev/null 2>&1; }
controller_answers() { scontrol ping 2>/dev/null | grep -q 'is UP'; }
nodes_idle() { [ "$(sinfo -h -N -o %T 2>/dev/null | grep -c '^idle$')" = 2 ]; }
no_jobs() { [ -z "$(squeue -h 2>/dev/null)" ]; }

start_all() {
    start munged munged -F --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" \
        --pid-file="$dir/munged.pidfile" --log-file="$dir/munged.log" --seed-file="$dir/munged.seed"
    wait_for 10 munge_answers || { say "munged does not answer: $(tail -n 3 "$dir/munged.out")"; return 1; }
    start slurmctld slurmctld -D -f "$SLURM_CONF"
    wait_for 20 controller_answers || { say "slurmctld does not answer: $(tail -n 3 "$dir/slurmctld.log")"; return 1; }
    start_node n1
    start_node n2
    wait_for 30 nodes_idle || { say "a node is not idle: $(sinfo -h -N -o '%n %T'; tail -n 3 "$dir"/slurmd.n?.log)"; return 1; }
}

up() {
    local program
    for program in munged munge slurmctld slurmd sbatch; do
        command -v $program >/dev/null || { echo "skipped, because the packages slurm-wlm and munge are not installed"; return 77; }
    done
    ! lives slurmctld || { say "$dir already has a cluster that runs"; return 1; }
    [ ${#dir} -le 80 ] || { say "$dir: too long a name for a socket's folder (80 bytes)"; return 1; }
    mkdir -p "$dir"/{state,spool.n1,spool.n2,tmp.n1,tmp.n2} &&
        head -c 128 /dev/urandom >"$dir/munge.key" && chmod 600 "$dir/munge.key" &&
        write_configuration || return 1
    start_all || { down; return 1; }
}

down() {
    local each
    [ -e "$SLURM_CONF" ] || { say "there was never a cluster in $dir"; return 1; }
    if lives slurmctld; then
        scancel --full --user="$(id -un)" 2>/dev/null
        wait_for 15 no_jobs || say "jobs that did not end: $(squeue -h -o '%i %T')"
    fi
    for each in $daemons; do
        ! lives $each || kill "$process"
    done
    for each in $daemons; do
        wait_for 10 gone $each || { say "$each did not end in 10 s and was killed"; kill -9 "$process"; }
    done
    kill_members n1
    kill_members n2
}

running_node() { # what a command about a node needs
    [ "$node" = n1 ] || [ "$node" = n2 ] || usage
    lives slurmctld || { say "no cluster runs in $dir"; exit 1; }
}

case $what in
up) up ;;
down) down ;;
fail | lose)
    running_node
    lives "$node" || { say "$node does not run"; exit 1; }
    kill -9 "$process"
    [ "$what" = lose ] || kill_members "$node"
    ;;
revive)
    running_node
    ! lives "$node" || { say "$node runs already"; exit 1; }
    start_node "$node"
    ;;
*) usage ;;
esac
