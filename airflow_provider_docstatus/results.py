"""Extracted data on its way to XCom."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_docstatus.exceptions import ResultTooLarge

#: Bytes of JSON that go into one XCom by default.
MOST_BYTES = 1024 * 1024


def checked_size(data: Any, most_bytes: int, *, service: str, id: str) -> Any:  # noqa: A002 -- the field's word
    """
    Return the data if it fits an XCom.

    :param most_bytes: bytes of JSON.
    :raises ResultTooLarge: it does not; the DAG's author must ask for less, raise the limit, or fetch it in a task.
    """
    size = len(json.dumps(data, ensure_ascii=False).encode(errors="surrogatepass"))
    if size > most_bytes:
        raise ResultTooLarge(
            f"The extracted data of {id} is {size:,} bytes, the limit for XCom is {most_bytes:,}. Raise max_bytes if your XCom "
            "backend can hold it, ask for less (content=, one document at a time), or fetch it in your own task with "
            "DocStatusHook.get_result() and store it where you like.",
            service=service,
            id=id,
        )
    return data
