"""A question that somebody must answer soon, asked by a sensor that polls on the worker."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_docstatus.sensors import DocStatusSensor

with DAG("ask_in_time", schedule=None, params={"job_ids": []}, render_template_as_native_obj=True):
    DocStatusSensor(
        task_id="gate",
        conn_id="unsiloed_default",
        operation="extract",
        job_id="{{ params.job_ids }}",
        on_review="ask",
        review_timeout=3,
        mode="reschedule",
        deferrable=False,
    )
