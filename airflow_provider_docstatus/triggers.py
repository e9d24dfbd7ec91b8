"""The trigger: one task's wait in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow_provider_docstatus._compat import BaseTrigger, TriggerEvent
from airflow_provider_docstatus.poller import Subscription, poller_for
from airflow_provider_docstatus.services import SERVICES
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
        if self._is_readable():
            subscription = self._subscription()
            await subscription.poller.wait(subscription)
            event = self._report(subscription)
        else:
            event = self._unreadable()
        await asyncio.sleep(max(0.0, self.spec.shortest - (time.monotonic() - began)))
        yield TriggerEvent(event)

    def _subscription(self) -> Subscription:
        service = SERVICES[self.spec.service]
        return Subscription(Group(spec=self.spec, service=service), self.log, poller_for(self.spec.conn_id, service))

    def _report(self, subscription: Subscription) -> dict[str, Any]:
        group, now = subscription.group, subscription.poller.clock()
        if group.is_list:
            self.log.info("%s after %.0f s", group.summary(), now - self.spec.started_at)
        return event_of(group, calls=subscription.calls, now=now)

    def _is_readable(self) -> bool:
        version, service = self.spec.version, SERVICES.get(str(self.spec.service))
        is_known = service is not None and str(self.spec.route) in service.routes
        return type(version) is int and version <= SPEC_VERSION and not self._newer and is_known

    def _unreadable(self) -> dict[str, Any]:
        return ending_event(
            Ending(
                outcome=OUTCOMES["unexpected"].word,
                service=str(self.spec.service),
                id=str(self.spec.id),
                text="This wait was written by a newer airflow-provider-docstatus than the triggerer has, or for a service "
                "or route it does not know: upgrade the triggerer.",
            )
        )
