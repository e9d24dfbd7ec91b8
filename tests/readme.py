"""Write the generated tables of the README and of the pages in docs/ and the schema from the code: ``python tests/readme.py``."""

from __future__ import annotations

import ast
import inspect
import json
import re
import runpy
from pathlib import Path

from airflow_provider_docstatus.protocol.described import schema
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.transport.settings import SETTINGS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SCHEMA = ROOT / "docs" / "service.schema.json"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
_PACKAGE = ROOT / "airflow_provider_docstatus"


#: What a description rests on, in the words of the table.
TIERS = {"live": "seen live", "sdk": "official SDK", "pages": "pages"}


def services_table() -> str:
    lines = ["| service | waits for | key is sent as | data | tier | evidence |", "|---|---|---|---|---|---|"]
    for service in SERVICES.values():
        operations = ": " + ", ".join(f"`{name}`" for name in service.routes) if service.has_operations else ""
        waits = ", ".join(dict.fromkeys(f"`{route.parameter}`" for route in service.routes.values())) + operations
        ways = ", ".join(f"`{header}` (`auth={name}`)" for name, (header, _) in service.auth.items())
        places = {True: "in the status reply", False: "a route of its own"}
        found = dict.fromkeys(places[route.gives_data_with_status] for route in service.routes.values() if route.result)
        found |= (
            {"or a signed link": None} if any(route.result and route.result.link for route in service.routes.values()) else {}
        )
        data = ", ".join(f"`{name}`" for name in service.contents) or ", ".join(found)
        lines.append(
            f"| [{service.title}]({service.docs}) | {waits} | {ways} | {data} | {TIERS[service.tier]} | {service.evidence} |"
        )
    return "\n".join(lines)


def data_table() -> str:
    lines = ["| service | operation | data | lists |", "|---|---|---|---|"]
    for service in SERVICES.values():
        for name, route in service.routes.items():
            if route.result is None or route.kind == "batch":
                continue
            first, *others = route.result.take.split("|")
            taken = ", ".join(f"`{part}`" for part in first.split()) or "the whole reply"
            data = (
                taken + (", else the whole reply" if others else "") + (", or what a link leads to" if route.result.link else "")
            )
            operation = f"`{name}`" if service.has_operations else ""
            lines.append(f"| {service.title} | {operation} | {data} | {'yes' if route.listing else ''} |")
    return "\n".join(lines)


def confidence_table() -> str:
    lines = ["| service | operation | read at | what it means |", "|---|---|---|---|"]
    for service in SERVICES.values():
        for name, route in service.routes.items():
            operation = f"`{name}`" if service.has_operations else ""
            for place in route.confidence:
                names = " or ".join(f"`{one}`" for one in place.names)
                at = ", ".join(f"`{path}`" if path else "the top" for path in place.paths)
                found = f"{names} in {at}" if names else at
                found = ("else " if place.otherwise else "") + found + (" of the reply" if place.where == "reply" else "")
                grades = ", ".join(f"`{grade}` {level:g}" for grade, level in place.grades.items())
                means = grades or " or ".join(f"0 to {most:g}" for most in place.scale)
                lines.append(f"| {service.title} | {operation} | {found} | {means} |")
    return "\n".join(lines)


def timing_table() -> str:
    lines = [
        "| service | calls a second | a minute | a day | poll interval, s | shortest interval, s | `grace`, s | retention |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for service in SERVICES.values():
        known = (service.calls_per_second, service.calls_per_minute, service.calls_per_day)
        limits = [f"{limit:,}" if limit else "" for limit in known]
        spans = [f"{seconds:g}" for seconds in (service.poll_interval, service.least_poll_interval, service.grace)]
        lines.append(f"| {' | '.join([service.title, *limits, *spans, service.retention])} |")
    return "\n".join(lines)


def settings_table() -> str:
    lines = ["| extra key | default | what it does |", "|---|---|---|"]
    for name, setting in SETTINGS.items():
        default = "" if setting.default is None else f"`{str(setting.default).lower()}`"
        lines.append(f"| `{name}` | {default} | {setting.help} |")
    return "\n".join(lines)


def endings_table() -> str:
    told = runpy.run_path(str(ROOT / "tests" / "endings.py"))
    lines = ["| end | what happened | exception | task state | `soft_fail` | `docstatus` |", "|---|---|---|---|---|---|"]
    for name, end in told["ENDS"].items():
        if not end.means:
            continue
        ours, *bases = end.raises or ("",)
        airflows = [base for base in bases if base.endswith("Timeout")]
        exception = f"`{ours}`" + "".join(f" (`{base}`)" for base in airflows) if ours else ""
        lines.append(f"| {name} | {end.means} | {exception} | {end.state} | {end.soft} | `{end.xcom}` |")
    return "\n".join([*lines, "", "Airflow's versions still differ in this:", *(f"- {text}" for text in told["DIFFERENCES"])])


def sensor_table() -> str:
    return _parameters_table("sensors.py", "DocStatusSensor")


def operator_table() -> str:
    return _parameters_table("operators.py", "ExtractedDataOperator")


def _parameters_table(module: str, name: str) -> str:
    """Return the parameters that a class's docstring describes; read without Airflow."""
    classes = (node for node in ast.parse((_PACKAGE / module).read_text()).body if isinstance(node, ast.ClassDef))
    text = inspect.cleandoc(next(ast.get_docstring(node) or "" for node in classes if node.name == name))
    lines = ["| parameter | what it is |", "|---|---|"]
    for parameter, meaning in re.findall(r"^:param (\w+):((?:.|\n(?!:))*)", text, re.MULTILINE):
        plain = re.sub(r":\w+:`~?\.*(?:\w+\.)*(\w+)`", r"`\1`", " ".join(meaning.split())).replace("``", "`")
        plain = re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", plain)
        lines.append(f"| `{parameter}` | {plain} |")
    return "\n".join(lines)


TABLES = {
    "services": services_table,
    "data": data_table,
    "confidence": confidence_table,
    "timing": timing_table,
    "settings": settings_table,
    "endings": endings_table,
    "sensor": sensor_table,
    "operator": operator_table,
}


def begin_of(name: str) -> str:
    """Return the comment that a table's place begins with."""
    return f"<!-- {name}: generated by tests/readme.py -->\n"


def with_tables(text: str) -> str:
    """Return a page with the tables as they are now in the places that it has for them."""
    for name, table in TABLES.items():
        before, begin, rest = text.partition(begin_of(name))
        if begin:
            text = before + begin + table() + "\n<!-- end -->" + rest.partition("<!-- end -->")[2]
    return text


def words_of_prose(text: str) -> int:
    """Count the words of a page that are read as sentences: no code blocks, no tables, no HTML comments, no addresses."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^ *\|.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return sum(any(character.isalnum() for character in word) for word in text.split())


def schema_text() -> str:
    """Return the JSON Schema of a service's description as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text())
    for page in PAGES:
        page.write_text(with_tables(page.read_text()))
