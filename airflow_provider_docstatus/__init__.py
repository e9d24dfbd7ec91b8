"""Gate Airflow pipelines on the completion of document extraction."""

__version__ = "0.1.0"
#: The name of this distribution, which brings the built-in services.
DISTRIBUTION = "airflow-provider-docstatus"
