"""Definitions as they come from files: formats, what is wrong with them, and where."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch_client.errors import BadInput, PorchError
from porch_client.read import read_definitions, read_numbered


def read(text: str | bytes, **options: Any) -> list[Any]:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return list(read_definitions(io.BytesIO(raw), **options))


def error_in(text: str | bytes, **options: Any) -> PorchError:
    """The only error among the definitions of `text`."""
    (error,) = [found for found in read(text, **options) if isinstance(found, PorchError)]
    return error


def refusal_of(text: str | bytes, **options: Any) -> PorchError:
    """The error that refuses `text` as a whole, before the first definition."""
    with pytest.raises(BadInput) as caught:
        read_numbered(io.BytesIO(text.encode() if isinstance(text, str) else text), **options)
    return caught.value


class TestFormats:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ('{"a": "1"}\n{"a": "2"}\n', "<stdin>"),
            ('[{"a": "1"}, {"a": "2"}]', "<stdin>"),
            ("a\n1\n2\n", "<stdin>"),
            ('{"a": "1"}\n{"a": "2"}\n', "runs.json"),
            ('{"a": "1"}\n{"a": "2"}\n', "runs.JSONL"),
            ('\n  [\n{"a": "1"},\n{"a": "2"}\n]\n', "runs.json"),
        ],
    )
    def test_the_format_is_told_by_extension_or_first_bytes(self, text: str, name: str) -> None:
        assert read(text, name=name) == [{"a": "1"}, {"a": "2"}]

    def test_a_table_with_tabs_is_recognised(self) -> None:
        assert read("a\tb\n1\t2,3\n") == [{"a": "1", "b": "2,3"}]

    def test_the_option_outranks_the_extension(self) -> None:
        assert read("a\tb\n1\t2\n", name="runs.csv", format="tsv") == [{"a": "1", "b": "2"}]

    @pytest.mark.parametrize("format_", ["jsonl", "json", "csv", "tsv", None])
    @pytest.mark.parametrize("text", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
    def test_an_empty_file_holds_no_definitions(self, text: bytes, format_: str | None) -> None:
        assert read(text, format=format_) == []

    @pytest.mark.parametrize("text", ['{"a": "1"}', '[{"a": "1"}]', "a\r\n1\r\n"])
    def test_a_byte_order_mark_and_windows_line_ends_are_not_content(self, text: str) -> None:
        assert read("\ufeff" + text.replace("\n", "\r\n")) == [{"a": "1"}]

    def test_utf_16_is_refused_as_such(self) -> None:
        error = refusal_of("a,b\n1,2\n".encode("utf-16"))
        assert error.code == "not_utf8"
        assert "UTF-16" in error.message

    def test_columns_cannot_be_picked_from_json(self) -> None:
        assert refusal_of('{"a": 1}', key=["a"]).code == "bad_request"

    def test_a_slow_pipe_is_read_as_it_comes(self) -> None:
        class Pipe(io.RawIOBase):
            def __init__(self) -> None:
                self.given: list[bytes] = []

            def lines(self) -> Iterator[bytes]:
                yield b'{"a": 1}\n'
                raise AssertionError("asked for more than it needed")

            def readable(self) -> bool:
                return True

        pipe = Pipe()
        lines = pipe.lines()
        pipe.readline = lambda size=-1: next(lines)  # type: ignore[method-assign]
        assert next(read_definitions(cast(Any, pipe))) == {"a": 1}


class TestJson:
    def test_a_bad_line_is_told_with_its_place_and_reading_goes_on(self) -> None:
        first, bad, last = read('{"a": 1}\n\n{"a" 2}\n{"a": 3}\n')
        assert (first, last) == ({"a": 1}, {"a": 3})
        assert bad.code == "bad_json"
        assert bad.message.startswith("line 3, column 6: ")

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("[1, 2]", "not_an_object"),
            ('"text"', "not_an_object"),
            ("17", "not_an_object"),
            ("null", "not_an_object"),
            ('{"a": NaN}', "not_representable"),
            ('{"a": [-Infinity]}', "not_representable"),
            ('{"a": 1e400}', "not_representable"),
            ('{"a": ' + "9" * 5000 + "}", "not_representable"),
            ('{"a": 1, "a": 2}', "bad_json"),
            ('{"a": {"b": 1, "c": 2, "b": 1}}', "bad_json"),
            ('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", "too_deep"),
            ('{"a": "cut', "bad_json"),
            ("plain words", "bad_json"),
        ],
    )
    def test_what_json_would_lose_or_choke_on_is_refused_by_line(
        self, line: str, code: str
    ) -> None:
        for text in (f'{{"ok": 1}}\n{line}\n', f'[{{"ok": 1}},\n{line}]'):
            if text.startswith("[") and line == '{"a": "cut':
                continue  # swallows the bracket: the array is cut, see below
            error = error_in(text)
            assert error.code == code
            assert error.message.startswith("line 2")

    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_a_line_that_is_cut_short_is_told_where_it_ends(self, end: str) -> None:
        error = error_in('{"a": 1}\n{"a": 2' + end)
        assert error.message.startswith("line 2, column 8: ")

    def test_a_key_given_twice_is_named(self) -> None:
        assert '"b" is given twice' in error_in('{"a": 1, "b": 2, "b": 2}').message

    def test_integers_are_left_to_the_coordinator(self) -> None:
        assert read('{"a": 9007199254740993}') == [{"a": 9007199254740993}]

    def test_invalid_utf_8_is_told_by_line(self) -> None:
        error = error_in(b'{"a": 1}\n{"a": "\xff"}\n')
        assert (error.code, error.message) == ("not_utf8", "line 2: byte 8 is not UTF-8")

    def test_a_line_beyond_all_limits_is_refused_and_the_next_is_read(self) -> None:
        error, good = read(b'{"a": "' + b"x" * (17 << 20) + b'"}\n{"a": 1}\n', format="jsonl")
        assert error.code == "too_large"
        assert good == {"a": 1}

    @pytest.mark.parametrize("text", ['[{"a": 1}', '[{"a": 1}, {"b": "]', '[{"a": 1},'])
    def test_an_array_that_is_cut_short_is_told(self, text: str) -> None:
        assert "not closed" in error_in(text).message

    @pytest.mark.parametrize(
        "text", ['[{"a": 1},]', '[,{"a": 1}]', '[{"a": 1}] [2]', '[{"a": 1}]]']
    )
    def test_an_array_with_too_much_in_it_is_told(self, text: str) -> None:
        assert error_in(text).code == "bad_json"

    def test_an_array_tells_line_and_column(self) -> None:
        error = error_in('[{"a": 1}, {"a" 2},\n {"b": 3}]')
        assert error.message.startswith("line 1, column 17: ")
        error = error_in('[\n  {"a": 1},\n  {"a" 2}\n]')
        assert error.message.startswith("line 3, column 8: ")

    @given(
        st.lists(
            st.dictionaries(
                st.text(st.characters(codec="utf-8")),
                st.recursive(
                    st.none() | st.booleans() | st.text(st.characters(codec="utf-8")),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                    max_leaves=5,
                ),
            )
        ),
        st.sampled_from([None, 2]),
        st.integers(1, 40),
    )
    def test_an_array_is_read_back_whatever_it_holds(
        self, definitions: list[dict[str, Any]], indent: int | None, piece: int
    ) -> None:
        class Pieces(io.BytesIO):
            def readline(self, size: int | None = -1, /) -> bytes:
                return super().read(piece)

        raw = json.dumps(definitions, indent=indent).encode()
        found = list(read_definitions(Pieces(raw), format="json", name="x"))
        # A first piece of blanks tells no format; ours always begins with the bracket.
        assert found == definitions

    @given(st.lists(st.dictionaries(st.text(), st.integers() | st.text(), min_size=0)))
    def test_json_lines_are_read_back(self, definitions: list[dict[str, Any]]) -> None:
        assert read("\n".join(map(json.dumps, definitions)), format="jsonl") == definitions


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


class TestTables:
    def test_the_header_gives_the_keys_and_empty_cells_are_left_out(self) -> None:
        assert read("a,b,c\n1,,3\n") == [{"a": "1", "c": "3"}]

    def test_cells_stay_text_so_that_ids_keep_their_zeros(self) -> None:
        assert read("run\n007\n") == [{"run": "007"}]

    def test_key_picks_and_orders(self) -> None:
        (definition,) = read("a,b,c\n1,2,3\n", key=["c", "a"])
        assert list(definition.items()) == [("c", "3"), ("a", "1")]

    @pytest.mark.parametrize(
        ("cell", "number"), [("007", 7), ("-3", -3), (" 4 ", 4), ("1.50", 1.5), ("1e3", 1000.0)]
    )
    def test_a_named_column_holds_numbers(self, cell: str, number: float) -> None:
        (definition,) = read(f"a,n\nx,{cell}\n", number=["n"])
        assert definition == {"a": "x", "n": number}
        assert type(definition["n"]) is type(number)

    @pytest.mark.parametrize(
        ("cell", "code"),
        [
            ("many", "not_a_number"),
            ("nan", "not_a_number"),
            ("1_000", "not_a_number"),
            ("٣", "not_a_number"),
            ("0x10", "not_a_number"),
            ("1e400", "not_representable"),
            ("9" * 5000, "not_representable"),
        ],
    )
    def test_a_cell_that_is_no_number_is_told_by_line(self, cell: str, code: str) -> None:
        error = error_in(f"a,n\nx,1\ny,{cell}\n", number=["n"])
        assert error.code == code
        assert error.message.startswith('line 3: "n"')

    def test_ragged_rows_are_told_by_line_and_reading_goes_on(self) -> None:
        found = read('a,b\n1,2\n1\n"x\ny",2\n1,2,3\n3,4\n')
        assert [e.message for e in found if isinstance(e, PorchError)] == [
            "line 3 has 1 cells, the header has 2",
            "line 6 has 3 cells, the header has 2",
        ]
        assert [d for d in found if isinstance(d, dict)] == [
            {"a": "1", "b": "2"},
            {"a": "x\ny", "b": "2"},
            {"a": "3", "b": "4"},
        ]

    def test_a_row_without_any_content_is_refused(self) -> None:
        error = error_in("a,b,c\n1,,\n,,3\n", key=["a", "b"])
        assert (error.code, error.message) == ("empty_row", "line 3: all its cells are empty")

    def test_blank_lines_are_ignored(self) -> None:
        assert read("\na,b\n1,2\n\n\r\n") == [{"a": "1", "b": "2"}]

    @pytest.mark.parametrize(
        ("row", "code"),
        [
            (b"\xff,2", "not_utf8"),
            (b"a\0b,2", "not_representable"),
            (b'"a"b,2', "bad_csv"),
            (b"a\rb,2", "bad_csv"),
        ],
    )
    def test_a_bad_row_is_told_by_line_and_the_next_is_read(self, row: bytes, code: str) -> None:
        error, good = read(b"a,b\n" + row + b"\n3,4\n")
        assert error.code == code
        assert error.message.startswith("line 2")
        assert good == {"a": "3", "b": "4"}

    def test_a_quote_that_never_ends_is_told(self) -> None:
        assert error_in('a,b\n1,"2\n3,4\n').code == "bad_csv"

    def test_what_is_wrong_in_a_column_not_picked_does_not_matter(self) -> None:
        assert read(b"a,b\n1,\xff\n", key=["a"]) == [{"a": "1"}]

    @pytest.mark.parametrize(
        ("text", "options", "code", "words"),
        [
            ("a,b,a\n1,2,3\n", {}, "bad_csv", '"a" twice'),
            ("a,,c\n1,2,3\n", {}, "bad_csv", "column 2 has no name"),
            ("Run,Platform\n1,2\n", {"key": ["run"]}, "unknown_column", 'did you mean "Run"?'),
            ("Run,Platform\n1,2\n", {"key": ["Platfrom"]}, "unknown_column", '"Platform"?'),
            ("Run,Platform\n1,2\n", {"number": ["size"]}, "unknown_column", "--number"),
            ("a,b\r1,2\r3,4\r", {}, "bad_csv", "new-line"),
            (b"a,\xff\n1,2\n", {}, "not_utf8", "header"),
        ],
    )
    def test_a_header_that_cannot_be_used_refuses_the_file(
        self, text: str, options: dict[str, Any], code: str, words: str
    ) -> None:
        error = refusal_of(text, **options)
        assert error.code == code
        assert words in error.message

    def test_a_column_without_name_does_not_matter_where_columns_are_picked(self) -> None:
        assert read("a,,\n1,2,3\n", key=["a"]) == [{"a": "1"}]

    @given(
        st.lists(
            cells.filter(lambda name: bool(name.strip())), min_size=1, max_size=4, unique=True
        ).flatmap(
            lambda header: st.tuples(
                st.just(header),
                st.lists(st.lists(cells, min_size=len(header), max_size=len(header))),
            )
        ),
        st.sampled_from([",", "\t"]),
        st.sampled_from(["\n", "\r\n"]),
    )
    def test_what_csv_writes_is_read_back(
        self, table: tuple[list[str], list[list[str]]], delimiter: str, end: str
    ) -> None:
        header, rows = table
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([header, *rows])
        found = read(out.getvalue().encode(), format="csv" if delimiter == "," else "tsv")
        expected = [
            {key: cell for key, cell in zip(header, row, strict=True) if cell} for row in rows
        ]
        assert [d if isinstance(d, dict) else {} for d in found] == expected

    def test_memory_does_not_grow_with_the_file(self) -> None:
        class Endless(io.RawIOBase):
            left = 60_000

            def readline(self, size: int | None = -1, /) -> bytes:
                self.left -= 1
                return b"a,b\n" if self.left == 59_999 else b"1,2\n" * (self.left > 0)

        tracemalloc.start()
        try:
            count = sum(1 for _ in read_definitions(cast(Any, Endless()), format="csv"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert count == 59_998
        assert peak < 500_000


class TestRealSampleSheet:
    @pytest.mark.parametrize(
        ("key", "distinct"),
        [("Run,LibraryLayout,Platform", 6_889), ("BioSample,LibraryStrategy", 6_777)],
    )
    def test_it_holds_the_known_number_of_definitions(
        self, sra: Path, key: str, distinct: int
    ) -> None:
        with sra.open("rb") as file:
            found = list(read_definitions(file, name=sra.name, key=key.split(",")))
        assert len(found) == 6_889
        assert (
            len({json.dumps(d, sort_keys=True) for d in found if isinstance(d, dict)}) == distinct
        )
