"""Look up an Airflow connection on a triggerer's event loop, and keep its waits alive while that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from airflow_provider_docstatus._compat import AirflowNotFoundException, get_connection_in_trigger
from airflow_provider_docstatus.exceptions import ConnectionUnavailable, RequestRejected
from airflow_provider_docstatus.transport.aio import Client
from airflow_provider_docstatus.transport.connection import Endpoint

log = logging.getLogger(__name__)

#: Seconds after which a connection is read again, so that an edit in the UI takes effect.
STALE = 600.0
#: Seconds for which a failed look-up is not repeated; every caller gets its error.
FAILURE_HOLDS = 5.0
#: Seconds for which a connection that cannot be found may still appear, since a secrets backend that is down looks the same.
MISSING_HOLDS = 60.0


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
        self._failure: tuple[float, Exception] | None = None
        self._missing_since: float | None = None

    async def get(self, read_before: float | None = None) -> Client:
        """
        Return the client; read the connection again if it is old.

        :param read_before: read it again also if it was read before this time (epoch seconds).
        :raises RequestRejected: the connection is missing or wrong (who owns it must act).
        :raises ConnectionUnavailable: it cannot be read at the moment (nobody).
        """
        if (client := self._usable(read_before)) is not None:
            return client
        async with self._lock:
            if (client := self._usable(read_before)) is not None:
                return client
            before, now = self.client, self._clock()
            if self._failure is not None and now < self._failure[0] + FAILURE_HOLDS:
                raise self._failure[1]  # for all callers that queued for this look-up
            try:
                endpoint = await self._read()
                is_ours = endpoint.service.name == self.service
                opened = await Client.open(endpoint, before, self._clock) if is_ours else None
            except RequestRejected as error:
                if before is not None and read_before is None:
                    log.warning("%s What was read before is used on.", error)
                    before.read_at = now
                    return before
                self._failure = self._clock(), self._verdict(error, now)
                raise self._failure[1] from None
            self._missing_since = None
            if opened is None:
                self._failure = self._clock(), self._of_another_type(endpoint.service.name)
                raise self._failure[1]
            self.client = opened
            return opened

    def works(self) -> None:
        """Note that a poll got a status: the connection in use works, so it does not count as missing."""
        self._missing_since = None

    def clock_set_back(self, seconds: float) -> None:
        """Keep the age of what was read when the machine's clock is set back."""
        self._failure = None
        if self.client is not None:
            self.client.read_at -= seconds

    async def close(self) -> None:
        """Close the HTTP sessions; the next look-up opens others."""
        client, self.client, self._missing_since = self.client, None, None
        if client is not None:
            await client.close()

    def _usable(self, read_before: float | None) -> Client | None:
        client = self.client
        if client is None or self._clock() > client.read_at + STALE:
            return None
        return None if read_before is not None and client.read_at < read_before else client

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
        return Endpoint.from_connection(conn, extra)

    def _of_another_type(self, service: str) -> RequestRejected:
        return RequestRejected(
            f"Connection '{self.conn_id}' is now of type {service}; this wait began when it was {self.service}. Clear the task.",
            service=self.service,
        )

    def _verdict(self, error: RequestRejected, now: float) -> Exception:
        """Return the error that the waits get of a failed look-up. It does not end them while the connection may still appear."""
        cause = error.__cause__
        if not isinstance(cause, Exception):  # the connection was read, and is wrong
            return error
        self._missing_since = now if self._missing_since is None else self._missing_since
        if now >= self._missing_since + MISSING_HOLDS:
            return error if isinstance(cause, AirflowNotFoundException) else cause  # a retry may mend that
        text = f"{error} It is looked up again for a while."
        return ConnectionUnavailable(text, retry_after=FAILURE_HOLDS, service=self.service)
