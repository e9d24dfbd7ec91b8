"""Long bodies, read in pieces: the same as json.loads reads them, in slices of bounded work, in bounded memory."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_docstatus.exceptions import DocStatusError, NotFound, RequestRejected, ServiceUnavailable, UnexpectedReply
from airflow_provider_docstatus.protocol import messages, reading, statuses
from airflow_provider_docstatus.protocol.flows import arun, poll_batch, poll_one, poll_parent, run
from airflow_provider_docstatus.protocol.listing import list_jobs
from airflow_provider_docstatus.protocol.messages import PAUSE, Flow, Pause, Request, Response
from airflow_provider_docstatus.protocol.prefixes import PathPrefix, with_prefix
from airflow_provider_docstatus.protocol.reading import FIRST_ITEMS, ITEMS_AT_ONCE, LongList, in_slices, outline_of
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import AITRONOS, NEUROLINKER, UNSILOED
from airflow_provider_docstatus.status import LEFT_OUT, DocumentStatus, State
from tests.conversations import response, run_on_a_loop

REQUEST = Target(route="request", id="r-1")
BATCH = Target(route="batch", id="b-1")
JOB = Target(route="job", id="j-1")
LONG = messages.READ_AT_ONCE + 1
MIB = 2**20
#: The same examples on every run.
many = settings(max_examples=100, derandomize=True, deadline=None, database=None)


class Everything:
    """All names."""

    def __contains__(self, _name: object) -> bool:
        return True


ALL: Any = Everything()


def driven(flow: Flow[Any]) -> tuple[Any, int]:
    """Return what a flow without requests returns, and how often it paused."""
    pauses = 0
    try:
        while True:
            assert isinstance(next(flow), Pause)
            pauses += 1
    except StopIteration as end:
        return end.value, pauses


def outline(body: bytes, **more: Any) -> Any:
    return driven(outline_of(body, **{"names": ALL, **more}))[0]


def loaded(body: bytes) -> Any:
    """Return what json.loads reads, told apart from its errors; NaN is equal to nothing else."""
    try:
        return repr(json.loads(body))
    except (ValueError, RecursionError):
        return "no JSON"


def outlined(body: bytes) -> Any:
    try:
        return repr(outline(body))
    except ValueError:
        return "no JSON"


# -- the same as json.loads --------------------------------------------------------------------------------------

BLANKS = st.sampled_from(["", "", "", " ", "\n  ", "\t" * 40])
TEXTS = st.text(max_size=3)  # a number or a text fits into a piece: of longer texts the beginning is kept
SCALARS = st.one_of(
    TEXTS.map(json.dumps),
    TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        ["null", "true", "false", "NaN", "Infinity", "-Infinity", "0", "-1", "1e5", "1E+300", "1e400", "-0.0", "12.50"]
    ),
    st.integers().map(str),
    st.floats().map(json.dumps),
    st.sampled_from(
        ['"\\ud83d"', '"\\ud83d\\ude00"', '"\\u00e8\\/\\b"', '"\ud800"', '"\U0001f600"', '""', "12345678901234567890123"]
    ),
)


@st.composite
def documents(draw: st.DrawFn, levels: int = 3) -> str:
    kind = draw(st.integers(0, 2)) if levels else 0
    blank = draw(BLANKS)
    if kind == 0:
        return blank + draw(SCALARS) + draw(BLANKS)
    inside = draw(st.lists(documents(levels=levels - 1), max_size=4))
    if kind == 1:
        return f"{blank}[{draw(BLANKS) if not inside else ','.join(inside)}]{draw(BLANKS)}"
    keys = [json.dumps(draw(st.sampled_from(["a", "b", "\u00e8", "data", ""]))) for _ in inside]  # some of them twice
    members = ",".join(f"{draw(BLANKS)}{key}{draw(BLANKS)}:{value}" for key, value in zip(keys, inside, strict=True))
    return f"{blank}{{{members or draw(BLANKS)}}}{draw(BLANKS)}"


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@many
@given(text=documents(), piece=st.sampled_from([48, 49, 60, 100]))
def test_json_is_read_in_pieces_as_it_is_read_at_once(text, piece):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "PIECE", piece)
        patched.setattr(reading, "FIRST_ITEMS", math.inf)
        assert outlined(raw(text)) == loaded(raw(text)) != "no JSON"


@many
@given(text=documents(), place=st.integers(0, 400), cut=st.integers(0, 3), put=st.binary(max_size=2))
def test_broken_json_is_no_json_in_pieces_either(text, place, cut, put):
    whole = raw(text)
    body = whole[: place % (len(whole) + 1)] + put + whole[place % (len(whole) + 1) + cut :]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "PIECE", 48)
        patched.setattr(reading, "FIRST_ITEMS", math.inf)
        assert outlined(body) == loaded(body)


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + b'{"a": 1}' + b" " * 100,
        b'{"a": [' + b"[" * 300 + b'"x", ' * 50 + b'"y"' + b"]" * 300 + b"]}",
        b'{"a": 1, "b": [' + b"1, " * 60 + b'2], "a": [' + b"3, " * 60 + b'4], "a": 5}',
        raw('["' + "\U0001f600" * 40 + '", "' + "\ud800" * 40 + '"]'),
        b'{"' + b"k" * 200 + b'": {"' + b"\\\\" * 100 + b'": [' + b"{}, " * 100 + b"{}]}}",
        b'["' + b"\\u00e8" * 41 + b'"]',
    ],
    ids=["byte order mark", "deep", "names that come twice", "characters of four bytes", "long names", "escapes at the seams"],
)
@pytest.mark.parametrize("piece", range(60, 80))
def test_what_lies_across_the_seam_of_two_pieces_is_read(monkeypatch, body, piece):
    monkeypatch.setattr(reading, "PIECE", piece)
    monkeypatch.setattr(reading, "FIRST_ITEMS", math.inf)
    assert shortened(outline(body), piece) == shortened(json.loads(body), piece)


def shortened(value: Any, length: int) -> Any:
    """Return the value with each text cut where a piece surely ends."""
    if isinstance(value, dict):
        return {name[: length // 6]: shortened(one, length) for name, one in value.items()}
    if isinstance(value, list):
        return [shortened(one, length) for one in value]
    return value[: length // 6] if isinstance(value, str) else value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" " * LONG,
        b"<" * LONG,
        b'{"a": ' + b"1" * LONG + b"}",
        b'{"a": "' + b"x" * LONG,
        b'{"a": "' + b"x" * LONG + b"\n" + b'"}',
        b'{"a": "' + b"x" * LONG + b'\\x"}',
        b'{"a": "' + b"x" * LONG + b'\\u12"}',
        b'{"a": "' + b"x" * LONG + b"\xff" + b'"}',
        b"[" + b"1, " * LONG + b"]",
        b"[" + b"1, " * LONG,
        b'{"a": [' + b"1, " * LONG + b"1}, 2]",
        b"{" + b'"a": 1, ' * LONG + b"}",
        b"{" + b'"a": 1, ' * LONG + b"1: 2}",
        b"{" + b'"a": 1, ' * LONG + b'"b" 2}',
        b"[" + b"1, " * LONG + b"1] 2",
        b"[" * LONG + b"]" * LONG,
        b'{"a":' * LONG + b"1" + b"}" * LONG,
        (b'["' + b"x" * 99 + b'", ') * 3000 + b"1" + b"]" * 3000,
    ],
    ids=lambda body: (body[:6] + b".." + body[-6:]).decode("latin-1"),
)
def test_a_long_body_that_is_no_json_is_a_value_error(body):
    with pytest.raises(ValueError):  # noqa: PT011 -- JSON and text errors alike
        json_of(body)


def json_of(body: bytes) -> Any:
    """Return what a response's ``json()`` is once its outline has been read."""
    got = replace(response(text=body), limit=len(body))
    driven(reading.read_outline(NEUROLINKER, got))
    return got.json()


# -- what an outline holds ---------------------------------------------------------------------------------------


def filled(body: dict[str, Any], size: int = LONG, **more: Any) -> dict[str, Any]:
    """Return a body with so much extracted data beside the rest, in which stand the vendor's own names."""
    cell = {"text": "4,711.00", "status": "failed", "error": "Zephyrine Quandt", "confidence": [math.nan, 1e400, 10**25, None]}
    return {**body, **more, "extracted": {"tables": [[cell] * (size // 400)] * 5, "documents": [cell] * 100, "status": "failed"}}


def test_an_outline_holds_what_a_description_reads_and_lets_the_rest_go():
    body = filled({"status": "completed", "result": {"success": True, "x": "y"}}, message="m" * LONG, metadata={"page_count": 4})
    assert json_of(json.dumps(body).encode()) | {"message": ""} == {
        "status": "completed",
        "result": {"success": True, "x": "y"},
        "message": "",
        "metadata": None,
        "extracted": None,
    }


def test_a_long_list_has_its_first_items_and_tells_all_again():
    items = [{"id": number, "text": "x" * (number % 7)} for number in range(9000)]
    body = json.dumps({"detail": items, "documents": items}, indent=1).encode()
    found = outline(body, names={"detail", "documents"}, lists={"documents"})
    assert found == {"detail": items[:FIRST_ITEMS], "documents": items[:FIRST_ITEMS]}
    assert not isinstance(found["detail"], LongList)
    assert [one for one in found["documents"].all_items() if one is not PAUSE] == items


def test_an_item_that_is_longer_than_a_piece_is_outlined_too():
    items = [{"id": 1, "result": {"rows": ["x" * 50] * 3000, "status": "s"}}, {"id": 2}, {"id": 3, "text": "y" * LONG}]
    body = json.dumps({"documents": [*items, *([{}] * 3000)]}).encode()
    found = outline(body, names={"documents", "id", "result", "status"}, lists={"documents"})["documents"]
    assert [one for one in found.all_items() if one is not PAUSE] == [
        {"id": 1, "result": {"status": "s"}},
        {"id": 2},
        {"id": 3, "text": None},
        *([{}] * 3000),
    ]


@pytest.mark.parametrize(
    "around", ['{"status": "completed", "total": %s, "text": "%s"}', '{"text": "%s", "status": "completed", "list": [1, %s]}']
)
def test_a_number_of_too_many_digits_is_no_broken_json(around):
    digits, text = "9" * 5000, "x" * LONG
    body = (around % ((digits, text) if around.startswith('{"status') else (text, digits))).encode()
    assert outline(body)["status"] == "completed"


def test_a_short_body_is_read_at_once():
    got = response({"a": 1})
    assert driven(reading.read_outline(NEUROLINKER, got)) == (None, 0)
    assert (got.outline, got.json()) == (None, {"a": 1})


def test_a_long_text_is_told_by_its_beginning():
    got = response(text=b"upstream \xff" + b"x" * LONG)
    assert got.json_or_text().startswith("upstream \ufffdxxx")
    assert len(got.json_or_text()) <= messages.READ_AT_ONCE


# -- the same status as read at once -----------------------------------------------------------------------------


def children(number: int, **more: Any) -> list[dict[str, Any]]:
    words = itertools.cycle(["completed", "failed", "completed", "processing"])
    result = {"file_name": "a.pdf", "total_pages": 4, "started_at": "2025-10-15T09:49:50Z", "error": "page 3 is blank"}
    return [{"document_id": f"d-{one}", "status": next(words), "result": result, **more} for one in range(number)]


def jobs(number: int) -> list[dict[str, Any]]:
    return [{"job_id": f"j-{one}", "status": "completed" if one % 3 else "failed", "error": f"e-{one}"} for one in range(number)]


REPLIES = {
    "extracted data": (NEUROLINKER, REQUEST, filled({"request_id": "r-1", "status": "completed", "documents": children(3)})),
    "many documents": (NEUROLINKER, REQUEST, {"status": "partial", "total": 3000, "documents": children(3000)}),
    "documents within data": (NEUROLINKER, REQUEST, {"data": {"status": "completed", "documents": children(3000)}}),
    "documents that are none": (
        NEUROLINKER,
        REQUEST,
        {"status": "completed", "documents": [None, 1, [], {}, {"id": {}}] * 30_000},
    ),
    "documents that are no list": (NEUROLINKER, REQUEST, filled({"status": "completed", "documents": {"a": children(3)}})),
    "documents with data": (NEUROLINKER, REQUEST, {"status": "completed", "documents": children(20, extracted=["x" * 99] * 99)}),
    "a failure": (NEUROLINKER, REQUEST, filled({"status": "failed"}, error={"message": "no text\nlayer", "code": 7})),
    "a list of errors": (NEUROLINKER, REQUEST, filled({"status": "failed"}, detail=[{"msg": "m", "loc": ["a", 1]}] * 9000)),
    "another id": (NEUROLINKER, REQUEST, filled({"request_id": "r-2", "status": "completed"})),
    "no word": (NEUROLINKER, REQUEST, filled({"request_id": "r-1"})),
    "success=false": (NEUROLINKER, REQUEST, filled({"success": False, "message": "x" * LONG})),
    "a list": (NEUROLINKER, REQUEST, [filled({})]),
    "a job with its data": (AITRONOS, JOB, filled({"job_id": "j-1", "success": True, "status": "completed", "cost_chf": 0.25})),
    "a job's error": (AITRONOS, JOB, filled({"job_id": "j-1", "status": "failed", "error_message": "bad"}, confidence={"a": 1})),
    "a classification": (
        UNSILOED,
        Target("classify", "j-1"),
        {
            "job_id": "j-1",
            "status": "completed",
            "result": filled({"success": False, "message": "unreadable", "confidence": 0.5}),
        },
    ),
    "a batch": (UNSILOED, BATCH, {"batch_id": "b-1", "status": "completed", "total_jobs": 4000, "jobs": jobs(4000)}),
}


@pytest.mark.parametrize("drive", [run, run_on_a_loop], ids=["run", "arun"])
@pytest.mark.parametrize(("service", "target", "body"), REPLIES.values(), ids=REPLIES)
def test_a_long_reply_says_the_same_in_pieces_as_at_once(monkeypatch, drive, service, target, body):
    text = json.dumps(body).encode()
    assert len(text) > LONG
    in_pieces = status_or_error(drive, service, target, text)
    monkeypatch.setattr(reading, "READ_AT_ONCE", math.inf)
    assert in_pieces == status_or_error(drive, service, target, text)


def status_or_error(drive: Any, service: Any, target: Target, text: bytes) -> DocumentStatus | tuple[type, str]:
    try:
        return drive(poll_one(service, target), answer(text))
    except DocStatusError as error:
        return type(error), str(error)


def answer(text: bytes, code: int = 200, **headers: str) -> Any:
    return lambda request: replace(response(text=text, code=code, headers=headers, request=request), limit=len(text))


def test_cut_json_is_the_same_error_as_a_short_one():
    text = json.dumps(filled({"status": "completed"})).encode()[:-1]
    kind, said = status_or_error(run, NEUROLINKER, REQUEST, text)
    assert kind is UnexpectedReply
    assert f"with {len(text)} bytes that are not JSON" in said


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [(404, NotFound, "with 404: gone. Check"), (422, RequestRejected, "with 422: gone."), (500, ServiceUnavailable, "500: gone")],
)
def test_a_long_error_response_keeps_its_text_and_is_not_read_at_once(monkeypatch, code, kind, said):
    text = json.dumps(filled({}, detail="gone")).encode()
    prefix = PathPrefix(NEUROLINKER, "https://x", "/v1")
    loads, longest = json.loads, [0]

    def measured(body: bytes) -> Any:
        longest.append(len(body))
        return loads(body)

    monkeypatch.setattr(json, "loads", measured)
    with pytest.raises(kind) as caught:
        run(with_prefix(poll_one(NEUROLINKER, REQUEST), prefix), answer(text, code))
    assert said in str(caught.value)
    assert max(longest) <= messages.READ_AT_ONCE


def test_children_of_a_long_reply_are_told_to_those_who_wait_for_them():
    text = json.dumps({"status": "processing", "documents": children(5000)}).encode()
    wanted = [Target("document", f"d-{number}") for number in (0, 1, 4998)]
    for _ in range(2):  # read anew, and from the cache
        found = run(poll_parent(NEUROLINKER, REQUEST, "document", wanted, {}), answer(text))
        assert {target.id: status.state.value for target, status in found.items()} == {
            "d-0": "succeeded",
            "d-1": "failed",
            "d-4998": "succeeded",
        }


def test_jobs_of_a_long_batch_reply_are_told():
    text = json.dumps({"jobs": jobs(5000)}).encode()
    found = run(poll_batch(UNSILOED, [Target("job", "j-0"), Target("job", "j-4999")]), answer(text))
    assert [status.state for status in found.values()] == [State.FAILED, State.SUCCEEDED]


def test_data_below_the_other_prefix_is_fetched_whole():
    """The response that shows the right prefix is the one that holds the data."""
    rows = [{"n": number} for number in range(20_000)]
    reply = json.dumps({"results": [{"document_id": "d-1", "content": rows}]}).encode()
    prefix = PathPrefix(NEUROLINKER, "https://x", "/v1")
    status = DocumentStatus(service="neurolinker", kind="document", id="d-1", state=State.SUCCEEDED, word="completed")
    flow = fetch_result(NEUROLINKER, Target("document", "d-1"), status=status, content=None, options={})

    def send(request: Request) -> Response:
        return answer(reply)(request) if request.prefix == "/api/v1" else response({"detail": "Not Found"}, 404, request=request)

    assert run(with_prefix(flow, prefix), send)[1] == {"d-1": rows}
    assert prefix.current == "/api/v1"


@pytest.mark.parametrize("page", [b"<html>" + b"x" * LONG, b'{"a": ' * LONG], ids=["a web page", "cut JSON"])
def test_a_long_reply_below_the_other_prefix_that_is_no_json_proves_nothing(page):
    prefix = PathPrefix(NEUROLINKER, "https://x", "/v1")

    def send(request: Request) -> Response:
        return answer(page)(request) if request.prefix == "/api/v1" else response({"detail": "Not Found"}, 404, request=request)

    with pytest.raises(NotFound):
        run(with_prefix(poll_one(NEUROLINKER, REQUEST), prefix), send)
    assert prefix.current == "/v1"


# -- in slices ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"status": "completed", "extracted": [' + b'{"a": [1, "x", null]}, ' * 10_000 + b"{}]}",
        b'{"status": "completed", "documents": [' + b'{"id":1}, ' * 25_000 + b"{}]}",
        b'{"status": "completed", "text": "' + b"\\u00e8 " * 40_000 + b'"}',
        b'{"status": "completed", "text": "' + b"x" * MIB + b'"}',
        b'{"status": "completed", ' + b'"a": 1, ' * 35_000 + b'"b": 2}',
        b'{"status": "completed"' + b" " * MIB + b"}",
        b'{"status": "completed", "deep": ' + b"[" * 300 + b"1, " * 90_000 + b"1" + b"]" * 300 + b"}",
        b'{"status": "completed", "extracted": [' + b'{"a": [1, "x", null]}, ' * 10_000,
    ],
    ids=["items", "children", "escapes", "text", "names", "blanks", "deep", "cut"],
)
def test_no_more_than_a_few_pieces_are_read_between_two_pauses(monkeypatch, body):
    """What the json module is given between two pauses takes its time, also what it then gives back as unfinished."""
    given = 0
    longest = 0
    decode = json.JSONDecoder.raw_decode

    def counted(decoder: json.JSONDecoder, text: str, idx: int = 0) -> Any:
        nonlocal given, longest
        try:
            value, end = decode(decoder, text, idx)
        except ValueError:
            given += len(text) - idx
            raise
        given += end - idx
        longest = max(longest, given)
        return value, end

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", counted)
    got = replace(response(text=body), limit=len(body))
    pauses = 0
    for _ in reading.read_outline(NEUROLINKER, got):
        longest, given, pauses = max(longest, given), 0, pauses + 1
    assert longest <= 5 * reading.PIECE
    assert pauses >= len(body) // (2 * reading.PIECE)


@pytest.mark.parametrize("number", [10_000, ITEMS_AT_ONCE, ITEMS_AT_ONCE - 1])
def test_children_are_read_a_hundred_at_a_time(monkeypatch, number):
    monkeypatch.setattr(reading, "READ_AT_ONCE", math.inf)
    text = json.dumps({"status": "completed", "documents": children(number)}).encode()
    read = 0
    runs = []
    once = statuses.read_child

    def counted(*arguments: Any, **more: Any) -> DocumentStatus:
        nonlocal read
        read += 1
        return once(*arguments, **more)

    monkeypatch.setattr(statuses, "read_child", counted)

    async def pause() -> None:
        nonlocal read
        runs.append(read)
        read = 0

    async def send(request: Request) -> Response:
        return answer(text)(request)

    status = asyncio.run(arun(poll_one(NEUROLINKER, REQUEST), send, pause))
    assert len(status.children) == number
    assert runs == [ITEMS_AT_ONCE] * (number // ITEMS_AT_ONCE)


def test_a_short_list_has_no_pauses():
    assert list(in_slices([1, 2])) == [1, 2]
    assert list(in_slices(range(ITEMS_AT_ONCE + 1))) == [*range(ITEMS_AT_ONCE), PAUSE, ITEMS_AT_ONCE]


def test_both_drivers_go_on_after_a_pause_and_only_one_of_them_waits():
    waited = []

    def flow() -> Flow[int]:
        yield PAUSE
        response = yield Request(path="/x", route="/x")
        yield PAUSE
        return response.code

    async def send(_request: Request) -> Response:
        return response({}, 201)

    async def pause() -> None:
        waited.append(1)

    assert run(flow(), lambda _: response({}, 201)) == 201
    assert asyncio.run(arun(flow(), send, pause)) == 201
    assert waited == [1, 1]


# -- very many children ------------------------------------------------------------------------------------------


@pytest.fixture
def most_read(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(statuses, "MOST_READ", 4)
    return 4


@pytest.mark.parametrize(
    ("service", "target", "body"),
    [
        (NEUROLINKER, REQUEST, {"status": "completed", "documents": children(8)}),
        (NEUROLINKER, REQUEST, {"status": "partial", "documents": children(7)}),
        (NEUROLINKER, REQUEST, {"status": "completed", "documents": [{"id": one, "status": "failed"} for one in range(9)]}),
        (NEUROLINKER, REQUEST, {"status": "completed", "total": 8, "completed": 6, "failed": 2, "documents": children(8)}),
        (UNSILOED, BATCH, {"batch_id": "b-1", "status": "completed", "jobs": jobs(9)}),
        (
            UNSILOED,
            BATCH,
            {"batch_id": "b-1", "status": "completed", "jobs": [{"id": one, "status": "cancelled"} for one in "abcde"]},
        ),
    ],
)
def test_of_very_many_children_the_states_count_as_if_each_were_read(monkeypatch, service, target, body):
    whole = run(poll_one(service, target), answer(json.dumps(body).encode()))
    monkeypatch.setattr(statuses, "MOST_READ", 4)
    few = run(poll_one(service, target), answer(json.dumps(body).encode()))
    assert (few.state, few.child_states, few.children) == (whole.state, whole.child_states, whole.children[:4])
    assert few.left_out


def test_very_many_children_are_counted_in_the_small_form(most_read):
    status = run(poll_one(NEUROLINKER, REQUEST), answer(json.dumps({"status": "failed", "documents": children(10)}).encode()))
    small = status.to_dict()
    assert small["children"] == {"d-1": "failed"}
    assert small["details"][LEFT_OUT] == 9
    assert DocumentStatus.from_dict(small).details[LEFT_OUT] == 9


def test_the_data_of_very_many_children_is_refused_and_not_fetched_in_part(most_read):
    text = json.dumps({"status": "completed", "documents": [{"id": one, "status": "completed"} for one in range(5)]}).encode()
    with pytest.raises(
        RequestRejected, match=r"request r-1 lists 5 documents or jobs; the data of at most 4 .* by their own ids"
    ):
        run(fetch_result(NEUROLINKER, REQUEST, status=None, content=None, options={}), answer(text))


def test_a_list_of_jobs_names_all_of_them(most_read):
    text = json.dumps(
        {"tasks": {"requests": [{"request_id": f"r-{one}", "status": "completed"} for one in range(9000)]}}
    ).encode()
    assert len(run(list_jobs(NEUROLINKER, filters={}, limit=None, offset=0), answer(text))) == 9000


def test_the_small_form_is_made_once_and_is_nobodys_own():
    status = run(poll_one(NEUROLINKER, REQUEST), answer(json.dumps({"status": "failed", "documents": children(4)}).encode()))
    first = status.to_dict()
    first["children"].clear()
    first["errors"].clear()
    first["details"]["x"] = 1
    assert status.to_dict() == replace(status).to_dict() != first
