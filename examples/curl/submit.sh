#!/usr/bin/env bash
# Registers definitions with curl alone: JSON lines, one task_input a line.
#
#   submit.sh [FILE.jsonl]
#
# FILE is copied to OUTBOX first, and what is there is sent, oldest first: while the gateway is away
# the next call (from cron: without FILE) sends it. Sending twice registers nothing twice.
# Exit status: 0 all registered, or kept for later; 1 some lines were refused: see OUTBOX/refused.
set -euo pipefail
: "${GATEWAY:?the address that porch-server up prints}" "${TOKEN_FILE:?a file that holds the token}"
OUTBOX="${OUTBOX:-$HOME/.porch-outbox}"
mkdir -p "$OUTBOX/sent" "$OUTBOX/refused"

if [ $# -gt 0 ]; then
    # Under a name that is not sent before it is complete.
    name=$(date +%Y%m%dT%H%M%S%N).$$
    cp -- "$1" "$OUTBOX/.$name"
    mv -- "$OUTBOX/.$name" "$OUTBOX/$name.jsonl"
fi

exec 9>"$OUTBOX/.lock"
flock -n 9 || exit 0 # somebody is just sending it

exit_status=0
for file in "$OUTBOX"/*.jsonl; do
    [ -e "$file" ] || break
    name=$(basename "$file")
    rc=0
    # The token from a file: process lists show arguments to everyone. -T reads answers while it
    # sends, and can begin again where it is retried.
    curl --silent --show-error --fail-with-body --connect-timeout 10 --speed-time 60 --speed-limit 1 \
        --retry "${RETRIES:-5}" --retry-connrefused --retry-max-time 300 \
        --header @<(echo "Authorization: Bearer $(cat "$TOKEN_FILE")") \
        --header "Content-Type: application/x-ndjson" --header "Idempotency-Key: $name" --header "Expect:" \
        --output "$OUTBOX/.answers" --upload-file "$file" --request POST \
        "$GATEWAY/api/v2/tasks" || rc=$?
    if [ "$rc" -eq 22 ] && ! grep -q '"status":503' "$OUTBOX/.answers"; then
        cat "$OUTBOX/.answers" >&2 # the whole request is refused: it says why, and the cure
        mv -- "$file" "$OUTBOX/refused/$name"
        exit_status=1
    elif [ "$rc" -ne 0 ] || grep -q '^{"stopped_at"' "$OUTBOX/.answers"; then
        echo "submit.sh: kept in $OUTBOX (curl: $rc), and sent next time" >&2
        break
    elif grep '"error":' "$OUTBOX/.answers" >&2; then
        cp -- "$OUTBOX/.answers" "$OUTBOX/refused/$name.answers"
        mv -- "$file" "$OUTBOX/refused/$name"
        exit_status=1
    else
        mv -- "$file" "$OUTBOX/sent/$name"
    fi
done
exit "$exit_status"
