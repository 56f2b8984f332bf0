#!/usr/bin/env bash
# Works on what is PENDING with curl and Python's json alone: claims, runs, reports, one at a time.
#
#   work.sh CMD [ARG ...]
#
# CMD has the task on standard input, as one JSON object. Exit status: 0 nothing is left to claim;
# 1 refused or out of reach, as curl says; 143 stopped by SIGTERM, the task given back.
set -euo pipefail
: "${GATEWAY:?the address that porch-server up prints}" "${TOKEN_FILE:?a file that holds the token}"
# HEARTBEAT: seconds between heartbeats (a third of the pipeline's lease; 300 where it has none).

# ask PATH KEY BODY: the same key is the same request, so that no try has a second effect.
ask() {
    curl --silent --show-error --fail-with-body --connect-timeout 10 --max-time 60 \
        --retry "${RETRIES:-8}" --retry-connrefused --retry-max-time 900 \
        --header @<(echo "Authorization: Bearer $(cat "$TOKEN_FILE")") \
        --header "Content-Type: application/json" --header "Idempotency-Key: $2" \
        --data-binary "$3" "$GATEWAY/api/v2/tasks/$1"
}
# json EXPRESSION [ARG ...]: what Python makes of the JSON on standard input, named `it`.
json() { python3 -c 'import json, sys; it = json.load(sys.stdin); print(eval(sys.argv[1]))' "$@"; }
first_verdict='it["results"][0].get("error", {}).get("code", "")'

stopped=0 child=0 beater=0
trap 'stopped=1; [ "$child" -eq 0 ] || kill -TERM -- "-$child" 2>/dev/null || true' TERM INT

while [ "$stopped" -eq 0 ]; do
    read -r claim </proc/sys/kernel/random/uuid
    answer=$(ask claim "$claim" "{\"n\": 1, \"job_id\": \"$(hostname).$$\"}")
    task=$(json 'json.dumps(it["tasks"][0]) if it["tasks"] else ""' <<<"$answer")
    [ -n "$task" ] || break
    held=$(json '"\"task\": \"%(task_input_id)s\", \"version\": \"%(version)s\", \"attempt\": %(attempt)s" % it' <<<"$task")

    answer=$(ask update "$claim-begin" "{\"changes\": [{$held, \"status\": \"RUNNING\"}]}")
    verdict=$(json "$first_verdict" <<<"$answer")
    if [ -n "$verdict" ]; then
        echo "work.sh: not started: $verdict" >&2
        continue
    fi

    every=${HEARTBEAT:-$(json '(it["results"][0]["lease"] or 900) / 3' <<<"$answer")}

    errors=$(mktemp)
    set -m # a group of its own for each, so that all of it can be stopped
    "$@" <<<"$task" 2>"$errors" &
    child=$!
    (
        set +m
        trap - TERM INT
        while sleep "$every"; do
            read -r key </proc/sys/kernel/random/uuid
            verdict=$(ask heartbeat "$key" "{\"tasks\": [{$held}]}" | json "$first_verdict") || continue
            # Refused: the task was taken from us, and two runs must not go on.
            if [ -n "$verdict" ]; then kill -TERM -- "-$child"; fi
        done
    ) &
    beater=$!
    set +m
    status=0
    wait "$child" || status=$?
    if [ "$stopped" -ne 0 ]; then
        rc=0
        wait "$child" 2>/dev/null || rc=$?
        if [ "$rc" -ne 127 ]; then status=$rc; fi # 127: the first wait has had its status
    fi
    child=0
    kill -TERM -- "-$beater" 2>/dev/null || true

    if [ "$status" -eq 0 ]; then
        body="{\"changes\": [{$held, \"status\": \"DONE\"}]}" path=update
    elif [ "$stopped" -ne 0 ]; then
        body="{\"tasks\": [{$held}], \"message\": \"stopped by a signal\"}" path=release
    else
        message=$(tail -n 5 "$errors" | tail -c 2000 | python3 -c 'import json, sys
print(json.dumps(f"exit {sys.argv[1]}: " + sys.stdin.buffer.read().decode("utf-8", "replace").strip()))' "$status")
        body="{\"changes\": [{$held, \"status\": \"FAILED\", \"message\": $message}]}" path=update
    fi
    cat "$errors" >&2
    rm -f "$errors"
    verdict=$(ask "$path" "$claim-end" "$body" | json "$first_verdict") || {
        echo "work.sh: NOT reported, nobody answers; later: POST /api/v2/tasks/$path $body" >&2
        exit 1
    }
    if [ -n "$verdict" ]; then echo "work.sh: not reported: $verdict: $body" >&2; fi
done
[ "$stopped" -eq 0 ] || exit 143
