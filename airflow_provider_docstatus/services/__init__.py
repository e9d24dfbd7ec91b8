"""The vendors, one file each; the file's name is the service's name and its connection type."""

from airflow_provider_docstatus.protocol.confidence import Confidence
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
from airflow_provider_docstatus.services.azure_di import AZURE_DI
from airflow_provider_docstatus.services.datalab import DATALAB
from airflow_provider_docstatus.services.docling import DOCLING
from airflow_provider_docstatus.services.extend import EXTEND
from airflow_provider_docstatus.services.landingai import LANDINGAI
from airflow_provider_docstatus.services.llamaparse import LLAMAPARSE
from airflow_provider_docstatus.services.neurolinker import NEUROLINKER
from airflow_provider_docstatus.services.reducto import REDUCTO
from airflow_provider_docstatus.services.unsiloed import UNSILOED

#: Every service by its name, which is also its connection type.
SERVICES = {
    service.name: service
    for service in (NEUROLINKER, AITRONOS, UNSILOED, REDUCTO, LLAMAPARSE, LANDINGAI, DATALAB, EXTEND, AZURE_DI, DOCLING)
}

__all__ = [
    "AITRONOS",
    "AZURE_DI",
    "DATALAB",
    "DOCLING",
    "EXTEND",
    "LANDINGAI",
    "LLAMAPARSE",
    "NEUROLINKER",
    "REDUCTO",
    "SERVICES",
    "UNSILOED",
    "BatchRoute",
    "Confidence",
    "Content",
    "ListRoute",
    "ResultRoute",
    "Route",
    "ServiceDescription",
    "Submission",
]
