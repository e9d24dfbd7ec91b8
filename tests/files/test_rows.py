"""JSON lines in the order asked, whatever order they come in, and what is left of a try that was killed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import OutputFailed
from airflow_provider_docstatus.files import rows as module
from airflow_provider_docstatus.files.rows import Rows
from airflow_provider_docstatus.files.spool import Spool


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "data.json"


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_row_is_a_line_of_compact_json_that_begins_with_its_id(url, path):
    with Spool(url) as spool:
        rows = Rows(spool)
        rows.add("ä", {"file_name": "a\nb.pdf", "data": {"x": [1, 2.5, None], "y": "é\u2028\r"}})
        assert rows.in_order(["ä"]) == {"ä": [0, spool.size - 1]}
        spool.publish()
    assert path.read_bytes() == '{"id":"ä","file_name":"a\\nb.pdf","data":{"x":[1,2.5,null],"y":"é\u2028\\r"}}\n'.encode()


def test_half_of_a_surrogate_pair_is_escaped(url, path):
    with Spool(url) as spool:
        Rows(spool).add("a", {"data": "\ud83d é"})
        spool.publish()
    assert path.read_bytes() == b'{"id":"a","data":"\\ud83d \\u00e9"}\n'


def test_rows_in_the_order_asked_are_not_written_again(url, monkeypatch):
    monkeypatch.setattr(Spool, "rewrite", None)
    with Spool(url) as spool:
        rows = Rows(spool)
        for one in "acd":
            rows.add(one, {"data": one})
        assert list(rows.in_order(["a", "b", "c", "d"])) == ["a", "c", "d"]
        assert len(rows) == 3
        assert "b" not in rows


def test_rows_are_brought_into_the_order_asked(url, path, left):
    with Spool(url) as spool:
        rows = Rows(spool)
        for one in ("c", "x", "a", "b", "a"):
            rows.add(one, {"data": one * 5, "long": "é" * 700_000 if one == "b" else ""})
        places = rows.in_order(["a", "b", "nobody", "c", "a"])
        spool.publish()
        written = path.read_bytes()
    assert [row["id"] for row in lines_of(path)] == list(places) == ["a", "b", "c"]
    for one, (offset, length) in places.items():
        assert json.loads(written[offset : offset + length])["id"] == one
        assert written[offset + length : offset + length + 1] == b"\n"
    assert left() == ["out/data.json"]


def killed(url, ids, tail=b""):
    """Leave what a killed try leaves."""
    spool = Spool(url, keeps=True)
    rows = Rows(spool)
    for one in ids:
        rows.add(one, {"data": {"of": one}})
    spool.write(tail)
    spool.close()


TAILS = [
    b"",
    b"{",
    b'{"id":"c"',
    b'{"id":"c","data":"' + b"x" * 3_000_000,
    b"\x00\x00\n",
    b'{"id":7}\n{"id":"d"}\n',
    b'{"id":"\n',
]


@pytest.mark.parametrize("tail", TAILS, ids=range(len(TAILS)))
def test_complete_rows_of_a_killed_try_are_taken_up(url, path, tail, left):
    killed(url, ["b", "a"], tail)
    with Spool(url, keeps=True) as spool:
        assert spool.resumed() is None
        rows = Rows(spool)
        assert dict(rows.recovered()) == {one: {"id": one, "data": {"of": one}} for one in ("b", "a")}
        rows.add("c", {"data": 1})
        rows.in_order(["a", "b", "c"])
        spool.complete({})
        spool.publish()
    assert [row["id"] for row in lines_of(path)] == ["a", "b", "c"]
    assert left() == ["out/data.json"]


def test_without_keeps_nothing_is_taken_up(url):
    killed(url, ["a"])
    with Spool(url) as spool:
        assert len(Rows(spool)) == 0


def test_rows_longer_than_what_is_read_at_once_are_found(url, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 7)
    killed(url, ["a", "b", "c" * 50])
    with Spool(url, keeps=True) as spool:
        assert [one for one, _ in Rows(spool).recovered()] == ["a", "b", "c" * 50]


def test_a_file_that_was_cut_meanwhile_is_an_error(url, tmp_path, left):
    with Spool(url) as spool:
        rows = Rows(spool)
        for one in "ba":
            rows.add(one, {"data": one})
        spool.sync()
        (tmp_path / left()[0]).write_bytes(b"")
        with pytest.raises(OutputFailed):
            rows.in_order(["a", "b"])


TEXTS = st.text(st.characters(), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)


@given(rows=st.lists(st.tuples(TEXTS, JSON), max_size=6), data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_rows_are_each_is_found_again_at_its_place(tmp_path_factory, rows, data):
    folder = tmp_path_factory.mktemp("rows")
    asked = data.draw(st.permutations(list(dict(rows))))
    spool = Spool(f"file://{folder}/data", keeps=True)
    writer = Rows(spool)
    for one, value in rows:
        writer.add(one, {"data": value})
    spool.close()
    with Spool(f"file://{folder}/data", keeps=True) as again:
        reader = Rows(again)
        assert dict(reader.recovered()) == {one: {"id": one, "data": value} for one, value in dict(rows).items()}
        places = reader.in_order(asked)
        again.publish()
    written = (folder / "data").read_bytes()
    assert list(places) == asked
    assert {one: json.loads(written[start : start + length])["data"] for one, (start, length) in places.items()} == dict(rows)
    assert written.count(b"\n") == len(asked)
