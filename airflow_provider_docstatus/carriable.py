"""
Hand extracted data to Airflow in a form that comes to the next task unchanged, and read it back there.

::

    @task
    def extract():
        return carriable(DocStatusHook("unsiloed_default").get_result(job_id="..."))

    @task
    def load(data):
        data = read_back(data)

Only data that Airflow cannot carry gets another form; all else stays as it is. Without this package ``json.loads`` of the text
under ``docstatus:json`` and ``base64.b64decode`` of the text under ``docstatus:base64`` do the same.
"""

from __future__ import annotations

from airflow_provider_docstatus.protocol.storable import carriable, read_back

__all__ = ["carriable", "read_back"]
