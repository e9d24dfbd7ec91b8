"""The fields of a connection's form on Airflow 2.11 to 3.1; later versions read them from the provider info."""

from __future__ import annotations

from typing import Any

from airflow_provider_docstatus.provider_info import form_settings
from airflow_provider_docstatus.services import ServiceDescription
from airflow_provider_docstatus.transport.settings import SETTINGS


def form_widgets(service: ServiceDescription) -> dict[str, Any]:
    """Return the fields that the form has for a service's settings, besides Airflow's own."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # noqa: PLC0415 -- only the web server has it
    from flask_babel import lazy_gettext  # noqa: PLC0415
    from wtforms import StringField  # noqa: PLC0415

    return {
        name: StringField(lazy_gettext(SETTINGS[name].label), description=SETTINGS[name].help, widget=BS3TextFieldWidget())
        for name in form_settings(service)
    }
