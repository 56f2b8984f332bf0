"""The service as uvicorn imports it, in processes that end with the one that started them."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.environ["BENCH_PATH"])
import load
from service import app

__all__ = ["app"]

load.die_with_parent()
