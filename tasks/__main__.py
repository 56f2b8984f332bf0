"""``python -P -m tasks worker ...``: Celery's own command with porch's application.

Not ``celery -A tasks.app``: that looks for the module in the working directory first, where a
wrapper may have a ``tasks.py`` of its own.
"""

from __future__ import annotations

import os
import sys

# SIGTERM as Celery's SIGQUIT: a worker ends within the soft shutdown's 10 s and puts unfinished
# messages back. Billiard reads it when it is imported.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

# Imported here, by name: Celery's own ``imports`` would look in the working directory first.
import tasks.beginning
import tasks.control
import tasks.overview
import tasks.sign_of_life
import tasks.verbs  # noqa: F401
from config.logs import configure_logging
from config.settings import Settings
from tasks import metrics
from tasks.app import app

if __name__ == "__main__":
    configure_logging(Settings.from_environment())  # before Celery says a word
    part = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    metrics.begin(part)
    app.start(sys.argv[1:])
