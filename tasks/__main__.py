"""``python -P -m tasks worker ...``, and ``beat``: Celery's own commands with porch's application.

Not ``celery -A tasks.app``: that looks for the module in the working directory first, where a
wrapper may have a ``tasks.py`` of its own, and loads all its commands, and Flower, for one of them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from config.importing import without_collector

# SIGTERM as Celery's SIGQUIT: a worker ends within the soft shutdown's 10 s and puts unfinished
# messages back. Billiard reads it when it is imported.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

# Imported here, by name: Celery's own ``imports`` would look in the working directory first.
with without_collector():
    from celery.bin.base import CLIContext

    import tasks.sign_of_life  # noqa: F401
    from config.logs import configure_logging
    from config.settings import Settings
    from tasks import metrics
    from tasks.app import app

#: What beat, which only asks for work, does without.
_CARRIES_OUT = ("tasks.beginning", "tasks.control", "tasks.overview", "tasks.verbs")

if __name__ == "__main__":
    configure_logging(Settings.from_environment())  # before Celery says a word
    part, *options = sys.argv[1:]
    metrics.begin(part)
    with without_collector():
        command = import_module(f"celery.bin.{part}")
        for name in _CARRIES_OUT if part == "worker" else ():
            import_module(name)
    # Quiet: without a banner, which is no line of a log.
    context = CLIContext(app=app, no_color=True, workdir=None, quiet=True)
    getattr(command, part).main(options, prog_name=part, obj=context, standalone_mode=False)
