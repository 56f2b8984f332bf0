"""docs/http.md is run: every shell block, in order, in one shell."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.house import House, environment, needs

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


def test_every_line_of_the_page_does_what_it_says(house: House, tmp_path: Path) -> None:
    needs("curl")
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = tmp_path / "typed.sh"
    # What curl writes has no line of its own.
    typed = re.sub(r"^(curl|grep|printf)", r"echo\n\1", "".join(blocks), flags=re.MULTILINE)
    script.write_text(f"set -eu\n{typed}")
    done = subprocess.run(
        ["bash", str(script)],
        cwd=tmp_path,
        env=environment(
            {"GATEWAY": house.ready["gateway_url"], "ADMIN": house.ready["admin_token"]}
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [line["created"] for line in said if "created" in line] == [True, True]
    assert [r["status"] for line in said for r in line.get("results", [])] == [
        *("CLAIMED", "FAILED", "PENDING", "CANCELLED")
    ]
    assert [line["released"] for line in said if "released" in line] == [1]
    assert [line.get("counts") for line in said if line.keys() == {"counts"}] == [
        {"CANCELLED": 1, "PENDING": 1}
    ]
    near = [line["nearest"]["differs"] for line in said if line.get("nearest")]
    assert near == ["type", "value"]
    assert said[-1]["code"] == "missing_token"
