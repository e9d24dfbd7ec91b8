"""How large extracted data may be on its way to XCom."""

from __future__ import annotations

import json

import pytest

from airflow_provider_docstatus.exceptions import ResultTooLarge
from airflow_provider_docstatus.inline import MOST_BYTES, checked_size


@pytest.mark.parametrize(
    "extracted",
    [{"a": 1}, [], "text", "é", {"half of a pair": "\ud800"}],
    ids=["dict", "list", "text", "two bytes", "half of a surrogate pair"],
)
def test_data_that_fits_passes_unchanged(extracted):
    assert checked_size(extracted, 100, service="aitronos", id="j") is extracted


@pytest.mark.parametrize(
    ("extracted", "size"),
    [("x" * 98, 100), ("é" * 49, 100), ({"a": "x" * 10}, 19)],
    ids=["ascii", "two bytes a letter", "dict"],
)
def test_the_limit_counts_bytes_of_json_and_belongs_to_what_fits(extracted, size):
    assert len(json.dumps(extracted, ensure_ascii=False).encode()) == size
    assert checked_size(extracted, size, service="aitronos", id="j") is extracted
    with pytest.raises(ResultTooLarge):
        checked_size(extracted, size - 1, service="aitronos", id="j")


def test_data_over_the_limit_says_how_large_it_is_and_what_to_do():
    with pytest.raises(ResultTooLarge) as caught:
        checked_size("x" * MOST_BYTES, MOST_BYTES, service="aitronos", id="job_1")
    message = str(caught.value)
    for said in ("job_1", "1,048,578 bytes", "1,048,576", "max_bytes", "content=", "output_path="):
        assert said in message
    assert (caught.value.service, caught.value.id) == ("aitronos", "job_1")
    assert "xxx" not in message
