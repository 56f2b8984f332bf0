"""``python -m tests.faults``: runs with many seeds, a table of each, and one of all together."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from random import SystemRandom

import click
from rich.console import Console

from config.server_home import remove_state_dir
from tests.faults.run import run
from tests.faults.table import show


@click.command()
@click.option("--seeds", default=20, show_default=True, help="How many runs.")
@click.option("--seed", type=int, help="Of the first run; the others follow it. Random unless set.")
@click.option("--seconds", default=35.0, show_default=True, help="Of faults in each run.")
@click.option("--wrappers", default=6, show_default=True)
def main(seeds: int, seed: int | None, seconds: float, wrappers: int) -> None:
    """Strike porch while it works, and prove afterwards that nothing was lost and nothing doubled.

    Ends with status 1 at the first violation, and keeps the folder of that run.
    """
    for name in [name for name in os.environ if name.startswith("PORCH_")]:
        del os.environ[name]
    console = Console(width=100)
    first = SystemRandom().randrange(1_000_000) if seed is None else seed
    results = []
    for number in range(first, first + seeds):
        console.print(f"seed {number}: {seconds:g} s of faults", highlight=False)
        folder = Path(tempfile.mkdtemp(prefix="porch-faults-"))
        result = run(number, seconds, folder, wrappers)
        results.append(result)
        show(
            console,
            [result],
            f"seed {number} ({result.seconds:.0f} s, {result.draining:.0f} s of it draining)",
        )
        if result.violations:
            for blow in result.blows:
                console.print(str(blow), highlight=False)
            for violation in result.violations[:50]:
                console.print(violation, style="red", highlight=False, markup=False)
            console.print(f"again: make faults SEEDS=1 SEED={number} SECONDS={seconds:g}")
            console.print(f"kept: {folder}")
            sys.exit(1)
        for state in (folder / "one", folder / "two"):
            remove_state_dir(state)
        shutil.rmtree(folder)
    show(console, results, f"{len(results)} seeds, from {first} on")


if __name__ == "__main__":
    main()
