"""``python -m benchmarks``: how fast porch is, beside what bounds it and what else one might take.

On embedded servers, or on those of PORCH_DATABASE_URL and PORCH_BROKER_URL, where it makes and
removes databases of its own. Prints tables, and writes everything into ``benchmarks/results``.
Exits 1 if anything was lost or happened twice, and never for being slow.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import plots, report
from benchmarks.contest import OURS, Entrant, peers
from benchmarks.report import Figures
from benchmarks.rounds import Measured, measure
from benchmarks.servers import servers
from benchmarks.works import WORKS, shortened


def main() -> None:
    """Measure, print, keep, and judge."""
    asked = _arguments()
    # As Ctrl-C: all that was started is stopped, every database removed, and the rest told.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    entrants, out = _entrants(asked)
    works = [work for work in WORKS if not asked.only or work.name in asked.only]
    if asked.short:
        works = [shortened(work) for work in works]
    stem = asked.results / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    measured: list[Measured] = []
    facts = report.facts(_options(asked))
    stopped = False
    try:
        with servers() as shared, tempfile.TemporaryDirectory(prefix="porch-bench-") as logs:
            facts |= report.versions(shared.versions())
            # Each work on fresh ground; but there is little to do in a moment, and much to start.
            for some in [works] if asked.short else [[work] for work in works]:
                measuring = measure(some, entrants, shared, asked.rounds, Path(logs), _say)
                with closing(measuring) as found:
                    for one in found:
                        if isinstance(one, Measured):
                            measured.append(one)
                        else:
                            out.append(str(one))
                            _say(str(one), "\n")
    except KeyboardInterrupt:
        stopped = True
    figures = Figures(measured)
    file = stem.with_name(f"{stem.name}.json")
    report.keep(facts, figures, out, file)
    _say("", "\r")
    report.show(works, figures, [e.name for e in entrants if e.is_peer], facts["machine"]["load"])
    for path in (file, *plots.draw(works, figures, stem)):
        print(path)
    sys.exit("stopped before its end" if stopped else _judged(figures, out))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [work.name for work in WORKS]
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement (5)")
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="WORK",
                        help=f"of {', '.join(names)}")  # fmt: skip
    parser.add_argument(
        "--contestants", nargs="+", default=[], metavar="NAME", help="and no others"
    )
    parser.add_argument("--without-peers", action="store_true", help="porch and its limits only")
    parser.add_argument("--short", action="store_true", help="show that it works, in a moment")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="folder to write to")
    return parser.parse_args()


def _entrants(asked: argparse.Namespace) -> tuple[list[Entrant], list[str]]:
    """Who is called, and a line about each who is not there."""
    known = [*OURS, *([] if asked.without_peers else peers())]
    if asked.contestants:
        wrong = set(asked.contestants) - {entrant.name for entrant in known}
        if wrong:
            sys.exit(f"no contestant is called {', '.join(sorted(wrong))}")
        known = [entrant for entrant in known if entrant.name in asked.contestants]
    there = [entrant for entrant in known if entrant.python.exists()]
    out = [f"{e.name} is left out: `make bench` installs it" for e in known if e not in there]
    for line in out:
        _say(line, "\n")
    return there, out


def _options(asked: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(asked).items() if name != "results"}


def _judged(figures: Figures, out: list[str]) -> int:
    """The exit status: whether porch lost nothing, and all of its own could be measured."""
    ours = {entrant.name for entrant in OURS}
    lost = [one for one in figures.all if one.contestant in ours and one.flaws]
    for one in lost:
        print(f"{one.contestant}: {one.work}, {one.case}: {'; '.join(one.flaws)}", file=sys.stderr)
    return 1 if lost or any(line.split()[0] in ours for line in out) else 0


def _say(text: str, end: str = "") -> None:
    """What is being done: in place on a terminal, a line each elsewhere only if it is to stay."""
    if os.isatty(2):
        print(f"\r\x1b[K{text}", end=end, file=sys.stderr, flush=True)
    elif end == "\n":
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
