#!/usr/bin/env bash
# A Slurm of one node on this machine, to try sweeps on; no account database, no cgroups, no systemd.
#
#   sudo tests/launch/slurm_here.sh start    start it, or do nothing if it answers already
#   sudo tests/launch/slurm_here.sh stop     cancel all its jobs and end it
#        tests/launch/slurm_here.sh status   what it says of its node
#
# Needs root and Debian's or Ubuntu's packages: apt-get install slurm-wlm munge
# Writes /etc/slurm/slurm.conf (refuses to if there is another one) and /var/{lib,log}/slurm-here.
set -euo pipefail

CONF=/etc/slurm/slurm.conf
STATE=/var/lib/slurm-here
LOGS=/var/log/slurm-here
MARK="# Written by slurm_here.sh"
CPUS="${SLURM_HERE_CPUS:-$(nproc)}"

fail() { echo "slurm_here.sh: $*" >&2; exit 1; }
answers() { scontrol ping 2>/dev/null | grep -q ' UP' && sinfo -h -o %T 2>/dev/null | grep -qE 'idle|mixed|allocated'; }
running() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

configure() {
    if [ -f "$CONF" ] && ! grep -q "^$MARK" "$CONF"; then
        fail "$CONF is there and is not ours; this machine has a Slurm of its own"
    fi
    local host memory
    host="$(hostname -s)"
    memory=$(( $(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10 ))
    mkdir -p "$STATE/ctld" "$STATE/d" "$LOGS" "$(dirname "$CONF")"
    cat > "$CONF" <<CONF
$MARK
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/d
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$LOGS/slurmctld.log
SlurmdLogFile=$LOGS/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# A job that takes more memory than it asked for is ended, as cgroups would do it.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=$(( memory / CPUS ))
ReturnToService=2
KillWait=10
MinJobAge=60
SchedulerParameters=sched_interval=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$memory State=UNKNOWN
PartitionName=here Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

start_munge() {
    munge -n > /dev/null 2>&1 && return
    [ -f /etc/munge/munge.key ] || fail "/etc/munge/munge.key is missing; Debian's package makes it"
    mkdir -p /run/munge
    chown munge: /run/munge
    runuser -u munge -- munged
    munge -n > /dev/null || fail "munged does not answer"
}

start() {
    for needed in munged munge slurmctld slurmd sbatch; do
        command -v "$needed" > /dev/null || fail "$needed is missing; apt-get install slurm-wlm munge"
    done
    answers && { echo "Slurm answers already"; return; }
    [ "$(id -u)" = 0 ] || fail "start it as root"
    configure
    start_munge
    running "$STATE/slurmctld.pid" || slurmctld
    running "$STATE/slurmd.pid" || slurmd
    for _ in $(seq 30); do
        answers && { sinfo; return; }
        sleep 1
    done
    fail "Slurm does not answer; see $LOGS"
}

stop() {
    [ "$(id -u)" = 0 ] || fail "stop it as root"
    grep -q "^$MARK" "$CONF" 2>/dev/null || fail "there is none of ours"
    if answers; then
        squeue -h -o %A | sort -u | xargs -r scancel
        for _ in $(seq 20); do [ -z "$(squeue -h)" ] && break; sleep 1; done
    fi
    for name in slurmd slurmctld; do
        running "$STATE/$name.pid" || continue
        pid="$(cat "$STATE/$name.pid")"
        kill "$pid"
        for _ in $(seq 40); do kill -0 "$pid" 2>/dev/null || break; sleep 0.5; done  # it still writes
    done
    rm -f "$CONF"
    rm -rf "$STATE"
    echo "Slurm is stopped; munged goes on"
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    status) sinfo && squeue ;;
    *) sed -n '2,/^set/{/^#/p}' "$0"; exit 2 ;;
esac
