"""Requests to an extraction service and the meaning of its responses: no I/O, no clock, no Airflow."""
