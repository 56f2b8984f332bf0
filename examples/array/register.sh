#!/usr/bin/env bash
# Registers the rows of a sample sheet and prints how many tasks wait to be claimed.
#
#   register.sh PIPELINE SHEET COLUMN[,COLUMN ...]
#
# From cron: the same rows again are known, not new. While the broker is away, what is new is kept in
# SPOOL and sent first next time.
set -euo pipefail
pipeline=$1 sheet=$2 columns=$3
export PORCH_TIMEOUT="${PORCH_TIMEOUT:-30}"
SPOOL="${SPOOL:-$HOME/.porch-spool/$pipeline}"
mkdir -p "$SPOOL"

rc=0
porch submit --pipeline "$pipeline" "$sheet" --key "$columns" --spool "$SPOOL" --quiet || rc=$?
# 1: some rows are refused, which porch has told; all others are registered, so we go on.
if [ "$rc" -gt 1 ]; then exit "$rc"; fi

counts=$(porch list --pipeline "$pipeline" --status PENDING --count)
python3 -c 'import json, sys; print(json.load(sys.stdin).get("PENDING", 0))' <<<"$counts"
exit "$rc"
