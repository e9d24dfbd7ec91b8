"""
The provider's metadata, which Airflow reads at start-up in every process.

It is built from the services' descriptions, without importing Airflow and without I/O.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus import DISTRIBUTION, __version__
from airflow_provider_docstatus.registry import all_services, few_of
from airflow_provider_docstatus.transport.settings import ALL_SETTINGS, EXAMPLE_HOST, OWN_SETTINGS, OWN_TYPE, SETTINGS

if TYPE_CHECKING:
    from airflow_provider_docstatus.services import ServiceDescription

log = logging.getLogger(__name__)

_PACKAGE = "airflow_provider_docstatus"
_INTEGRATION = "Document extraction status"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata (https://airflow.apache.org/docs/apache-airflow-providers/)."""
    described = _described_services()
    titles = few_of([integration["integration-name"] for integration, _ in described])
    return {
        "package-name": DISTRIBUTION,
        "name": _INTEGRATION,
        "description": f"Wait for document extraction ({titles}) without holding a worker slot.",
        "versions": [__version__],
        "integrations": [integration for integration, _ in described],
        "connection-types": [*(connection_type for _, connection_type in described), _own_connection_type()],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.hooks"]}],
        "sensors": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.sensors"]}],
        "operators": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.operators"]}],
        "triggers": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.triggers"]}],
        "config": {
            "docstatus": {
                "description": "Settings of airflow-provider-docstatus.",
                "options": {
                    "shortest_deferral": {
                        "description": "Seconds that pass at least between deferring a task and waking it. A scheduler that is "
                        "slow to process the end of the deferring process fails healthy tasks that come back sooner.",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": "5",
                    },
                    "file_names": {
                        "description": "Whether the names of documents' files, as the vendor tells them, stand in logs, events "
                        "and XCom. They may be personal. Set it on workers and triggerers alike.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "True",
                    },
                    "descriptions_folder": {
                        "description": "The folder with the descriptions of services that connections of type docstatus may name "
                        "as a file, on workers and triggerers (an absolute path). Unset, they may name none.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/services",
                        "default": None,
                    },
                },
            }
        },
        "extra-links": [f"{_PACKAGE}.links.DocumentPageLink"],
    }


def _described_services() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each service's integration and connection type; leave out what another package described in no usable way."""
    described = []
    for one in all_services():
        try:
            integration, connection_type = _integration(one.service), _connection_type(one.service)
            json.dumps([integration, connection_type])
        except Exception as error:  # noqa: BLE001 -- whatever it holds, Airflow must start
            text = "Service %s of %s has no connection form: its description cannot be read (%s). Upgrade or uninstall %s."
            log.warning(text, one.service.name, one.distribution, type(error).__name__, one.distribution)
        else:
            described.append((integration, connection_type))
    return described


def _integration(service: ServiceDescription) -> dict[str, Any]:
    return {"integration-name": service.title, "external-doc-url": service.docs, "tags": ["service"]}


def _connection_type(service: ServiceDescription) -> dict[str, Any]:
    return {
        "connection-type": service.name,
        "hook-class-name": f"{_PACKAGE}.hooks.{service.hook_class_name}",
        "hook-name": service.title,
        "ui-field-behaviour": field_behaviour(service),
        "conn-fields": {name: _conn_field(name, service) for name in form_settings(service)},
    }


def _own_connection_type() -> dict[str, Any]:
    """Return the type of connections that describe their service themselves."""
    return {
        "connection-type": OWN_TYPE,
        "hook-class-name": f"{_PACKAGE}.hooks.DocStatusHook",
        "hook-name": _INTEGRATION,
        "ui-field-behaviour": field_behaviour(None),
        "conn-fields": {name: _conn_field(name, None) for name in form_settings(None)},
    }


def form_settings(service: ServiceDescription | None) -> list[str]:
    """
    Return the extra keys that the service's form shows: no key without a choice at this service, and no JSON object.

    :param service: the service; None for a connection that describes it itself.
    """
    if service is None:
        of_a_service = ("operation", "auth", "prefix")
        general = [name for name, setting in SETTINGS.items() if name not in of_a_service and setting.type != "object"]
        return [*OWN_SETTINGS, *general]
    has_choice = {
        "operation": service.has_operations,
        "region": bool(service.regions),
        "auth": len(service.auth) > 1,
        "prefix": len(service.prefixes) > 1,
        "zero_retention": service.zero_retention,
        "link_hosts": any(route.result is not None and route.result.link for route in service.routes.values()),
        "long_poll": any(route.long_poll for route in service.routes.values()),
    }
    return [name for name, setting in SETTINGS.items() if has_choice.get(name, setting.type != "object")]


def setting_choices(name: str, service: ServiceDescription) -> list[str]:
    """Return the values a setting may have; an empty list if any value is allowed."""
    return {"operation": list(service.routes), "region": list(service.regions), "auth": list(service.auth)}.get(name, [])


def field_behaviour(service: ServiceDescription | None) -> dict[str, Any]:
    """Return what the form shows of Airflow's own fields: the password is the API key, and the host has a default."""
    host, key = (
        (service.host or EXAMPLE_HOST, f"{service.title} API key") if service else ("the host of the description", "API key")
    )
    return {
        "hidden-fields": ["schema", "login", "port"],
        "relabeling": {"password": "API key", "host": "Host"},
        "placeholders": {"host": host, "password": key},
    }


def _conn_field(name: str, service: ServiceDescription | None) -> dict[str, Any]:
    setting = ALL_SETTINGS[name]
    schema: dict[str, Any] = {"type": [setting.type, "null"]}
    if setting.default is not None:
        schema["default"] = setting.default
    if setting.is_long:
        schema["format"] = "multiline"
    if service and (choices := setting_choices(name, service)):
        schema["enum"] = choices
    return {"label": setting.label, "description": setting.help, "schema": schema}
