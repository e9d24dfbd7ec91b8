"""What a person is asked and how the answer is read: nothing untrusted is more than a name, and no unknown answer approves."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from markdown_it import MarkdownIt

from airflow_provider_docstatus.exceptions import UnexpectedReply
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.types import ConfidenceReport
from airflow_provider_docstatus.waiting.question import (
    APPROVE,
    MOST_SHOWN,
    REJECT,
    Decision,
    decision_of,
    question_about,
)

STATUS = DocumentStatus(
    service="extend",
    kind="job",
    id="workflow_run_1",
    state=State.REVIEW,
    word="NEEDS_REVIEW",
    message="The total of 1,250.00 CHF is not readable",
    link="https://dashboard.extend.ai/runs/workflow_run_1",
    details={"file_name": "invoice.pdf", "confidence": {"total": 0.43, "date": 1}},
)


def asked(*statuses: DocumentStatus, title: str = "Extend", more: int = 0) -> tuple[str, str]:
    ids = [one.id for one in statuses] + [f"more-{number}" for number in range(more)]
    return question_about(title, ids, {one.id: one for one in statuses})


def test_one_document_is_named_with_file_link_and_confidence_and_not_with_the_vendors_words():
    subject, body = asked(STATUS)
    assert subject == "Extend: invoice.pdf needs a decision"
    assert body.splitlines() == [
        "Extend has finished this document. Shall the task go on with it?",
        "",
        "- `invoice.pdf`, job `workflow_run_1` (`NEEDS_REVIEW`): <https://dashboard.extend.ai/runs/workflow_run_1>",
        "    - confidence of `total`: 0.43",
        "    - confidence of `date`: 1",
        "",
        "**Approve** lets the task go on. **Reject** fails it.",
    ]


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ({"confidence": 0.5}, "confidence: 0.5"),
        ({"confidence": "low"}, "confidence: `low`"),
        ({"confidence": None}, None),
        ({"confidence": True}, None),
        ({"confidence": {}}, None),
        ({"confidence": {"total": "LOW"}}, "confidence of `total`: `LOW`"),
    ],
)
def test_confidence_is_shown_in_each_of_its_shapes(details, shown):
    lines = [line.strip("- ") for line in asked(replace(STATUS, details=details))[1].splitlines() if "confidence" in line]
    assert lines == ([shown] if shown else [])


def test_what_a_gate_has_found_out_is_shown_in_place_of_the_vendors_own_values():
    report: ConfidenceReport = {"lowest": 0.25, "fields": ["total", "line_items.0.price"], "below": 2, "total": 9}
    _, body = question_about("Extend", ["workflow_run_1", "x"], {"workflow_run_1": STATUS}, {}, {"workflow_run_1": report})
    assert [line for line in body.splitlines() if line.startswith("    -")] == [
        "    - lowest confidence: 0.25",
        "    - 2 of 9 fields have too little confidence: `total`, `line_items.0.price`",
    ]


def test_that_the_vendor_tells_no_confidence_is_shown_too():
    body = question_about("Extend", ["x"], {}, {}, {"x": {"lowest": None, "fields": [], "below": 0, "total": 0}}).body
    assert "- lowest confidence: none is told" in body


def test_an_id_without_a_status_is_named_all_the_same():
    subject, body = asked(more=1)
    assert subject == "Extend: id more-0 needs a decision"
    assert "- `more-0`" in body


def test_a_file_name_that_only_the_wait_has_told_is_shown_too():
    subject, body = question_about("Extend", ["id-1"], {}, {"id-1": "a\nb.pdf"})
    assert subject == "Extend: a b.pdf needs a decision"
    assert "- `a b.pdf`, `id-1`" in body


def test_of_many_documents_twenty_are_shown_and_the_others_counted():
    subject, body = asked(STATUS, more=MOST_SHOWN + 4)
    assert subject == "Extend: 25 documents need a decision"
    assert sum(line.startswith("- `") for line in body.splitlines()) == MOST_SHOWN
    assert "- and 5 more" in body
    assert "The answer holds for all of them." in body


def test_the_same_facts_give_the_same_question():
    assert asked(STATUS, more=3) == asked(replace(STATUS, message="another"), more=3)


HOSTILE = [
    "[click](https://evil.example)",
    "![](https://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "`</code><script>alert(1)</script>",
    "https://evil.example",
    "a\n\n# heading\n\n- item",
    "**bold** _it_ | table |",
    "\u202eevil\x00\x1b[31m",
    "`" * 9,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("field", ["id", "word", "file_name", "confidence", "grade"])
def test_an_untrusted_text_is_nothing_but_text(text, field):
    details = {"file_name": text} if field == "file_name" else {"confidence": {text: 1} if field == "confidence" else text}
    about: dict[str, Any] = {field: text} if field in ("id", "word") else {"details": details}
    subject, body = asked(replace(STATUS, **{"link": None, "details": {}, **about}))
    assert "\n" not in subject
    assert subject.isprintable()
    assert all(line.isprintable() for line in body.splitlines())
    html = MarkdownIt("commonmark", {"html": True}).render(body)
    tags = {tag.partition(" ")[0].strip("/") for part in html.split("<")[1:] if (tag := part.partition(">")[0])}
    assert tags <= {"p", "ul", "li", "strong", "code"}, html


def test_a_link_is_a_plain_https_one_and_shows_where_it_leads():
    html = MarkdownIt("commonmark").render(asked(STATUS)[1])
    assert f'<a href="{STATUS.link}">{STATUS.link}</a>' in html


@pytest.mark.parametrize("link", [None, "http://extend.ai/1", "https://e.ai/a b", "https://e.ai/<b>", "javascript:alert(1)"])
def test_what_is_no_plain_https_link_is_left_out(link):
    assert "<a " not in MarkdownIt("commonmark").render(asked(replace(STATUS, link=link))[1])


def test_a_link_cannot_end_before_its_end():
    link = "https://e.ai/)[x](https://evil.example)"
    assert MarkdownIt("commonmark").render(asked(replace(STATUS, link=link))[1]).count("<a ") == 1


def test_names_are_cut():
    subject, body = asked(replace(STATUS, details={"file_name": "x" * 500}))
    assert len(subject) < 200
    assert "x" * 121 not in body


# -- the answer ---------------------------------------------------------------------------------------------------

AT = datetime(2026, 8, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
ANSWER = {
    "chosen_options": [APPROVE],
    "params_input": {"reason": "looks right"},
    "responded_at": AT,
    "responded_by_user": {"id": "7", "name": "ada"},
    "timedout": False,
}


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, Decision("approved", "ada (7)", "2026-08-01T10:00:00+00:00", "looks right")),
        ({"chosen_options": [REJECT]}, Decision("rejected", "ada (7)", "2026-08-01T10:00:00+00:00", "looks right")),
        (
            {"responded_at": "2026-08-01T12:00:00+02:00"},
            Decision("approved", "ada (7)", "2026-08-01T10:00:00+00:00", "looks right"),
        ),
        (
            {"responded_by_user": {"id": "ada", "name": "ada"}, "responded_at": None},
            Decision("approved", "ada", None, "looks right"),
        ),
        (
            {"responded_by_user": None, "responded_at": 1, "params_input": {}},
            Decision("approved", None, "1970-01-01T00:00:01+00:00"),
        ),
        ({"params_input": {"reason": ""}}, Decision("approved", "ada (7)", "2026-08-01T10:00:00+00:00")),
        ({"params_input": {"reason": {"value": "a\nb"}}}, Decision("approved", "ada (7)", "2026-08-01T10:00:00+00:00", "a b")),
        ({"params_input": {"reason": 5}}, Decision("approved", "ada (7)", "2026-08-01T10:00:00+00:00")),
        ({"timedout": True}, Decision("timed_out")),
        ({"error": "passed", "error_type": "timeout"}, Decision("timed_out")),
    ],
)
def test_an_answer_says_who_when_and_why(changes, decision):
    assert decision_of({**ANSWER, **changes}) == decision


def test_what_a_person_writes_is_one_line_and_cut():
    user = {"id": "7", "name": "a\x00b" * 1000}
    decision = decision_of({**ANSWER, "params_input": {"reason": "long\u202e\n" * 1000}, "responded_by_user": user})
    assert len(decision.reason) <= 500
    assert len(decision.by) <= 500
    assert (decision.reason + decision.by).isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "Approve",
        [],
        {},
        {**ANSWER, "chosen_options": []},
        {**ANSWER, "chosen_options": "Approve"},
        {**ANSWER, "chosen_options": [APPROVE, REJECT]},
        {**ANSWER, "chosen_options": ["approve"]},
        {**ANSWER, "chosen_options": [None]},
        {**ANSWER, "error": "no", "error_type": "validation"},
        {**ANSWER, "error": "no"},
    ],
    ids=str,
)
def test_what_is_no_answer_decides_nothing(answer):
    with pytest.raises(UnexpectedReply):
        decision_of(answer)
