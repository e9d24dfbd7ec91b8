"""Values of JSON and headers that nobody can trust: paths, texts, times, links, counters."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest

from airflow_provider_docstatus.protocol.values import (
    HIDDEN_NAME,
    LONGEST_TEXT,
    count,
    file_name,
    first_of,
    get_path,
    https_link,
    named,
    one_line,
    small_fact,
    text_in,
    utc_time,
    without_name,
)


@cache
def nested(levels: int, name: str) -> Any:
    body: Any = "the bottom"
    for _ in range(levels):
        body = {name: body}
    return body


# -- paths -------------------------------------------------------------------------------------------------------

BODY = {"a": {"b": 0, "c": None}, "d": [1], "e": [1, 2], "f": []}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        *[("a.b", 0), ("a", {"b": 0, "c": None}), ("a.c", None), ("a.b.c", None), ("x", None), ("x.y", None)],
        *[("d.0", 1), ("d.1", None), ("e.0", None), ("f.0", None)],  # the only item of a list
    ],
)
def test_a_path_leads_to_what_stands_there_or_to_none(path, found):
    assert get_path(BODY, path) == found


@pytest.mark.parametrize("body", [None, [], "text", 7])
def test_nothing_is_found_in_what_is_no_object(body):
    assert get_path(body, "a") is None


def test_the_first_path_that_leads_somewhere_counts():
    assert first_of(BODY, ("x", "a.c", "a.b", "d")) == 0
    assert first_of(BODY, ("x",)) is None


# -- the names of files ------------------------------------------------------------------------------------------

RIGHT_TO_LEFT, ZERO_WIDTH, NEXT_LINE, HALF = "\u202e", "\u200b", "\x85", "\ud83d"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("invoice-7.pdf", "invoice-7.pdf"),
        ("Rechnung Müller 発票 فاتورة.pdf", "Rechnung Müller 発票 فاتورة.pdf"),
        (f"invoice{RIGHT_TO_LEFT}fdp.exe", "invoicefdp.exe"),
        (f"{ZERO_WIDTH}a\x1b[31m\x00{HALF}b.pdf", "a[31mb.pdf"),
        (f"  a\r\n b{NEXT_LINE}c\u2028d.pdf ", "a b c d.pdf"),
        ("x" * 119 + ".pdf", "x" * 119 + "…"),
        ("x" * 116 + ".pdf", "x" * 116 + ".pdf"),
        ("s" * 5000, "s" * 119 + "…"),
        ("https://me:secret@bucket.example/a.pdf?X-Amz-Signature=abc", "https://bucket.example/a.pdf"),
        *[(nothing, None) for nothing in ("", " ", RIGHT_TO_LEFT, None, 7, ["a.pdf"], {"name": "a.pdf"}, True)],
    ],
)
def test_the_name_of_a_file_is_cleaned_and_cut(told, shown):
    assert file_name(told) == shown


def test_a_message_names_the_file_before_the_id():
    assert named("a92bdf7d", "invoice-7.pdf") == "invoice-7.pdf (a92bdf7d)"
    assert named("a92bdf7d", None) == "a92bdf7d"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("INVOICE (7).PDF is torn", f"{HIDDEN_NAME} is torn"),
        ("cannot open 'invoice (7).pdf', /tmp/invoice (7).pdf", f"cannot open '{HIDDEN_NAME}', /tmp/{HIDDEN_NAME}"),
        ("myinvoice (7).pdfx is torn", "myinvoice (7).pdfx is torn"),
        ("torn", "torn"),
        (None, None),
    ],
)
def test_the_name_of_a_file_is_taken_out_of_a_text(text, left):
    assert without_name(text, "invoice (7).pdf") == left
    assert without_name(text, None) == text


def test_a_long_name_is_taken_out_of_a_text_as_far_as_it_is_known():
    name = "x" * 200 + ".pdf"
    assert without_name(f"{name} is torn", file_name(name)) == f"{HIDDEN_NAME} is torn"


# -- text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" two\n lines\t", "two lines"),
        ("", None),
        (" \n ", None),
        ({"a": "é"}, '{"a": "é"}'),
        (7, "7"),
        ("see https://x.example/a?X-Amz-Signature=1&b=2 there", "see https://x.example/a there"),
        ("see HTTPS://x.example/a?sig=1#f", "see HTTPS://x.example/a"),
        ('{"u": "http://x.example/a?sig=1"}', '{"u": "http://x.example/a"}'),
        ("is it https? yes", "is it https? yes"),
        ("a page? x=1 or y?", "a page? x=1 or y?"),
        (r"https:\/\/x.example\/a?X-Amz-Signature=1\u0026b there", r"https:\/\/x.example\/a there"),
        ("get https://me:pa55@x.example/a@b failed", "get https://x.example/a@b failed"),
        (r"get https:\/\/me:pa55@x.example\/a", r"get https:\/\/x.example\/a"),
        ("get s3://b/x?sig=1", "get s3://b/x"),
        ("//x.example/a?sig=1&b=2, x.example/a?b#sig=1", "//x.example/a x.example/a"),
        ("\x1b[31mred\x00", "\ufffd[31mred\ufffd"),
        ("half \ud800 pair", "half \ufffd pair"),
    ],
    ids=[
        "lines",
        "empty",
        "blank",
        "dict",
        "number",
        "signed link",
        "upper case",
        "in json",
        "no link",
        "question marks",
        "escaped",
        "user",
        "user, escaped",
        "s3",
        "no scheme",
        "control",
        "surrogate",
    ],
)
def test_text_becomes_one_line_that_any_log_takes(text, line):
    assert one_line(text) == line
    (one_line(text) or "").encode()


@pytest.mark.parametrize("length", [LONGEST_TEXT, LONGEST_TEXT + 1, 100_000])
def test_text_is_cut(length):
    line = one_line("x" * length)
    assert line is not None
    assert len(line) == min(length, LONGEST_TEXT)
    assert line.endswith("…") == (length > LONGEST_TEXT)


def test_text_that_is_nested_beyond_reason_is_named_as_such():
    """On Python 3.12 json reads deeper nesting than it writes."""
    assert one_line(nested(100_000, "a")) == "(nested too deeply)"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"detail": "Not found"}, "Not found"),
        ({"detail": {"message": "Insufficient quota", "status": "QUOTA_EXCEEDED"}}, "Insufficient quota"),
        ({"detail": {"code": 7}}, '{"code": 7}'),
        ({"detail": [{"loc": ["path", "id", 0], "msg": "bad", "input": "secret"}]}, "path.id.0: bad"),
        ({"detail": [{"msg": "bad"}, "worse"]}, "bad; worse"),
        ({"error": {"message": "gone", "code": "X"}}, "gone"),
        ({"error": "gone"}, "gone"),
        ({"error": "gone", "detail": ""}, "gone"),
        ({"message": "gone", "error": "Conflict"}, "gone"),
        ({"error": 7}, "7"),
        ({"error": None, "ok": True}, None),
        ({}, None),
        ("plain text\n", "plain text"),
        ("", None),
        ([], None),
        (None, None),
        (7, None),
    ],
    ids=str,
)
def test_a_vendors_text_is_found_in_every_shape(body, text):
    assert text_in(body) == text


@pytest.mark.parametrize("name", ["detail", "error", "message"])
def test_looking_for_text_in_text_in_text_ends(name):
    assert text_in(nested(100_000, name)) == "(nested too deeply)"
    assert text_in(nested(3, name)) == "the bottom"


# -- small values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (0, 0),
        (3.0, 3),
        ("27", 27),
        (3.5, None),
        (-1, None),
        ("-1", None),
        ("3.0", None),
        ("", None),
        ("٣", None),
        ("9" * 19, None),
        (1e30, None),
        (math.nan, None),
        (math.inf, None),
        (True, None),
        (None, None),
        ([3], None),
    ],
    ids=str,
)
def test_a_counter_is_a_whole_number_that_is_not_negative(value, number):
    assert count(value) == number


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2025-10-15T09:49:50.574754Z", "2025-10-15T09:49:50.574754+00:00"),
        ("2025-10-15T09:49:50.574754+00:00", "2025-10-15T09:49:50.574754+00:00"),
        ("2025-07-18T10:42:10.545832520Z", "2025-07-18T10:42:10.545832+00:00"),
        ("2024-12-16T10:30:00Z", "2024-12-16T10:30:00+00:00"),
        ("2024-12-16t10:30:00.5z", "2024-12-16T10:30:00.500000+00:00"),
        (" 2024-12-16 12:30:00 +0200 ", "2024-12-16T10:30:00+00:00"),
        ("2024-12-16T10:30:00", "2024-12-16T10:30:00+00:00"),
        (1734345000, "2024-12-16T10:30:00+00:00"),
        (1734345000.5, "2024-12-16T10:30:00.500000+00:00"),
        ("2024-12-16", None),
        ("2024-13-16T10:30:00Z", None),
        ("2024-12-16T10:30:00+99:99", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("yesterday", None),
        (0, None),
        (-5, None),
        (1e300, None),
        (10**400, None),
        (math.nan, None),
        (True, None),
        (None, None),
        ({}, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_time_is_read_as_utc_or_not_at_all(value, time):
    assert utc_time(value) == time


@pytest.mark.parametrize("link", ["https://x.example", "https://x.example:444/a/b~c/@d;e=f%20", "https://[::1]/"])
def test_a_plain_https_link_is_kept(link):
    assert https_link(link) == link


@pytest.mark.parametrize("more", ["?", "?token=SECRET", "#c", "#access_token=a?b", "?b=1#c"])
@pytest.mark.parametrize("link", ["https://x.example", "https://x.example/", "https://x.example/a"])
def test_the_query_of_a_link_is_cut(link, more):
    assert https_link(link + more) == link


@pytest.mark.parametrize(
    "link",
    [
        "http://x.example",
        "javascript:alert(1)",
        "https://x.example/a b",
        "https://x/<b>",
        'https://x/"',
        "https://",
        "",
        None,
        7,
        "https://x/\n",
        "https://x/" + "a" * 2000,
        "https://x/\x00",
        "https://x/\x1b[31m",
        "https://x/\ud800",
        "https://\u202egnp.exe",
        "https://x/é",
        "https://user:pw@x.example/a",
        "https://x.example@evil.example/a",
        "https://x.example?@evil.example\\",
    ],
    ids=lambda link: str(link)[:30],
)
def test_any_other_link_is_dropped(link):
    assert https_link(link) is None


@pytest.mark.parametrize(
    ("value", "fact"),
    [
        (0.95, 0.95),
        (8, 8),
        (False, False),
        ("invoice.pdf", "invoice.pdf"),
        ("x" * 300, "x" * 200),
        ("https://x.example/a.pdf?sig=1", "https://x.example/a.pdf"),
        ("", None),
        (None, None),
        (math.nan, None),
        (-math.inf, None),
        ([1], None),
        ({"overall": 94, "notes": ["x"], "https://x.example/a?sig=1": 1}, {"overall": 94, "https://x.example/a": 1}),
        ({"overall": 94, "name": "Jane Doe"}, {"overall": 94}),
        ({}, None),
        ({"deep": {"a": 1}}, None),
        ({str(n): n for n in range(21)}, None),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, None),
        (-(2**63) - 1, None),
        ({"a": 10**30, "b": 1}, {"a": None, "b": 1}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_fact_is_small_or_left_out(value, fact):
    assert small_fact(value) == fact
