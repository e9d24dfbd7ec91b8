"""Gate Airflow pipelines on the completion of document extraction."""

__version__ = "0.1.0"
