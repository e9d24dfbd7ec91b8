"""The trigger: one task's wait in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_docstatus import DISTRIBUTION
from airflow_provider_docstatus._compat import BaseTrigger, TriggerEvent
from airflow_provider_docstatus.exceptions import RequestRejected
from airflow_provider_docstatus.own_poller import own_poller_for
from airflow_provider_docstatus.poller import Poller, Subscription, poller_for
from airflow_provider_docstatus.protocol.values import one_line
from airflow_provider_docstatus.registry import find
from airflow_provider_docstatus.services import SERVICES, ServiceDescription
from airflow_provider_docstatus.status import State
from airflow_provider_docstatus.waiting.group import Group
from airflow_provider_docstatus.waiting.outcomes import OUTCOMES
from airflow_provider_docstatus.waiting.report import ending_event, event_of
from airflow_provider_docstatus.waiting.spec import SPEC_VERSION, WaitSpec
from airflow_provider_docstatus.waiting.wait import Ending


class DocStatusTrigger(BaseTrigger):
    """
    Wait until an id or a list of ids is finished, without holding a worker slot.

    Nothing is checked here, since an exception from a trigger's constructor ends the whole triggerer.

    :param kwargs: the fields of :class:`~.waiting.spec.WaitSpec`. A field that this version does not know is kept, and makes the
        trigger refuse the wait when it runs.
    """

    def __init__(self, /, **kwargs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is untyped
        #: The arguments of the wait.
        self.spec, self._newer = WaitSpec.from_kwargs(kwargs)

    @property
    def log(self) -> Any:
        """The logger, which all waits share. From Airflow 3.1 on a logger for each would cost a dozen objects per wait."""
        return self.logger()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return "airflow_provider_docstatus.triggers.DocStatusTrigger", {**self.spec.to_kwargs(), **self._newer}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then send one small event (:func:`.waiting.report.event_of`)."""
        began = time.monotonic()
        event = await (self._own_event() if self.spec.distribution is None else self._event())
        await asyncio.sleep(max(0.0, self.spec.shortest - (time.monotonic() - began)))
        yield TriggerEvent(event)

    async def _event(self) -> dict[str, Any]:
        service = await self._service()
        if service is None or not self._is_readable() or str(self.spec.route) not in service.routes:
            return self._unreadable(has_service=service is not None)
        return await self._waited(poller_for(self.spec.conn_id, service), service)

    async def _own_event(self) -> dict[str, Any]:
        """Wait for a service that the connection describes; what the worker knew of it does not travel."""
        if not self._is_readable():
            return self._unreadable(has_service=True)
        try:
            poller = await own_poller_for(self.spec.conn_id, self.spec.service)
        except RequestRejected as error:
            self.log.warning("%s", error)
            group = Group(spec=self.spec, service=_undescribed(self.spec.service))
            for one in self.spec.all_ids:
                group.observe(one, error, time.time())
            return event_of(group, calls=0, now=time.time())
        return await self._waited(poller, poller.service)

    async def _waited(self, poller: Poller, service: ServiceDescription) -> dict[str, Any]:
        subscription = Subscription(Group(spec=self.spec, service=service), self.log, poller)
        await poller.wait(subscription)
        return self._report(subscription)

    async def _service(self) -> ServiceDescription | None:
        name = str(self.spec.service)
        # A thread of its own may load the modules of other packages, which takes as long as they like.
        found = find(name) if name in SERVICES else await asyncio.to_thread(find, name)
        return found.service if found else None

    def _report(self, subscription: Subscription) -> dict[str, Any]:
        group, now = subscription.group, subscription.poller.clock()
        if group.is_list:
            self.log.info("%s after %.0f s", group.summary(), now - self.spec.started_at)
        return event_of(group, calls=subscription.calls, now=now)

    def _is_readable(self) -> bool:
        version = self.spec.version
        return type(version) is int and version <= SPEC_VERSION and not self._newer

    def _unreadable(self, *, has_service: bool) -> dict[str, Any]:
        distribution = self.spec.distribution
        text = (
            "This wait was written by a newer airflow-provider-docstatus than the triggerer has, or for a service "
            "or route it does not know: upgrade the triggerer."
        )
        if distribution not in (DISTRIBUTION, None):
            package = one_line(str(distribution))
            text = (
                f"{text[:-1]} and {package} on it."
                if has_service
                else f"The triggerer does not know the service of this wait: install {package} on the triggerer. If it is "
                "installed, the triggerer's log says why its service is left out."
            )
        return ending_event(
            Ending(
                outcome=OUTCOMES["unexpected"].word,
                service=str(self.spec.service),
                id=str(self.spec.id),
                text=text,
            )
        )


def _undescribed(name: str) -> ServiceDescription:
    """Return what is known of a service whose description could not be read: its name."""
    words = {state: (state.value,) for state in State}
    return ServiceDescription(name=name, title=name, host="", docs="", auth={}, routes={}, words=words)
