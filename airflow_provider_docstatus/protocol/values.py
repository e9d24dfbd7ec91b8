"""Read texts, times, links and counters out of untrusted JSON and headers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

#: Vendor text in errors, events and logs is one line of at most so many characters.
LONGEST_TEXT = 500
#: The name of a file in errors, events, XCom and logs has at most so many characters.
LONGEST_NAME = 120
#: What stands in a vendor's text in place of a file's name that is not told.
HIDDEN_NAME = "(a file)"

#: Numbers must fit 64 bits: Airflow 3 packs events with msgpack, whose error about a larger one ends the whole triggerer.
_MOST = 2**63

_ISO_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE)
#: The parts of a URL that may hold secrets: the user, also if the slashes are escaped, and the query, also without a scheme.
_URL_USER = re.compile(r"(:(?:\\{0,9}/){2})[^\s/?#\"'<>]*@")
_URL_QUERY = re.compile(r"(:(?:\\{0,9}/){2}[^\s?#\"'<>]*)[^\s\"'<>]*")
_ANY_QUERY = re.compile(r"(?<=[^\s?])\?[^\s\"'<>?=]*=[^\s\"'<>]*")
_LEVELS_OF_TEXT = 3


def get_path(body: Any, path: str) -> Any:
    """Return the value at a dotted path of a JSON body (``result.success``), else None. ``0`` names a list's only item."""
    if "." not in path:  # nearly always
        return body.get(path) if isinstance(body, dict) else None
    for name in path.split("."):
        if isinstance(body, dict):
            body = body.get(name)
        elif isinstance(body, list) and len(body) == 1 and name == "0":
            body = body[0]
        else:
            return None
    return body


def is_there(body: Any, path: str) -> bool:
    """Whether a body says what stands at a dotted path: a value, null, or something that nothing can stand below."""
    for name in path.split("."):
        if not isinstance(body, dict):
            return True
        if name not in body:
            return False
        body = body[name]
    return True


def first_of(body: Any, paths: Sequence[str]) -> Any:
    """Return the first value that is not None among several dotted paths."""
    for path in paths:
        if (value := get_path(body, path)) is not None:
            return value
    return None


def one_line(text: object) -> str | None:
    """
    Return vendor text as one line of bounded length; None if empty.

    The users and queries of URLs are cut, since they may hold passwords or signatures. Characters that logs and databases
    refuse (control characters, halves of a surrogate pair) are replaced.
    """
    if not isinstance(text, str):
        try:
            text = json.dumps(text, ensure_ascii=False, default=str)
        except RecursionError:  # Python 3.12 reads deeper nesting than it writes
            text = "(nested too deeply)"
    text = " ".join(text[: LONGEST_TEXT * 4].split())
    if "/" in text and ":" in text:
        text = _URL_QUERY.sub(r"\1", _URL_USER.sub(r"\1", text))
    if "?" in text and "=" in text:
        text = _ANY_QUERY.sub("", text)
    text = printable(text)
    return text[: LONGEST_TEXT - 1] + "…" if len(text) > LONGEST_TEXT else text or None


def file_name(value: object) -> str | None:
    """
    Return the name of a file as it may be shown: one line of at most 120 characters; None if there is none.

    It is untrusted. Control and format characters are removed, also those that turn the direction of the text around it. Of
    a URL the user and the query are cut.
    """
    if not isinstance(value, str):
        return None
    text = one_line("".join(c for c in value[: LONGEST_TEXT * 4] if c.isprintable() or c.isspace())) or ""
    return text[: LONGEST_NAME - 1] + "…" if len(text) > LONGEST_NAME else text or None


def named(about: str, name: str | None) -> str:
    """Return what a message calls a document: the name of its file first, if that is known, then its id or the like."""
    return f"{name} ({about})" if name else about


def without_name(text: str | None, name: str | None) -> str | None:
    """Return a text in which the name of a file, as :func:`file_name` returns it, is replaced."""
    if not text or not name:
        return text
    whole = name.removesuffix("…")
    end = r"(?!\w)" if whole == name else r"\S*"  # of a long name only the beginning is known
    return re.sub(rf"(?<!\w){re.escape(whole)}{end}", HIDDEN_NAME, text, flags=re.IGNORECASE)


def first_text(body: Any, paths: Sequence[str]) -> str | None:
    """Return the first text among several places; a place may be several dotted paths, whose texts are joined."""
    for place in paths:
        found = [text_in({"error": value}) for path in place.split() if (value := get_path(body, path))]
        if texts := [text for text in found if text]:
            return one_line(": ".join(dict.fromkeys(texts)))
    return None


def is_something(value: Any) -> bool:
    """Whether a value says that there is something: a list, object or text that is not empty, true, or a number above 0."""
    number = count(value)
    return number > 0 if number is not None else value is True or (isinstance(value, (list, dict, str)) and bool(value))


def is_empty(data: Any) -> bool:
    """Whether data is none at all: null, an empty object, list, text or file. False and 0 are data."""
    return data is None or data in ({}, [], "", b"")


def printable(text: str) -> str:
    """Replace the characters that logs, encoders and databases refuse: control characters, halves of a surrogate pair."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def text_in(body: Any, *, levels: int = _LEVELS_OF_TEXT) -> str | None:
    """Return the vendor's error text of a body; its place differs from vendor to vendor and from route to route."""
    if isinstance(body, Mapping):
        for path in ("error.message", "detail", "message", "error"):
            found = get_path(body, path)
            if isinstance(found, Mapping):
                return (text_in(found, levels=levels - 1) if levels else None) or one_line(found)
            if found:
                text = _validation_text(found) if isinstance(found, list) else one_line(found)
                return _with_inner_texts(text, get_path(body, path.rpartition(".")[0]) if "." in path else body)
        return None
    return one_line(body) if isinstance(body, str) else None


def _with_inner_texts(text: str | None, error: Any) -> str | None:
    """Add the innermost ``innererror`` and the ``details`` of an error object; the outer text says little."""
    inner, texts = get_path(error, "innererror"), [text] if text else []
    for _ in range(_LEVELS_OF_TEXT):
        if not isinstance(inner, Mapping):
            break
        texts[1:] = [found] if (found := one_line(inner.get("message") or "")) else texts[1:]
        inner = inner.get("innererror")
    details = get_path(error, "details")
    for one in details[:_LEVELS_OF_TEXT] if isinstance(details, list) else ():
        message, place = get_path(one, "message"), get_path(one, "target")
        if isinstance(message, str):
            texts += [f"{place}: {message}" if isinstance(place, str) else message]
    return one_line(" ".join(dict.fromkeys(texts)))


def _validation_text(problems: list[Any]) -> str | None:
    """Read FastAPI's 422 list without ``input``, which repeats what was sent."""
    lines = []
    for problem in problems:
        if isinstance(problem, Mapping) and "msg" in problem:
            place = problem.get("loc")
            where = ".".join(str(part) for part in place) if isinstance(place, list) else ""
            lines.append(f"{where}: {problem['msg']}" if where else str(problem["msg"]))
        elif isinstance(text := first_of(problem, ("message", "error_message")), str):
            lines.append(text)
        else:
            lines.append(str({k: v for k, v in problem.items() if k != "input"} if isinstance(problem, Mapping) else problem))
    return one_line("; ".join(lines))


def count(value: Any) -> int | None:
    """Read a counter: a whole number that is not negative, also when a vendor sends it as float or text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e18 and value == int(value):
        return int(value)
    return None


def clock_time(at: float) -> str:
    """Return a time (epoch seconds) as messages show it."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%H:%M:%S UTC")


def utc_time(value: Any) -> str | None:
    """Read a time (ISO 8601 with ``Z``, an offset or neither, or epoch seconds) as ISO 8601 in UTC; None if it is none."""
    try:
        if isinstance(value, str) and (match := _ISO_TIME.fullmatch(value.strip())):
            day, clock, fraction, zone = match.groups()
            zone = "+00:00" if zone in (None, "Z", "z") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
            moment = datetime.fromisoformat(f"{day}T{clock}{(fraction or '.0')[:7]:0<7}{zone}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            moment = datetime.fromtimestamp(value, timezone.utc)
        else:
            return None
        return moment.astimezone(timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def https_link(value: Any) -> str | None:
    """
    Return a vendor's link if it is a plain https URL in ASCII; anything else is untrusted text and dropped.

    A query or fragment is cut: it may hold a token, and no vendor's page of a document has one.
    """
    link = re.fullmatch(r"(https://[A-Za-z0-9.:\[\]_-]+(?:/[!$-&(-;=@-\[\]-~]*)?)(?:[?#][!#-&(-;=?-\[\]-~]*)?", str(value)[:2001])
    return link[1] if link and isinstance(value, str) and len(value) <= 2000 else None


def small_fact(value: Any) -> Any:
    """Return a value fit for ``details``: a number, a bool, a short text or a flat dict of numbers; else None."""
    if isinstance(value, str):
        return one_line(value[:200])
    if isinstance(value, (bool, int, float)):
        return value if -_MOST <= value < _MOST else None  # false for NaN as well
    if isinstance(value, Mapping) and len(value) <= 20:
        facts = {one_line(name[:50]) or "": fact for name, fact in value.items() if isinstance(fact, (bool, int, float))}
        return {name: small_fact(fact) for name, fact in facts.items()} or None
    return None
