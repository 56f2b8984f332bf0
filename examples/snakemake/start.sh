#!/usr/bin/env bash
# Registers a sample sheet and runs Snakemake for each run that is new, AT_ONCE at a time.
#
#   start.sh PIPELINE SHEET COLUMN[,COLUMN ...] WORK [SNAKEMAKE OPTION ...]
#
# Exit status: that of porch: 0 though runs FAILED, which `porch list --status FAILED` tells.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pipeline=$1 sheet=$2 columns=$3 work=$4
shift 4
rc=0
"$here/../array/register.sh" "$pipeline" "$sheet" "$columns" >/dev/null || rc=$?
if [ "$rc" -gt 1 ]; then exit "$rc"; fi # some rows are refused: the others are run
mkdir -p "$work"
work=$(cd "$work" && pwd)
# drain renews leases, reports until it is heard, and at SIGTERM stops what runs and gives it back:
# the next job goes on with it. MOST tasks at most, for a job of limited time.
porch drain --pipeline "$pipeline" -j "${AT_ONCE:-2}" ${MOST:+--max "$MOST"} --on-stop release \
    --grace "${GRACE:-20}" --job-id "${SLURM_JOB_ID:-${LSB_JOBID:-$(hostname).$$}}" \
    -- "$here/one_run.sh" "$work" "$@"
exit "$rc"
