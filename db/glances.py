"""The statements behind the overview. A page reads some thousand rows at most, by an index; counts
read two indexes and no table; what happened when, the events of that time.

Two habits keep the planner from a scan that is quick on paper only, whatever it knows of the table.
An index is walked by comparing whole rows, ``(pipeline_id, task_id) < (...)``, and in its whole
order: said with ``=``, the order by task_id alone would do, and the primary key would be walked
through the tasks of all other pipelines. And what was found is looked up one by one, in a LATERAL
that OFFSET 0 keeps as it is: joined, a thousand rows may be enough to read all of a table.
"""

from __future__ import annotations

from sqlalchemy import text

#: What the planner should know: the pages that matter are in memory; to compile such statements
#: takes longer than to run them; and where an index has the order, to sort all of a pipeline, or
#: parts of it, is no way to its newest task.
SETTINGS = (
    "SET LOCAL random_page_cost = 1.1; SET LOCAL jit = off; "
    "SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off"
)

#: Held by a claim of longer ago than its pipeline's limit. No claim is older than its task.
_LONG = """
            AND t.created_at < now() - make_interval(secs => (
                SELECT l.seconds FROM unnest(CAST(:limited AS bigint[]), CAST(:limits AS float[]))
                    AS l (pipeline_id, seconds) WHERE l.pipeline_id = t.pipeline_id))
            AND (SELECT e.at FROM porch.event e
                WHERE e.task_id = t.task_id AND e.attempt = t.attempt AND e.to_status = 'CLAIMED'
            ) < now() - make_interval(secs => (
                SELECT l.seconds FROM unnest(CAST(:limited AS bigint[]), CAST(:limits AS float[]))
                    AS l (pipeline_id, seconds) WHERE l.pipeline_id = t.pipeline_id))"""

_TEXT = "lower(CAST(t.task_input AS text)) LIKE lower(:text{}) ESCAPE '!'"

_PIPELINES = """(
            SELECT pipeline_id FROM porch.pipeline
            WHERE CAST(:pipeline_id AS bigint) IS NULL OR pipeline_id = :pipeline_id) p"""

#: All tasks, the newest first.
_ALL = """
        SELECT task_id, created_at AS age FROM porch.task
        WHERE task_id < :task_id
        ORDER BY task_id DESC LIMIT :look_at"""

_NOT_DONE = f"""
            SELECT c.task_id
            FROM {_PIPELINES} CROSS JOIN unnest(CAST(:not_done AS text[])) s (status)
            CROSS JOIN LATERAL (
                SELECT t.task_id FROM porch.task t
                WHERE (t.pipeline_id, t.status, t.task_id) < (p.pipeline_id, s.status, :task_id)
                    AND (t.pipeline_id, t.status) >= (p.pipeline_id, s.status)
                    AND t.status <> 'DONE'
                ORDER BY t.pipeline_id DESC, t.status DESC, t.task_id DESC LIMIT :look_at) c"""  # noqa: S608

_DONE = f"""
            SELECT c.task_id
            FROM {_PIPELINES} CROSS JOIN LATERAL (
                SELECT t.task_id FROM porch.task t
                WHERE (t.pipeline_id, t.task_id) < (p.pipeline_id, :task_id)
                    AND t.pipeline_id >= p.pipeline_id AND t.status = 'DONE'
                ORDER BY t.pipeline_id DESC, t.task_id DESC LIMIT :look_at) c"""  # noqa: S608

#: The latest failures of each pipeline, by the time of the failure.
_FAILED = f"""
        SELECT c.* FROM {_PIPELINES} CROSS JOIN LATERAL (
            SELECT t.task_id, t.pipeline_id, t.updated_at, t.updated_at AS age FROM porch.task t
            WHERE (t.pipeline_id, t.updated_at, t.task_id)
                    < (p.pipeline_id, CAST(:changed AS timestamptz), :task_id)
                AND t.pipeline_id >= p.pipeline_id AND t.status = 'FAILED'
            ORDER BY t.pipeline_id DESC, t.updated_at DESC, t.task_id DESC LIMIT :look_at) c
        ORDER BY c.updated_at DESC, c.task_id DESC LIMIT :look_at"""  # noqa: S608


def newest(*, walk: str, by_change: bool, texts: int, limited: bool) -> str:
    """The next tasks of a page, each with how many were looked at and the last of them.

    ``walk``: how tasks are come by: ``all``, ``not_done``, ``done``, ``both`` or ``failed``.
    ``texts``: of how many one must be in the input.
    """
    parts = {"not_done": [_NOT_DONE], "done": [_DONE], "both": [_NOT_DONE, _DONE]}
    if walk in parts:
        seen = f"""
        SELECT u.task_id, t.created_at AS age FROM (
            SELECT task_id FROM ({" UNION ALL ".join(parts[walk])}) u
            ORDER BY task_id DESC LIMIT :look_at
        ) u CROSS JOIN LATERAL (
            SELECT created_at FROM porch.task t WHERE t.task_id = u.task_id OFFSET 0) t"""  # noqa: S608
    else:
        seen = {"all": _ALL, "failed": _FAILED}[walk]
    order = "updated_at DESC, task_id DESC" if by_change else "task_id DESC"
    return f"""
    WITH seen AS MATERIALIZED ({seen}
    ), last AS (
        SELECT count(*) OVER () AS looked_at, s.* FROM seen s ORDER BY
            {"updated_at, task_id" if by_change else "task_id"} LIMIT 1
    ), found AS (
        SELECT t.* FROM seen s CROSS JOIN LATERAL (
            SELECT t.*, p.name AS pipeline
            FROM porch.task t JOIN porch.pipeline p USING (pipeline_id)
            WHERE t.task_id = s.task_id
                AND t.status = ANY (CAST(:statuses AS text[]))
                {f"AND ({' OR '.join(map(_TEXT.format, range(texts)))})" if texts else ""}
                {_LONG if limited else ""}
            OFFSET 0) t
        ORDER BY {order} LIMIT :most
    )
    SELECT l.looked_at, l.task_id AS last_id, l.age AS last_age, f.*
    FROM last l LEFT JOIN found f ON true
    ORDER BY {", ".join("f." + word for word in order.split(", "))}
    """  # noqa: S608


#: Tasks of each pipeline per status, each part from the index that is all of it.
STATUS_COUNTS = text(
    """
    SELECT p.name, c.status, c.tasks
    FROM porch.pipeline p LEFT JOIN (
        SELECT pipeline_id, status, count(*) AS tasks FROM porch.task
        WHERE status <> 'DONE' GROUP BY pipeline_id, status
        UNION ALL
        SELECT pipeline_id, 'DONE', count(*) FROM porch.task
        WHERE status = 'DONE' GROUP BY pipeline_id
    ) c USING (pipeline_id)
    ORDER BY p.name
    """
)

NOW = text("SELECT clock_timestamp()")

_HAPPENED = """
    SELECT {whose}date_bin(make_interval(secs => :tick), e.at, '1970-01-01 00:00+00') AS begin,
        count(*) FILTER (WHERE e.from_status IS NULL) AS submitted,
        count(*) FILTER (WHERE e.from_status IS NOT NULL AND e.to_status = 'DONE') AS done,
        count(*) FILTER (WHERE e.from_status IS NOT NULL AND e.to_status = 'FAILED') AS failed
    FROM porch.event e {joined}
    WHERE (e.from_status IS NULL OR e.to_status IN ('DONE', 'FAILED')) AND NOT e.refused
        AND e.at >= :begin AND e.at < :end {only}
    GROUP BY {by}
    """
_JOINED = "JOIN porch.task t USING (task_id)"

#: What happened in each tick.
HAPPENED = text(_HAPPENED.format(whose="", joined="", only="", by="1"))

#: The same of one pipeline. An event does not know its pipeline; how to find it is left to the
#: planner: of a day the tasks are looked up, of a day that was a month's work they are all read.
HAPPENED_IN_ONE = text(
    _HAPPENED.format(whose="", joined=_JOINED, only="AND t.pipeline_id = :pipeline_id", by="1")
)

#: The same of each pipeline.
HAPPENED_IN_EACH = text(
    f"""
    SELECT p.name AS pipeline, h.*
    FROM ({_HAPPENED.format(whose="t.pipeline_id, ", joined=_JOINED, only="", by="1, 2")}) h
        JOIN porch.pipeline p USING (pipeline_id)
    """  # noqa: S608
)

#: How long the latest finished runs of each pipeline took. The last change of a DONE task is its
#: end; none has ended in the future, whatever was imported. When a run began whose claim the import
#: filled in, nobody knows.
RUN_TIMES = text(
    """
    WITH run AS (
        SELECT p.pipeline_id, p.name,
            CAST(extract(epoch FROM d.updated_at - e.at) AS float) AS seconds
        FROM porch.pipeline p CROSS JOIN LATERAL (
            SELECT t.task_id, t.attempt, t.updated_at FROM porch.task t
            WHERE (t.pipeline_id, t.updated_at, t.task_id)
                    < (p.pipeline_id, statement_timestamp(), 9223372036854775807)
                AND t.pipeline_id >= p.pipeline_id AND t.status = 'DONE'
            ORDER BY t.pipeline_id DESC, t.updated_at DESC, t.task_id DESC LIMIT :latest
        ) d CROSS JOIN LATERAL (
            SELECT e.at, e.message FROM porch.event e
            WHERE e.task_id = d.task_id AND e.attempt = d.attempt AND e.to_status = 'CLAIMED'
            OFFSET 0
        ) e
        WHERE starts_with(e.message, :filled_in) IS NOT TRUE
    )
    SELECT pipeline_id, name AS pipeline, count(*) AS runs, avg(seconds) AS mean,
        stddev_samp(seconds) AS deviation,
        percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) AS shares,
        avg(seconds) + 2 * stddev_samp(seconds) AS limit
    FROM run GROUP BY pipeline_id, name ORDER BY name
    """
)

#: Seven hexadecimal digits or more, one of them 0 to 9: `defaced` is a word. Spelled out, as a
#: lookahead takes twice as long.
_HEX = "|".join(f"[a-fA-F]{{{n}}}[0-9][0-9a-fA-F]{{{6 - n},}}" for n in range(6))
_HEX += "|[a-fA-F]{6,}[0-9][0-9a-fA-F]*"

#: What makes two messages alike, in order: what is replaced, and by what.
ALIKE = {
    # a day as `date`, syslog and web servers write it: the others are numbers
    "dates": (
        r"\m(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +)?(?:\d{1,2}[ /-])?"
        r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[ /-]+\d{1,4}\M",
        "#",
    ),
    # UUIDs, addresses, checksums and commits
    "hexes": (
        r"\m(?:0[xX][0-9a-fA-F]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
        rf"|(?:{_HEX})(?:-[0-9a-fA-F]+)*)\M",
        "#",
    ),
    # the name of a file, of which the directory is kept; of a URL, with what is asked of it
    "paths": (
        r"""((?:^|[\s'"(=:,<\[])(?:(?:[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s,;'"()]*|[.~]{0,2})/"""
        r"""(?:[^/\s:,;'"()?]+/)*|[a-zA-Z]:[/\\](?:[^/\\\s:,;'"()]+[/\\])*))"""
        r"""[^/\s:,;'"()?]+(?:\?[^\s'"()<>]*)?""",
        r"\1#",
    ),
    "numbers": (r"\d+(?:\.\d+)?", "#"),
}
#: Characters of a message that are compared.
_BEGINNING, _PATTERN = 400, 200
#: Hexadecimal digits of the name of a group.
_NAME = 16


def _pattern(message: str) -> str:
    """SQL for what a message has in common with those of its group."""
    words = f"left(COALESCE({message}, ''), {_BEGINNING})"
    for name in ALIKE:
        words = f"regexp_replace({words}, :{name}, :{name}_by, 'g')"
    return f"left({words}, {_PATTERN})"


def _name(pattern: str) -> str:
    """SQL for the name of the group with this pattern: it stands in commands, whatever is in the
    messages."""
    return f"left(encode(sha256(convert_to({pattern}, 'UTF8')), 'hex'), {_NAME})"


#: What a FAILED task's last change says. By ``event_id + 0``: a planner that knows little would
#: rather read the primary key backwards until it meets an event of the task.
_LAST_MESSAGE = """(
        SELECT e.message FROM porch.event e
        WHERE e.task_id = f.task_id AND e.to_status = 'FAILED' AND e.refused = false
        ORDER BY e.event_id + 0 DESC LIMIT 1)"""

FAILURE_GROUPS = text(
    f"""
    WITH failed AS MATERIALIZED ({_FAILED}
    ), told AS MATERIALIZED (
        SELECT f.*, {_LAST_MESSAGE} AS message FROM failed f
    ), alike AS (
        SELECT pipeline_id, {_pattern("message")} AS pattern, count(*) AS tasks,
            min(updated_at) AS first, max(updated_at) AS last,
            (array_agg(task_id ORDER BY updated_at DESC, task_id DESC))[1] AS latest
        FROM told GROUP BY 1, 2
        ORDER BY tasks DESC, last DESC LIMIT :most
    )
    SELECT p.name AS pipeline, a.*, {_name("a.pattern")} AS name, m.message AS example
    FROM alike a JOIN porch.pipeline p USING (pipeline_id) JOIN told m ON m.task_id = a.latest
    ORDER BY a.tasks DESC, a.last DESC, p.name
    """  # noqa: S608
)

#: The tasks of a group among the next FAILED ones of a pipeline.
FAILURES = text(
    f"""
    WITH seen AS MATERIALIZED (
        SELECT t.task_id FROM porch.task t
        WHERE (t.pipeline_id, t.status, t.task_id) > (:pipeline_id, 'FAILED', :after)
            AND (t.pipeline_id, t.status) <= (:pipeline_id, 'FAILED') AND t.status <> 'DONE'
        ORDER BY t.pipeline_id, t.status, t.task_id LIMIT :look_at
    ), last AS (
        SELECT count(*) AS looked_at, max(task_id) AS last_id FROM seen
    ), found AS (
        SELECT t.* FROM seen f CROSS JOIN LATERAL (
            SELECT t.*, p.name AS pipeline
            FROM porch.task t JOIN porch.pipeline p USING (pipeline_id)
            WHERE t.task_id = f.task_id AND t.status = 'FAILED'
                AND t.updated_at <= CAST(:until AS timestamptz)
                AND {_name(_pattern(_LAST_MESSAGE))} = :group
            OFFSET 0) t
        ORDER BY task_id LIMIT :most
    )
    SELECT l.looked_at, l.last_id, f.* FROM last l LEFT JOIN found f ON true ORDER BY f.task_id
    """  # noqa: S608
)
