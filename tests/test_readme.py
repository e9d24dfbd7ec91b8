"""The README says what the code does."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def _readme():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "tests" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_code():
    assert _readme().with_tables(TEXT) == TEXT, "run: python tests/readme.py"


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", TEXT))
def test_every_link_into_the_repository_exists(target):
    assert target.startswith("https://") or (ROOT / target).exists()


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_every_python_block_is_python(block):
    ast.parse(block)


def test_the_first_example_is_the_example_dag():
    block = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    namespace = {"__name__": "readme_example"}
    exec(compile(block.replace("from airflow.sdk import dag, task", _IMPORTS), "README.md", "exec"), namespace)
    assert set(namespace["gate_one_document"]().task_ids) == {"wait", "use"}


_IMPORTS = """
try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task
"""


@pytest.mark.parametrize("command", re.findall(r"^make (\w+)", TEXT, re.MULTILINE))
def test_every_make_target_exists(command):
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_exception_named_in_the_readme_exists():
    from airflow_provider_docstatus import _compat, exceptions, verdict
    from tests.task_runs import task_deferral_error

    table = TEXT.split("## How a wait can end", 1)[1].split("\n## ", 1)[0]
    names = set(re.findall(r"`([A-Z]\w+)`", table))
    assert {"DocumentFailed", "AirflowSensorTimeout"} <= names
    names -= {task_deferral_error().__name__}
    assert [name for name in names if not any(hasattr(home, name) for home in (exceptions, verdict, _compat))] == []
