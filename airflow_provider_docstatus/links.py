"""The link from a task to the vendor's page of its document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus._compat import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow_provider_docstatus._compat import BaseOperator

#: The XCom key under which every task of this package pushes the last status that it knows; for a list, the manifest.
XCOM_KEY = "docstatus"


class DocumentPageLink(BaseOperatorLink):
    """A button to the vendor's page of the request or document, where the vendor has one (Neurolinker)."""

    name = "Document page"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 -- Airflow's signature
        """Return the https link from the task's last status, or an empty text; never raise."""
        try:
            status = XCom.get_value(key=XCOM_KEY, ti_key=ti_key)
        except Exception:  # noqa: BLE001 -- an exception here hides the links of all operators (apache/airflow 57545)
            return ""
        link = status.get("link") if isinstance(status, dict) else None
        return link if isinstance(link, str) and link.startswith("https://") else ""
