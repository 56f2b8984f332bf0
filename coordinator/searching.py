"""What is looked for in an input. Inputs are kept without blanks between their parts, and shown
with them here and there: what is copied from where it is shown must be found.
"""

from __future__ import annotations

import re

#: A string, whose end may be cut off; or what stands between strings.
_PARTS = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^"]+', re.DOTALL)
_JSON = frozenset('"{}[]')
_SIGN = re.compile(r"([{}\[\]:,])")
_BETWEEN = re.compile(r"(?:[{}\[\]:,]|-?\d[\d.e+-]*+|true|false|null)*+", re.ASCII | re.IGNORECASE)


def spellings(typed: str) -> tuple[str, ...]:
    """A text as it was typed; and, if it is a piece of JSON with blanks, as it would be kept.

    A piece may begin and end anywhere, and blanks in strings are what they are: one with a quote or
    a bracket in it is a piece of JSON, and ``1, 2`` is not, which may be the inside of a string.

    >>> spellings('{"lane": "1, 2"')
    ('{"lane": "1, 2"', '{"lane":"1, 2"')
    """
    # Lest a lone ": " finds everything.
    if not any(map(str.isalnum, typed)) or _JSON.isdisjoint(typed):
        return (typed,)
    begun_within = _without_blanks(f'"{typed}')[1:]
    return tuple(dict.fromkeys((typed, _without_blanks(typed), begun_within)))


def _without_blanks(piece: str) -> str:
    """A piece of JSON without needless blanks; what is none stays as it is."""
    parts = _PARTS.findall(piece)
    made = []
    for place, part in enumerate(parts):
        if part[0] == '"':
            made.append(part)
            continue
        pieces = _SIGN.split(part)
        beside_one_string = len(parts) > 1 and place in (0, len(parts) - 1)
        kept = "".join(map(str.strip, pieces)) if len(pieces) > 1 or beside_one_string else part
        if not _BETWEEN.fullmatch(kept):
            return piece
        made.append(kept)
    return "".join(made)
