"""
Read long JSON bodies piece by piece, so that no reply holds an event loop.

A flow that reads such a body yields pauses between the pieces, and gets an *outline* of it: what a status may be read from.
Values that end within a piece are read by the json module, so JSON means the same as in short bodies. What is longer than a piece
is gone through: of an object what a description reads is kept, of a list the first items, of a text the beginning. The
list of children can be gone through again, item by item (:class:`LongList`), so that many of them need no memory.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from typing import Any

from airflow_provider_docstatus.protocol.description import BatchRoute, ListRoute, Route, ServiceDescription
from airflow_provider_docstatus.protocol.exact import BeyondReason, Decoder
from airflow_provider_docstatus.protocol.messages import PAUSE, READ_AT_ONCE, Flow, Response

#: Bytes that are read between two pauses. Dense JSON of this length takes two milliseconds.
PIECE = 32 * 1024
#: Items of a list that are processed between two pauses.
ITEMS_AT_ONCE = 100
#: Items of a long list that an outline holds.
FIRST_ITEMS = 100
#: Lists and objects longer than a piece that may be inside each other; the json module gives up at about as many.
DEEPEST = 900
#: The names that are read in any service's replies, and in the error envelopes of those that have one.
_READ_IN_ALL = (
    *("data", "status", "success", "result", "results", "document_id", "error", "error_message", "message", "detail"),
    *("code", "details", "type", "system_message", "trace_id"),
)
_DECODER = Decoder()
_BLANKS = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")
_TEXT = re.compile(r'(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_LONGEST_ESCAPE = len("\\u0000")
_IN_A_NUMBER = b"0123456789+-.eE"
#: Stands for a value that does not end within the piece.
_LONG = object()
_CLOSING = {"{": "}", "[": "]"}


def read_outline(service: ServiceDescription, response: Response, *, may_be_cut: bool = False, whole: Any = None) -> Flow[None]:
    """
    Read a response's body in pieces if it is long; ``response.json()`` then returns its outline.

    :param may_be_cut: whether the beginning of a body that is too large is enough: the status word mostly comes before the data.
    :param whole: what a sink holds of a body that is too large, as bytes.
    """
    is_cut = may_be_cut and response.is_too_large
    if whole is None and ((len(response.body) <= READ_AT_ONCE and not is_cut) or response.outline is not None):
        return
    names, lists = _names_and_lists(service)
    try:
        response.outline = yield from outline_of(whole or response.body, names=names, lists=lists, is_cut=is_cut)
    except ValueError as error:
        response.outline = (BeyondReason if isinstance(error, BeyondReason) else ValueError)(str(error))


def is_object(response: Response) -> Flow[bool]:
    """Whether a response's body is a JSON object; also of a long one, which stays as it came, since data may be taken from it."""
    if len(response.body) <= READ_AT_ONCE:
        return isinstance(response.json_or_text(), Mapping)
    try:
        return isinstance((yield from outline_of(response.body, names=())), Mapping)
    except ValueError:
        return False


def outline_of(body: bytes, *, names: Collection[str], lists: Collection[str] = (), is_cut: bool = False) -> Flow[Any]:
    """
    Return the outline of a JSON body.

    :param names: the names to keep of objects that are longer than a piece.
    :param lists: the names of lists that are gone through again, item by item.
    :param is_cut: whether the body is only the beginning of one; the outline is then of what is there.
    :raises ValueError: it is no JSON, or is nested beyond reason.
    """
    if is_cut:
        end = len(body)
        while end and (body[end - 1] & 0xC0 == 0x80 or body[end - 1] in _IN_A_NUMBER):  # not within a character or number
            end -= 1
        body, lists = body[: max(end - 1, 0)], ()
    walk = _Walk(body, len(BOM_UTF8) if body[: len(BOM_UTF8)] == BOM_UTF8 else 0, names, lists)
    try:
        value = yield from walk.value()
    except ValueError as error:
        if is_cut and walk.is_all and not isinstance(error, BeyondReason):
            return walk.so_far()
        raise
    if (yield from walk.next_character()):
        raise ValueError("there is more after the JSON")
    return value


def in_slices(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of a list, with pauses between them; of a :class:`LongList` all."""
    for number, item in enumerate(items.all_items() if isinstance(items, LongList) else items, 1):
        yield item
        if number % ITEMS_AT_ONCE == 0:
            yield PAUSE


class LongList(list[Any]):
    """
    A list of a long body, as a list of its first items.

    :param body: the body.
    :param start: where the first item is (bytes).
    :param names: the names to keep of items that are longer than a piece.
    """

    def __init__(self, body: bytes, start: int, names: Collection[str]) -> None:
        super().__init__()
        self._walk = body, start, names

    def all_items(self) -> Generator[Any, Any, None]:
        """Yield all items, with pauses between them."""
        walk = _Walk(*self._walk)
        while True:
            yield from walk.next_character()
            items: list[Any] = []
            walk.short_items(items.append)
            yield from items
            item = yield from walk.value()
            yield item
            if (yield from walk.next_character()) != ",":  # the list was read before, so this is its end
                return
            walk.skip()


class _Around:
    """
    A list or object that is longer than a piece, with the cursor inside.

    :param value: its outline so far; None if nothing of it is kept.
    :param names: the names to keep of an object.
    :param is_outermost: whether the outline shows the first of the other names too, without what they stand for.
    """

    __slots__ = ("closing", "is_outermost", "key", "names", "value")

    def __init__(
        self, opening: str, value: dict[str, Any] | list[Any] | None, names: Collection[str], *, is_outermost: bool
    ) -> None:
        self.closing = _CLOSING[opening]
        self.value = value
        self.names = names
        self.is_outermost = is_outermost
        #: The key of the value at the cursor.
        self.key = ""

    @property
    def keeps_next(self) -> bool:
        """Whether the value at the cursor is kept."""
        if isinstance(self.value, dict):
            return self.key in self.names
        return self.value is not None and len(self.value) < FIRST_ITEMS

    def take(self, value: Any) -> None:
        """Keep the value at the cursor, or let it go."""
        if isinstance(self.value, dict):
            if self.key in self.names:
                self.value[self.key] = value
            elif self.is_outermost and len(self.value) < FIRST_ITEMS:
                self.value[self.key] = None
        elif self.value is not None and len(self.value) < FIRST_ITEMS:
            self.value.append(value)


class _Walk:
    """A cursor that goes through a body. Its text is what is decoded and not read yet, about a piece."""

    def __init__(self, body: bytes, start: int, names: Collection[str], lists: Collection[str] = ()) -> None:
        self._body = body
        self._names = names
        self._lists = lists
        self._decoded = start
        self._text, self._at = "", 0
        self._open: list[_Around] = []

    def so_far(self) -> Any:
        """Return the outline of what was read before the body broke off."""
        value: Any = None
        for inner in reversed(self._open):
            if value is not None:
                inner.take(value)
            value = inner.value or None  # what is empty so far may not stay so
        return value

    def value(self) -> Flow[Any]:
        """Read the value at the cursor; return it, or its outline."""
        around = self._open = []
        while True:
            value = yield from self._short_value()
            if value is _LONG:
                opening = self._text[self._at : self._at + 1]
                if opening == '"':
                    value = yield from self._long_text()
                elif opening and opening in "{[":
                    yield PAUSE
                    around.append(self._enter(opening, around[-1] if around else None))
                    if len(around) > DEEPEST:
                        raise BeyondReason("more levels of lists and objects than can be read")
                    if (yield from self.next_character()) != around[-1].closing:
                        yield from self._begin_member(around[-1])
                        continue
                    self.skip()
                    value = around.pop().value
                else:
                    raise ValueError("broken")
            while around:  # a value was read: what comes after it
                around[-1].take(value)
                character = yield from self.next_character()
                self.skip()
                if character == ",":
                    yield from self._begin_member(around[-1])
                    break
                if character != around[-1].closing:
                    raise ValueError("broken")
                value = around.pop().value
            else:
                return value

    def next_character(self) -> Flow[str]:
        """Go past blanks; return the character at the cursor, none at the end of the body."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            self._at = blanks.end() if blanks else self._at
            if self._at < len(self._text) or self.is_all:
                return self._text[self._at : self._at + 1]
            yield from self._fill()

    def skip(self) -> None:
        """Go past the character at the cursor."""
        self._at += 1

    def short_items(self, take: Callable[[Any], None]) -> None:
        """Read the items of a list that are in the text, up to the last that has a comma behind it."""
        text, read = self._text, _DECODER.raw_decode
        try:
            while True:
                item, end = read(text, self._at)
                comma = _COMMA.match(text, end)
                if comma is None:
                    return
                take(item)
                self._at = comma.end()
        except ValueError:  # it does not end here, or is broken: value() will see
            return
        except RecursionError:
            raise BeyondReason("more levels of lists and objects than can be read") from None

    def _short_members(self, inside: _Around) -> None:
        """Read the members of an object that are in the text, up to the last that has a comma behind it."""
        text, read = self._text, _DECODER.raw_decode
        try:
            while text.startswith('"', self._at):
                key, end = read(text, self._at)
                colon = _COLON.match(text, end)
                if colon is None:
                    return
                value, end = read(text, colon.end())
                comma = _COMMA.match(text, end)
                if comma is None:
                    return
                inside.key = key
                inside.take(value)
                self._at = comma.end()
        except ValueError:  # as above
            return
        except RecursionError:
            raise BeyondReason("more levels of lists and objects than can be read") from None

    def _begin_member(self, inside: _Around) -> Flow[None]:
        """Read the short items or members at the cursor, and the key of the next one."""
        yield from self.next_character()
        if inside.closing == "]":
            self.short_items(inside.take)
            return
        self._short_members(inside)
        key = yield from self._short_value()
        if key is _LONG and self._text[self._at : self._at + 1] == '"':
            key = yield from self._long_text()
        if not isinstance(key, str) or (yield from self.next_character()) != ":":
            raise ValueError("broken")
        inside.key = key
        self.skip()

    def _enter(self, opening: str, outside: _Around | None) -> _Around:
        """Go into a long object or list."""
        self.skip()
        value: dict[str, Any] | list[Any] | None = None
        if outside is None or outside.keeps_next:
            is_gone_through_again = outside is not None and outside.key in self._lists and outside.closing == "}"
            unread = len(self._text[self._at :].encode("utf-8", "surrogatepass")) if is_gone_through_again else 0
            value = (
                {}
                if opening == "{"
                else LongList(self._body, self._decoded - unread, self._names)
                if is_gone_through_again
                else []
            )
        return _Around(opening, value, self._names, is_outermost=outside is None)

    def _short_value(self) -> Flow[Any]:
        """Read the value at the cursor if it ends within the text or within a whole piece; else return ``_LONG``."""
        yield from self.next_character()
        value = self._value_in_text()
        if value is _LONG and not self.is_all and (self._at or len(self._text) < PIECE):
            yield from self._fill()
            value = self._value_in_text()
        return value

    def _value_in_text(self) -> Any:
        try:
            value, end = _DECODER.raw_decode(self._text, self._at)
        except RecursionError:
            raise BeyondReason("more levels of lists and objects than can be read") from None
        except ValueError:
            return _LONG
        # A number ends where something else begins; "1e" may go on as "1e5".
        if not self.is_all and end + 2 >= len(self._text) and self._text[self._at] not in '{["':
            return _LONG
        self._at = end
        return value

    def _long_text(self) -> Flow[str]:
        """Read a text that is longer than a piece; return its beginning."""
        beginning: str | None = None
        self.skip()
        while True:
            match = _TEXT.match(self._text, self._at)
            if beginning is None and match:
                beginning = json.loads(f'"{match[0]}"')
            self._at = match.end() if match else self._at
            unread = len(self._text) - self._at
            if self._text[self._at : self._at + 1] == '"':
                self.skip()
                return beginning or ""
            if self.is_all or (unread and not (unread < _LONGEST_ESCAPE and self._text[self._at] == "\\")):
                raise ValueError("broken")
            yield from self._fill()

    @property
    def is_all(self) -> bool:
        """Whether the rest of the body is in the text."""
        return self._decoded == len(self._body)

    def _fill(self) -> Flow[None]:
        """Drop the text before the cursor, and decode as much as makes a whole piece."""
        yield PAUSE
        self._text, self._at = self._text[self._at :], 0
        while len(self._text) < PIECE and not self.is_all:
            end = min(self._decoded + PIECE, len(self._body))
            while end < len(self._body) and end > self._decoded + PIECE - 4 and self._body[end] & 0xC0 == 0x80:
                end -= 1  # not within a character
            self._text += self._body[self._decoded : end].decode("utf-8", "surrogatepass")
            self._decoded = end


def _names_and_lists(service: ServiceDescription) -> tuple[set[str], set[str]]:
    """Return the names that a description reads, and those of lists that are gone through again."""
    routes = list(_all_routes(service.routes.values()))
    paths = [path for route in routes for path in (route.children, *(one.items for one in _several(route))) if path]
    places = [*paths, *service.envelope, *service.quota, *service.rate, service.retry_flag]
    names = {*_READ_IN_ALL, *_names(routes), *(name for path in places for name in _parts(path))}
    return names, {path.rpartition(".")[2] for path in paths}


def _several(route: Route) -> list[BatchRoute | ListRoute]:
    return [one for one in (route.batch, route.listing, route.members) if one is not None]


def _all_routes(routes: Iterable[Route]) -> Iterator[Route]:
    for route in routes:
        yield route
        yield from _all_routes([one for one in (route.child, *(one.item for one in _several(route))) if one is not None])


def _names(routes: Iterable[Route]) -> Iterator[str]:
    """Yield the names that descriptions of routes read."""
    for route in routes:
        paths = [*route.ids, *route.status, *route.errors, *route.links, *route.counters, *route.partial]
        paths += [route.children, route.flag, route.good, route.inside]
        paths += [path for several in (*route.times.values(), *route.details.values()) for path in several]
        if route.result is not None:
            result, flags = route.result, (flag for flag, _ in route.result.link_if.values())
            paths += [*result.status, *result.errors, *result.partial, result.failure, result.good, *result.link, *flags]
            paths += [path for several in result.details.values() for path in several]
        for path in paths:
            yield from _parts(path)


def _parts(path: str) -> list[str]:
    return path.replace(" ", ".").split(".")
