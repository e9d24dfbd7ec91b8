"""The recorded replies, for tests that hold them to an SDK's types."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_docstatus.testing.recordings import installed


def good_replies(service: str, *asks: str) -> list[Any]:
    """Return the replies of these asks that a source shows and that are no errors, as parameters of a test."""
    recording = next(one for one in installed() if one.service == service)
    return [
        pytest.param(reply, id=reply.name)
        for reply in recording.replies
        if reply.ask in asks and reply.code < 300 and not reply.error and not reply.is_guess
    ]
