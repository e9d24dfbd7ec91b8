"""One conversation with an extraction service: no I/O, no clock, no Airflow."""
