"""Send documents to three services, wait for all of them without holding a worker, and hand the extracted data on."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_docstatus.hooks import AitronosHook, NeurolinkerHook, UnsiloedHook
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.sensors import DocStatusSensor

SCHEMA = json.dumps({"type": "object", "properties": {"invoice_number": {"type": "string"}, "total_amount": {"type": "number"}}})


def pdf(text: str) -> bytes:
    """Return a PDF of one page that says this; your files would come from a bucket."""
    page = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    file, offsets = b"%PDF-1.4\n", b""
    for number, content in enumerate(objects, start=1):
        offsets += b"%010d 00000 n \n" % len(file)
        file += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    trailer = b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return file + trailer % (offsets, len(file))


@task
def send_to_neurolinker() -> str:
    """Send two documents in one request."""
    files = [("documents", (f"invoice-{number}.pdf", pdf(f"Invoice {number}"), "application/pdf")) for number in (1, 2)]
    reply = NeurolinkerHook().get_conn().post("/v1/extract", files=files, data={"form": "{}"})
    reply.raise_for_status()
    return reply.json()["request_uid"]


@task
def send_to_aitronos() -> str:
    """Send one document, and the fields to look for."""
    files = {"file": ("invoice-3.pdf", pdf("Invoice 3"), "application/pdf")}
    reply = AitronosHook().get_conn().post("/v1/documents/extract", files=files, data={"schema": SCHEMA})
    reply.raise_for_status()
    return reply.json()["job_id"]


@task
def send_to_unsiloed() -> str:
    """Send one document, and the fields to look for."""
    files = {"pdf_file": ("invoice-4.pdf", pdf("Invoice 4"), "application/pdf")}
    reply = UnsiloedHook().get_conn().post("/v2/extract", files=files, data={"schema_data": SCHEMA})
    reply.raise_for_status()
    return reply.json()["job_id"]


@task
def load(neurolinker: dict[str, Any], aitronos: dict[str, Any], unsiloed: dict[str, Any]) -> list[str]:
    """Stand for what your pipeline does with the data, and return which services it has data of."""
    found = {"neurolinker": neurolinker, "aitronos": aitronos, "unsiloed": unsiloed}
    return [service for service, content in found.items() if content]


@dag(schedule=None, start_date=datetime(2025, 1, 1, tzinfo=timezone.utc), tags=["docstatus"])
def three_services() -> None:
    """Gate each branch on its own service; `load` runs when all three have delivered."""
    ids = {"neurolinker": send_to_neurolinker(), "aitronos": send_to_aitronos(), "unsiloed": send_to_unsiloed()}
    which = {
        "neurolinker": {"conn_id": "neurolinker_default", "request_id": ids["neurolinker"]},
        "aitronos": {"conn_id": "aitronos_default", "job_id": ids["aitronos"]},
        "unsiloed": {"conn_id": "unsiloed_default", "job_id": ids["unsiloed"], "operation": "extract"},
    }
    extracted = {}
    for service, job in which.items():
        gate = DocStatusSensor(task_id=f"wait_for_{service}", deferrable=True, timeout=600, **job)
        data = ExtractedDataOperator(task_id=f"data_of_{service}", **job)
        gate >> data
        extracted[service] = data.output
    load(**extracted)


three_services()
