"""The vendors, one file each; the file's name is the service's name and its connection type."""

from airflow_provider_docstatus.protocol.description import (
    BatchRoute,
    Content,
    ListRoute,
    ResultRoute,
    Route,
    ServiceDescription,
    Submission,
)
from airflow_provider_docstatus.services.aitronos import AITRONOS
from airflow_provider_docstatus.services.neurolinker import NEUROLINKER
from airflow_provider_docstatus.services.unsiloed import UNSILOED

#: Every service by its name, which is also its connection type.
SERVICES = {service.name: service for service in (NEUROLINKER, AITRONOS, UNSILOED)}

__all__ = [
    "AITRONOS",
    "NEUROLINKER",
    "SERVICES",
    "UNSILOED",
    "BatchRoute",
    "Content",
    "ListRoute",
    "ResultRoute",
    "Route",
    "ServiceDescription",
    "Submission",
]
