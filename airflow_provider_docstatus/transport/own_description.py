"""A connection's own description of its service: in its extra, or in a file below a folder that the deployment names."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_docstatus._compat import conf
from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.protocol.described import BadDescription, description_of, parse
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.protocol.plain_data import LONGEST, parsed
from airflow_provider_docstatus.registry import all_services
from airflow_provider_docstatus.transport.settings import OWN_SETTINGS, OWN_TYPE

#: Without brackets: Airflow's command line takes a word in them for markup, and leaves it out.
_FOLDER = "option descriptions_folder of section docstatus"
#: No step of a path follows a link that has come just now. A file is not waited for, as a pipe is; a folder may be unreadable.
_OPEN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def own_service(conn_id: str, extra: object) -> ServiceDescription:
    """
    Return the service that a connection of type ``docstatus`` describes. This may read a file.

    :param conn_id: the connection (str).
    :param extra: its extra; it has either ``description`` (an object, or JSON or YAML as text) or ``file`` (a path).
    :raises RequestRejected: it has neither or both, or what it has cannot be used (whoever owns the connection). The text repeats
        nothing of the description.
    """
    given = {name: extra.get(name) for name in OWN_SETTINGS} if isinstance(extra, Mapping) else {}
    named = [name for name, value in given.items() if value not in (None, "")]
    try:
        if len(named) != 1:
            raise BadDescription(
                f"the extra must have one of {' and '.join(OWN_SETTINGS)}; it has {' and '.join(named) or 'none'}."
            )
        what = given[named[0]] if named == ["description"] else _content(given["file"])
        data = parsed(what) if isinstance(what, Mapping) else parse(what) if isinstance(what, (str, bytes)) else None
        if data is None:
            raise BadDescription("it must be an object or text.")
        return description_of(data, reserved={OWN_TYPE, *(one.service.name for one in all_services())})
    except BadDescription as error:
        about = named[0] if len(named) == 1 else "description"
        text = str(error).replace("the description: ", "") if about == "description" else str(error)
        raise RequestRejected(f"Connection '{conn_id}' ({OWN_TYPE}), {about}: {text}") from None


def _content(file: Any) -> bytes:
    """Return what is in a file. Raises BadDescription if the connection may not name it, or if it cannot be read."""
    folder = conf.get("docstatus", "descriptions_folder", fallback="") or ""
    if not folder:
        raise BadDescription(f"a connection may name a file only where {_FOLDER} is set, on workers and triggerers.")
    if not isinstance(file, str) or not file.isprintable():  # so neither a NUL nor half of a surrogate pair
        raise BadDescription("it must be a path as text, in printable characters.")
    if not Path(folder).is_absolute():
        raise BadDescription(f"{_FOLDER} must be an absolute path.")
    root = os.path.realpath(folder)
    if not Path(root).is_dir():
        raise BadDescription(f"the folder that {_FOLDER} names is not there on this machine.")
    path = os.path.realpath(os.path.join(root, file))  # noqa: PTH118 -- a path as text, whose links are followed before the check
    if os.path.commonpath([root, path]) != root or path == root:
        raise BadDescription(f"it must name a file below the folder that {_FOLDER} names, also where links lead.")
    return _read(root, Path(path).relative_to(root).parts)


def _read(root: str, names: Sequence[str]) -> bytes:
    """Return what is in a file, whose path below the folder has these names."""
    handles: list[int] = []
    try:
        handles.append(os.open(root, _OPEN_FOLDER))
        for name in names[:-1]:
            handles.append(os.open(name, _OPEN_FOLDER, dir_fd=handles[-1]))
        handles.append(os.open(names[-1], _OPEN_FILE, dir_fd=handles[-1]))
        handle = handles[-1]
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BadDescription("it is no regular file.")
        with open(handle, "rb", closefd=False) as file:
            content = file.read(LONGEST + 1)
    except FileNotFoundError:
        raise BadDescription(f"there is no such file on this machine, below the folder that {_FOLDER} names.") from None
    except OSError as error:
        raise BadDescription(f"the file cannot be read on this machine ({type(error).__name__}).") from None
    finally:
        for one in handles:
            os.close(one)
    return content
