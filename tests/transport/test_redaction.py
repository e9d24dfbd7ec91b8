"""The key in a body that is written to a file as it comes."""

from __future__ import annotations

import pytest

from airflow_provider_docstatus.transport.redaction import Guard


@pytest.mark.parametrize("at", [1, 7, 64, 1000, 5000])
@pytest.mark.parametrize("form", ["secret-key-1/2", "secret-key-1\\/2", "secret%2Dkey%2D1%2F2"])
def test_the_key_is_found_in_a_stream_wherever_it_is_cut(form, at):
    body = b"a" * 2000 + form.encode() + b"b" * 3000
    guard = Guard("secret-key-1/2")
    assert any(guard.holds_key(body[start : start + at]) for start in range(0, len(body), at))
    guard = Guard("secret-key-1/3")
    assert not any(guard.holds_key(body[start : start + at]) for start in range(0, len(body), at))


def test_a_made_up_key_is_not_looked_for():
    assert not Guard("short").holds_key(b"a short text")
    assert not Guard(None).holds_key(b"a text")
