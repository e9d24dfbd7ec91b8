"""Azure's errors lie inside each other; the innermost helps."""

from __future__ import annotations

import pytest

from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import SERVICES
from tests.conversations import converse, error_of, response

AZURE, JOB = SERVICES["azure_di"], Target(route="model", id="prebuilt-invoice/r-1")
DEEP = {"code": "InvalidContentLength", "message": "The input is too large."}
INNER = {"code": "InvalidContent", "message": "The file is corrupted."}


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (INNER, "InvalidContent: The file is corrupted."),
        ({**INNER, "innererror": DEEP}, "InvalidContent: The file is corrupted. The input is too large."),
    ],
    ids=["one", "two"],
)
def test_the_texts_of_all_inner_errors_are_told(inner, text):
    error = {"code": "InvalidRequest", "message": "Invalid request.", "innererror": inner}
    status, _ = converse(poll_one(AZURE, JOB), response({"status": "failed", "error": error}))
    assert status.message == text
    assert text in str(error_of(poll_one(AZURE, JOB), response({"error": error}, 400), kind=RequestRejected))
