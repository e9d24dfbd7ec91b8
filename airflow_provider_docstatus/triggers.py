"""The trigger: one task's wait in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_docstatus import DISTRIBUTION
from airflow_provider_docstatus._compat import BaseTrigger, TriggerEvent
from airflow_provider_docstatus.poller import Subscription, poller_for
from airflow_provider_docstatus.protocol.values import one_line
from airflow_provider_docstatus.registry import find
from airflow_provider_docstatus.services import SERVICES, ServiceDescription
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
        service = await self._service()
        if service is not None and self._is_readable(service):
            subscription = Subscription(Group(spec=self.spec, service=service), self.log, poller_for(self.spec.conn_id, service))
            await subscription.poller.wait(subscription)
            event = self._report(subscription)
        else:
            event = self._unreadable(has_service=service is not None)
        await asyncio.sleep(max(0.0, self.spec.shortest - (time.monotonic() - began)))
        yield TriggerEvent(event)

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

    def _is_readable(self, service: ServiceDescription) -> bool:
        version, is_known = self.spec.version, str(self.spec.route) in service.routes
        return type(version) is int and version <= SPEC_VERSION and not self._newer and is_known

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
