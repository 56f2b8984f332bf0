"""The tests of the client once more, by a user of the broker who may do nothing else."""

from __future__ import annotations

from tests.acceptance.test_bad_input import *  # noqa: F403
from tests.acceptance.test_crowd import *  # noqa: F403
from tests.acceptance.test_drain import *  # noqa: F403
from tests.acceptance.test_heartbeats import *  # noqa: F403
from tests.acceptance.test_spool import *  # noqa: F403
from tests.acceptance.test_submit import *  # noqa: F403
from tests.acceptance.test_tokens import *  # noqa: F403
from tests.acceptance.test_watch import *  # noqa: F403
from tests.acceptance.test_work import *  # noqa: F403

del test_what_is_submitted_during_an_outage_is_registered_by_the_next_call  # noqa: F821 (it breaks the broker)
del test_a_reader_killed_at_random_hears_of_everything  # noqa: F821 (so does this)
