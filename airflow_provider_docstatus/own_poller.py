"""The poller of a connection that describes its service itself: the connection must be read before anything is known of it."""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from dataclasses import dataclass, field
from functools import partial

from airflow_provider_docstatus.exceptions import ConnectionUnavailable
from airflow_provider_docstatus.poller import Poller, poller_for
from airflow_provider_docstatus.transport.lookup import ClientLookup
from airflow_provider_docstatus.transport.settings import FAILURE_HOLDS


@dataclass
class _OfLoop:
    """What one event loop has: how each connection is looked up, and the look-ups that nobody's poller has begun yet."""

    lookups: dict[tuple[str, str], ClientLookup] = field(default_factory=dict)
    opening: dict[tuple[str, str], asyncio.Task[Poller]] = field(default_factory=dict)


_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop] = weakref.WeakKeyDictionary()


async def own_poller_for(conn_id: str, name: str) -> Poller:
    """
    Return the running loop's poller of a connection that describes its service itself.

    The connection is read first, once for all that ask meanwhile. While it is missing or cannot be read, it is read again, for up
    to a minute.

    :param conn_id: the connection (str).
    :param name: the name of the service that it must describe (str).
    :raises RequestRejected: the connection is missing or wrong, or describes another service (whoever owns the connection).
    :raises Exception: the error of the secrets backend or database that could not be read for a minute.
    """
    loop, key = asyncio.get_running_loop(), (conn_id, name)
    mine = _loops.setdefault(loop, _OfLoop())
    task = mine.opening.get(key)
    if task is None:
        lookup = mine.lookups.setdefault(key, ClientLookup(conn_id, name, time.time))
        # As the poller's own task: in no wait's context, and not cancelled with a wait, since others may hope for it.
        task = mine.opening[key] = contextvars.Context().run(loop.create_task, _open(conn_id, lookup))
        task.add_done_callback(partial(_opened, mine, key))
    return await asyncio.shield(task)


async def _open(conn_id: str, lookup: ClientLookup) -> Poller:
    while True:
        try:
            client = await lookup.get()
            break
        except ConnectionUnavailable as error:
            await asyncio.sleep(error.retry_after or FAILURE_HOLDS)
    poller = poller_for(conn_id, client.endpoint.service, lookup)
    poller.use(client)
    poller.start()
    return poller


def _opened(mine: _OfLoop, key: tuple[str, str], task: asyncio.Task[Poller]) -> None:
    del mine.opening[key]
    if not task.cancelled():
        task.exception()  # else asyncio complains if nobody is left to hear it
