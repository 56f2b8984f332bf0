#!/usr/bin/env bash
# Registers a sample sheet and starts a Slurm array job with an element for each task that waits.
#
#   start.sh PIPELINE SHEET COLUMN[,COLUMN ...] CMD [ARG ...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pipeline=$1 sheet=$2 columns=$3
shift 3
AT_ONCE="${AT_ONCE:-50}" MOST="${MOST:-1000}" # MaxArraySize of the cluster, less 1

rc=0
waiting=$("$here/../array/register.sh" "$pipeline" "$sheet" "$columns") || rc=$?
if [ "$rc" -gt 1 ]; then exit "$rc"; fi
if [ "$waiting" -eq 0 ]; then exit "$rc"; fi
elements=$((waiting < MOST ? waiting : MOST))

# B: is for the batch script itself, which gives its task back; without it only srun's steps hear.
# Slurm would run a job again after a node has failed, with nothing to say that the first is dead:
# porch's lease decides that.
sbatch --parsable --job-name "porch-$pipeline" --array "1-$elements%$AT_ONCE" \
    --time "${TIME_LIMIT:-12:00:00}" --mem "${MEMORY:-4G}" --signal B:TERM@120 --no-requeue \
    --output "${LOGS:-$PWD}/porch-$pipeline-%A_%a.log" \
    "$here/../array/one_task.sh" "$@"
exit "$rc"
