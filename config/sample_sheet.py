"""Sample sheets for the demo: made up, or a real one."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from coordinator.errors import PorchError


class UnknownColumn(PorchError):
    """The key of a demo names a column that its sheet does not have."""

    code = "unknown_column"


_PLATFORMS = ("ILLUMINA", "OXFORD_NANOPORE", "PACBIO_SMRT", "ELEMENT")
_STRATEGIES = ("WGS", "AMPLICON", "RNA-Seq", "Targeted-Capture")


def write_sample_sheet(path: Path, runs: int) -> Path:
    """A CSV file of the sequencing runs of a study that never was; the same at each call."""
    dice = random.Random("porch")  # noqa: S311
    with path.open("w", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(
            ("Run", "BioSample", "LibraryStrategy", "LibraryLayout", "Platform", "bases")
        )
        for n in range(runs):
            sheet.writerow(
                (
                    f"ERR{9_000_000 + n}",
                    f"SAMEA{7_000_000 + n // 2}",
                    dice.choice(_STRATEGIES),
                    dice.choice(("SINGLE", "PAIRED")),
                    dice.choice(_PLATFORMS),
                    dice.randrange(10**6, 10**9),
                )
            )
    return path


def distinct_definitions(path: Path, key: list[str]) -> int:
    """How many different definitions the columns ``key`` of a CSV file make.

    Raises UnknownColumn.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        there_are = rows.fieldnames or ()
        for column in key:
            if column not in there_are:
                raise UnknownColumn(
                    f'{path.name} has no column "{column}"', f"it has {', '.join(there_are)}"
                )
        return len({tuple(row[column] for column in key) for row in rows})
