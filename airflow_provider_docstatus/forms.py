"""The fields of a connection's form on Airflow 2.11 to 3.1; later versions read them from the provider info."""

from __future__ import annotations

from typing import Any

from airflow_provider_docstatus.provider_info import form_settings
from airflow_provider_docstatus.services import ServiceDescription
from airflow_provider_docstatus.transport.settings import ALL_SETTINGS


def form_widgets(service: ServiceDescription | None) -> dict[str, Any]:
    """Return the fields of a service's form besides Airflow's own; without one, of the form that takes a description."""
    from flask_appbuilder.fieldwidgets import (  # noqa: PLC0415 -- only the web server has it
        BS3TextAreaFieldWidget,
        BS3TextFieldWidget,
    )
    from flask_babel import lazy_gettext  # noqa: PLC0415
    from wtforms import StringField  # noqa: PLC0415

    return {
        name: StringField(
            lazy_gettext(ALL_SETTINGS[name].label),
            description=ALL_SETTINGS[name].help,
            widget=BS3TextAreaFieldWidget() if ALL_SETTINGS[name].is_long else BS3TextFieldWidget(),
        )
        for name in form_settings(service)
    }
