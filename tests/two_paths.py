"""Ask one question on the worker's path (hook, requests) and on the triggerer's (poller, aiohttp)."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_docstatus import poller
from airflow_provider_docstatus.exceptions import DocStatusError
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.status import DocumentStatus
from airflow_provider_docstatus.transport import aio
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.spec import WaitSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from airflow_provider_docstatus.protocol.targets import Target
    from airflow_provider_docstatus.testing import StandInVendors

Observation = DocumentStatus | DocStatusError
CONN_ID = "vendor"


def connect(monkeypatch: pytest.MonkeyPatch, vendors: StandInVendors, service: str, fields: Mapping[str, Any]) -> None:
    """Set the connection to a stand-in vendor, with some of its fields changed; forget what the last one ended with."""
    connection = {"conn_type": service, "host": vendors.url, "password": vendors.keys[service], **fields}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    monkeypatch.setattr(aio, "_limiters", {})  # a 429 pauses them, and the next stand-in may get the same port


def ask_on_the_worker(target: Target) -> Observation:
    """Return what the hook makes of one answer."""
    hook = DocStatusHook(CONN_ID, retries=0)
    try:
        return hook.get_target_status(target)
    except DocStatusError as error:
        return error
    finally:
        if hook._session is not None:
            hook._session.close()  # the stand-in waits for open connections when it stops


def ask_in_the_triggerer(service: str, target: Target) -> Observation:
    """Return what the poller tells a wait first."""
    return hear_in_the_triggerer(service, target, times=1)[0]


def hear_in_the_triggerer(service: str, target: Target, *, times: int) -> list[Observation]:
    """Return the first that the poller tells a wait."""
    heard: list[Observation] = []

    class Few(poller.Subscription):
        __slots__ = ()

        @property
        def is_over(self) -> bool:
            return True

        def observe(self, _target: Target, observation: Observation, _now: float) -> bool:
            heard.append(observation)
            if len(heard) == times:
                self.stop()
            return len(heard) == times

    async def listen() -> None:
        now = time.time()
        interval = {"poke_interval": 60.0 if times == 1 else 0.01, "asked_at": 0.0, "started_at": now, "deadline": now + 60}
        spec = WaitSpec(conn_id=CONN_ID, service=service, route=target.route, id=target.id, **interval)
        one = poller.poller_for(CONN_ID, SERVICES[service])
        await one.wait(Few(Group(spec=spec, service=SERVICES[service]), logging.getLogger(__name__), one))

    asyncio.run(listen())
    return heard
