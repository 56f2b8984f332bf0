#!/usr/bin/env bash
# A tour of porch for newcomers, five minutes long: run `porch-server up` in one terminal and this in
# another, with the same PORCH_STATE_DIR. It says what it does, does it, and goes on at Enter (at
# once, where nobody is there to press it).
set -euo pipefail

tell() {
    printf '\n'
    printf '%s\n' "$@"
    if [ -t 0 ]; then read -r -p "   [Enter] " _; fi
}
exec 3>&1 # the commands are told here, wherever their output goes
run() {
    local word told=
    for word; do
        case $word in *[!A-Za-z0-9_./:=,{}-]*) word="'$word'" ;; esac
        told+=" $word"
    done
    echo "   \$$told" >&3
    "$@" 3>&-
}

: "${PORCH_STATE_DIR:?export the PORCH_STATE_DIR that porch-server up has}"
# shellcheck disable=SC1091
. "$PORCH_STATE_DIR/env.sh"
pipeline=tour-$(date +%s)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"

tell "1. porch makes sure that a pipeline runs once for each definition of work. First it must know the" \
    "   pipeline. Only an administrator may tell; env.sh, which I have just read, makes us one."
run porch pipeline register "$pipeline" --uri https://example.org/tour --version 1.0

tell "2. Scripts get a token for that one pipeline. It is shown once: porch keeps a hash of it."
porch token issue --pipeline "$pipeline" --description tour >token.json
PORCH_TOKEN=$(python3 -c 'import json; print(json.load(open("token.json"))["token"])')
export PORCH_TOKEN

tell "3. A definition is a JSON object. Here are three, from a sample sheet."
printf 'Run,Layout\nERR1,SINGLE\nERR2,PAIRED\nERR3,PAIRED\n' >runs.csv
run porch submit --pipeline "$pipeline" runs.csv --key Run,Layout --quiet

tell "4. Again, as cron would: nothing is new. The order of keys and rows does not matter either."
run porch submit --pipeline "$pipeline" runs.csv --key Layout,Run --quiet

tell "5. Work on it: porch claims each task, runs a command for it, and reports how that ended. Mine" \
    "   fails for ERR2. Start as many of these as you like, anywhere: no task is handed out twice."
cat >one.sh <<'SCRIPT'
#!/bin/sh
[ "$1" != ERR2 ] || [ -e mended ] || { echo "bgzip: No space left on device" >&2; exit 1; }
echo "   ... working on $1, $PORCH_INPUT_LAYOUT"
SCRIPT
chmod +x one.sh
run porch drain -j 2 -- ./one.sh '{Run}'

tell "6. What failed, and why? Each task has its history, for years."
failed=$(porch list --status FAILED | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["task_input_id"][:8])')
run porch show "$failed"

tell "7. The cause is mended; the task is made PENDING again, on purpose and with a reason, and run."
touch mended
run porch rerun "$failed" --reason "there is room now" >/dev/null
run porch drain -- ./one.sh '{Run}'
run porch list --count

tell "8. What a script does without drain: claim, say that it runs, say how it ended. The attempt fences" \
    "   it: the report of a script that was thought dead is refused."
echo '{"Run": "ERR4", "Layout": "SINGLE"}' >one.jsonl
run porch submit --quiet one.jsonl
run porch claim --job-id "tour.$$" >claimed.json
task=$(python3 -c 'import json; print(json.load(open("claimed.json"))["task_input_id"][:8])')
run porch update "$task" --attempt 1 --status RUNNING
run porch update "$task" --attempt 1 --status DONE
run porch update "$task" --attempt 0 --status FAILED || echo "   (exit $?: refused by a rule; 2 is bad usage, 3 nobody there)"

tell "That is all there is to it. The other folders here have it for cron, Slurm, LSF, wr, Snakemake," \
    "Nextflow and Python. What you have just made is at ${PORCH_GATEWAY_URL:-the gateway}/, too."
