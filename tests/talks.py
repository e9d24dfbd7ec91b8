"""Hold a talk without a network: the questions of a description, and answers laid out beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus.reply import Answer

if TYPE_CHECKING:
    from airflow_provider_docstatus.description import Question, Talk

#: When every answer came: 2024-12-16T10:30:00Z.
NOW = 1734345000.0
LIMIT = 100_000


def answer(
    body: Any = None, code: int = 200, *, text: str | bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an answer with a JSON body, or with the text if one is given."""
    if text is None:
        raw, kind = json.dumps(body).encode(), "application/json"
    else:
        raw, kind = text if isinstance(text, bytes) else text.encode(), "text/plain"
    return Answer(code=code, headers={"content-type": kind, **(headers or {})}, body=raw, limit=LIMIT, received_at=NOW)


def hold(talk: Talk[Any], *answers: Answer) -> tuple[Any, list[Question]]:
    """Return what a talk returns and the questions it asked; it must ask exactly as many as there are answers."""
    questions = []
    remaining = iter(answers)
    try:
        question = next(talk)
        while True:
            questions.append(question)
            reply = next(remaining, None)
            assert reply is not None, f"one question too many: {question.label} {question.query}"
            question = talk.send(reply)
    except StopIteration as end:
        assert next(remaining, None) is None, "one question too few"
        return end.value, questions
