"""Look up an Airflow connection on a triggerer's event loop, and keep its waits alive while that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from airflow_provider_docstatus._compat import AirflowNotFoundException, get_connection_in_trigger
from airflow_provider_docstatus.exceptions import ConnectionUnavailable, RequestRejected
from airflow_provider_docstatus.transport.aio import Client
from airflow_provider_docstatus.transport.connection import Endpoint
from airflow_provider_docstatus.transport.settings import FAILURE_HOLDS, MISSING_HOLDS, OWN_TYPE

log = logging.getLogger(__name__)

#: Seconds after which a connection is read again, so that an edit in the UI takes effect.
STALE = 600.0


class ClientLookup:
    """
    The HTTP client of one connection, opened anew when the connection has changed.

    :param conn_id: the connection (str).
    :param service: the name of the service that the connection must be for (str).
    :param clock: gives epoch seconds.
    """

    def __init__(self, conn_id: str, service: str, clock: Callable[[], float]) -> None:
        self.conn_id = conn_id
        self.service = service
        #: The client in use; None before the first look-up.
        self.client: Client | None = None
        self._clock = clock
        self._lock = asyncio.Lock()
        self._next_read = 0.0
        self._failure: tuple[float, Exception] | None = None
        # Since when (epoch seconds) somebody needs the connection that cannot be read or used; since when it has another type or
        # no key any more; since when what was read before is used on for either reason.
        self._missing_since: float | None = None
        self._changed_since: float | None = None
        self._kept_since: float | None = None

    async def get(self, read_before: float | None = None) -> Client:
        """
        Return the client; read the connection again if it is old. If that fails, what was read before is used on.

        :param read_before: read it again also if it was read before this time (epoch seconds): the client is needed to confirm a
            refusal, and what was read before proves nothing.
        :raises RequestRejected: the connection is missing or wrong (who owns it must act).
        :raises ConnectionUnavailable: it cannot be read or used at the moment (nobody).
        """
        if (client := self._usable(read_before)) is not None:
            return client
        async with self._lock:
            if (client := self._usable(read_before)) is not None:
                return client
            now = self._clock()
            kept = self.client if read_before is None else None
            if self._failure is None or now >= self._failure[0] + FAILURE_HOLDS:
                try:
                    return await self._read_again(now)
                except RequestRejected as error:
                    self._failure = self._clock(), self._verdict(error, now, is_kept=kept is not None)
            if kept is None or self._is_over(now):
                raise self._failure[1]  # for all callers that queued for this look-up
            return kept

    def works(self) -> None:
        """Note that a poll got a status: the connection in use works, so it does not count as missing."""
        self._missing_since = None

    def clock_set_back(self, seconds: float) -> None:
        """Keep the age of what was read when the machine's clock is set back."""
        self._failure = None
        self._next_read -= seconds
        self._missing_since = self._changed_since = self._kept_since = None
        if self.client is not None:
            self.client.read_at -= seconds

    async def close(self) -> None:
        """Close the HTTP sessions; the next look-up opens others."""
        client, self.client = self.client, None
        self._missing_since = self._changed_since = self._kept_since = None
        if client is not None:
            await client.close()

    def _usable(self, read_before: float | None) -> Client | None:
        client = self.client
        if client is None or self._clock() > self._next_read:
            return None
        return None if read_before is not None and client.read_at < read_before else client

    def _is_over(self, now: float) -> bool:
        """Whether the connection has been another one for so long that it counts."""
        return self._changed_since is not None and now >= self._changed_since + MISSING_HOLDS

    async def _read_again(self, now: float) -> Client:
        before, changed_since = self.client, self._changed_since
        self._changed_since = None
        endpoint = await self._read()
        try:
            endpoint.check_unchanged(self.service, has_key=before is not None and before.endpoint.key is not None)
        except RequestRejected:
            self._changed_since = now if changed_since is None else changed_since
            if endpoint.service.name != self.service or not self._is_over(now):
                raise
        client = await Client.open(endpoint, before, self._clock)
        self.client, self._next_read = client, now + (STALE if endpoint.key or endpoint.service.key_optional else MISSING_HOLDS)
        self._failure = self._missing_since = self._changed_since = self._kept_since = None
        return client

    async def _read(self) -> Endpoint:
        try:
            conn, extra = await get_connection_in_trigger(self.conn_id)
        except AirflowNotFoundException as error:
            raise RequestRejected(
                f"Connection '{self.conn_id}' is not defined for the triggerer: environment variables and secrets backends must "
                "be set there as on the workers."
            ) from error
        except Exception as error:  # an error of a secrets backend or of Airflow's database
            raise RequestRejected(
                f"Connection '{self.conn_id}' cannot be read in the triggerer ({type(error).__name__})."
            ) from error
        if conn.conn_type == OWN_TYPE:  # to check a long description takes time, and to read a file as well
            return await asyncio.get_running_loop().run_in_executor(None, Endpoint.from_connection, conn, extra)
        return Endpoint.from_connection(conn, extra)

    def _verdict(self, error: RequestRejected, now: float, *, is_kept: bool) -> Exception:
        """Note that the connection is wrong; return the error for waits that cannot go on with what was read before."""
        cause, is_over = error.__cause__, self._is_over(now)
        if not is_kept and self._missing_since is None:
            self._missing_since = now
        if self.client is None and not isinstance(cause, Exception):  # the connection was read, and is wrong
            return error
        if self.client is not None and not is_over:
            if self._kept_since is None:
                self._kept_since = now
                log.warning("%s What was read before is used on.", error)
            self._next_read = now + (FAILURE_HOLDS if now < self._kept_since + MISSING_HOLDS else MISSING_HOLDS)
        if is_over or (self._missing_since is not None and now >= self._missing_since + MISSING_HOLDS):
            return cause if isinstance(cause, Exception) and not isinstance(cause, AirflowNotFoundException) else error
        text = f"{error} It is looked up again for a while."
        return ConnectionUnavailable(text, retry_after=FAILURE_HOLDS, service=self.service)
