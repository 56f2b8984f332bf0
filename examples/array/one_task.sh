#!/usr/bin/env bash
# One element of an array job: claims one task, runs a command for it, reports how it ended.
#
#   one_task.sh CMD [ARG ...]
#
# CMD has the task on standard input, as one JSON object: "task_input", "task_input_id", "attempt"...
# Exit status: 0 done, or nothing to claim; 3 porch could not be reached, 1 it refused;
# 128 + a signal's number when stopped; else CMD's own.
#
# PATIENCE: how long the seconds between tries grow while porch is away (up to 600).
# HEARTBEAT: seconds between heartbeats (a third of the pipeline's lease; 300 where it has none).
# SPOOL: a folder for the last report where nobody answers; the next register.sh, or `porch flush`,
# sends it.
# GRACE: seconds that CMD has to end after SIGTERM (6, as LSF kills after 10).
set -euo pipefail

export PORCH_TIMEOUT="${PORCH_TIMEOUT:-30}"
PATIENCE="${PATIENCE:-600}" GRACE="${GRACE:-6}"

if [ -n "${LSB_JOBID:-}" ]; then
    job="lsf.${LSB_JOBID}[${LSB_JOBINDEX:-0}]"
elif [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then
    job="slurm.${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID:?}"
elif [ -n "${SLURM_JOB_ID:-}" ]; then
    job="slurm.$SLURM_JOB_ID"
else
    job="${JOB_ID:-$(hostname).$$}"
fi

say() { echo "one_task.sh: $*" >&2; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1" <<<"$claimed"; }

# 3: nobody answered; 128 and more: a signal of the scheduler ended porch itself. Either way it may or
# may not have been done, and all that we ask is safe to repeat. Everything else is an answer.
until_answered() {
    local pause=1 rc
    while :; do
        rc=0
        "$@" || rc=$?
        if [ "$rc" -ne 3 ] && [ "$rc" -lt 128 ] || [ "$pause" -gt "$PATIENCE" ]; then return "$rc"; fi
        sleep "$pause" &
        wait $! || true # a signal ends the wait, and there is one more try
        pause=$((stopped_by ? PATIENCE + 1 : pause * 2))
    done
}

stopped_by=0 taken=0 child=0 beater=0
# The trap must not wait for the command to end by itself, which is why that runs in the background.
stop() {
    stopped_by=$1
    if [ "$child" -ne 0 ]; then kill -TERM -- "-$child" 2>/dev/null || true; fi
}
trap 'stop 15' TERM
trap 'stop 2' INT
trap 'stop 12' USR2 # LSF, when the run limit is near
trap 'taken=1; stop 15' USR1

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The name of this claim: asking again with it is handed the same task, and no second one.
read -r request </proc/sys/kernel/random/uuid
rc=0
until_answered porch claim -n 1 --job-id "$job" --request-id "$request" >"$scratch/claimed" || rc=$?
if [ "$rc" -ne 0 ] || [ "$stopped_by" -ne 0 ]; then
    until_answered porch release --claim "$request" --message "stopped before it began ($job)" >/dev/null ||
        say "may hold a task; later: porch release --claim $request"
    exit $((stopped_by ? 128 + stopped_by : rc))
fi
claimed=$(tail -n 1 "$scratch/claimed")
if [ -z "$claimed" ]; then
    say "nothing to claim: another job has it, and that is well"
    exit 0
fi
task=$(field task_input_id) attempt=$(field attempt) version=$(field version)
held=("$task" --attempt "$attempt" --version "$version")
give_back() {
    until_answered porch release "${held[@]}" --message "$1" >/dev/null ||
        say "NOT given back; later: porch release ${held[*]}"
}

# No answer, or a refusal, means that it must not be run here.
rc=0
until_answered porch update "${held[@]}" --status RUNNING >"$scratch/running" || rc=$?
if [ "$rc" -ne 0 ] || [ "$stopped_by" -ne 0 ]; then
    say "not started (exit $rc of porch)"
    if [ "$rc" -ne 1 ]; then give_back "not started ($job)"; fi
    exit $((stopped_by ? 128 + stopped_by : rc))
fi

third='import json, sys; print((json.loads(sys.stdin.read().splitlines()[-1])["lease"] or 900) / 3)'
HEARTBEAT="${HEARTBEAT:-$(python3 -c "$third" <"$scratch/running")}"

# A group of its own for each, so that all of it can be stopped.
set -m
"$@" <<<"$claimed" 2>"$scratch/stderr" &
child=$!
(
    set +m
    trap - TERM INT USR1 USR2 EXIT
    while sleep "$HEARTBEAT"; do
        rc=0
        porch heartbeat "${held[@]}" >/dev/null || rc=$?
        # Refused: the lease had run out, or somebody cancelled it. Two runs must not go on.
        if [ "$rc" -eq 1 ]; then kill -USR1 $$; fi
    done
) &
beater=$!
set +m
if [ "$stopped_by" -ne 0 ]; then stop "$stopped_by"; fi # it came in between

status=0
wait "$child" || status=$?
if [ "$status" -gt 128 ]; then sleep 1 || true; fi # LSF signals every process, and us perhaps last
if [ "$stopped_by" -ne 0 ]; then
    # The trap has ended the wait: the command has a moment to clean up, or even to finish.
    for ((tenth = 0; tenth < GRACE * 10; tenth++)); do
        kill -0 -- "-$child" 2>/dev/null || break
        sleep 0.1 || true
    done
    kill -KILL -- "-$child" 2>/dev/null || true
    rc=0
    wait "$child" 2>/dev/null || rc=$?
    if [ "$rc" -ne 127 ]; then status=$rc; fi # 127: the first wait has had its status
fi
kill -TERM -- "-$beater" 2>/dev/null || true
cat "$scratch/stderr" >&2

if [ "$taken" -ne 0 ]; then
    say "the task was taken from us: stopped, nothing reported"
    exit 1
elif [ "$status" -eq 0 ]; then
    report=(--status DONE)
elif [ "$stopped_by" -ne 0 ]; then
    give_back "stopped by signal $stopped_by ($job)"
    exit $((128 + stopped_by))
else
    # What cannot be read as text would be refused.
    words=$(tail -n 5 "$scratch/stderr" | tail -c 2000 | iconv -c -f UTF-8 -t UTF-8 | tr -d '\000' || true)
    report=(--status FAILED --message "exit $status: $words")
fi
if [ -n "${SPOOL:-}" ]; then report+=(--spool "$SPOOL" --pipeline "$(field pipeline)"); fi
rc=0
until_answered porch update "${held[@]}" "${report[@]}" >/dev/null || rc=$?
if [ "$rc" -ne 0 ]; then
    say "NOT reported (exit $rc of porch); later: porch update ${held[*]} --status ${report[1]}"
    exit "$rc"
fi
exit "$status"
