"""Write the README's generated tables from the code: ``python tests/readme.py``."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_provider_docstatus.endpoint import SETTINGS
from airflow_provider_docstatus.services import SERVICES

README = Path(__file__).parent.parent / "README.md"


def services_table() -> str:
    lines = ["| service | waits for | key travels as | data | evidence |", "|---|---|---|---|---|"]
    for service in SERVICES.values():
        operations = ": " + ", ".join(f"`{name}`" for name in service.routes) if service.has_operations else ""
        waits = ", ".join(dict.fromkeys(f"`{route.parameter}`" for route in service.routes.values())) + operations
        ways = ", ".join(f"`{header}` (`auth={name}`)" for name, (header, _) in service.auth.items())
        data = ", ".join(f"`{name}`" for name in service.contents) or "in the status reply, or its own route"
        lines.append(f"| [{service.title}]({service.docs}) | {waits} | {ways} | {data} | {service.evidence} |")
    return "\n".join(lines)


def settings_table() -> str:
    lines = ["| extra key | default | what it does |", "|---|---|---|"]
    for name, setting in SETTINGS.items():
        default = "" if setting.default is None else f"`{str(setting.default).lower()}`"
        lines.append(f"| `{name}` | {default} | {setting.help} |")
    return "\n".join(lines)


TABLES = {"services": services_table, "settings": settings_table}


def with_tables(text: str) -> str:
    for name, table in TABLES.items():
        place = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text = place.sub(lambda found, made=table(): f"{found[1]}{made}\n{found[2]}", text, count=1)
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
