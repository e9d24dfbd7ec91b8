"""I/O: what an Airflow connection says, and the two HTTP clients."""
