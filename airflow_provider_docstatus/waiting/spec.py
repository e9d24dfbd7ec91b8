"""The arguments of a wait, which cross Airflow's database with a deferral."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from airflow_provider_docstatus import DISTRIBUTION
from airflow_provider_docstatus.protocol.targets import Target

#: The version of the fields below; a triggerer that knows only older ones refuses the wait.
SPEC_VERSION = 1
#: The durations among the arguments of sensor and operator, each with its minimum in seconds.
LEAST_SECONDS: Mapping[str, float] = {
    "watch_on_worker": 0.0,
    "poke_interval": 0.0,
    "timeout": 0.0,
    "grace": 0.0,
    "stalled_after": 1.0,
    "review_timeout": 1.0,
}


@dataclass(kw_only=True, eq=False, slots=True)
class WaitSpec:
    """
    The arguments of one wait, for one id or for a list. They hold only ids, names and times: the database stores clear text.

    :param version: the version of these fields (int).
    :param conn_id: the connection (str).
    :param service: the name of the connection's service when the wait began (str).
    :param route: the service's route (str): ``request``, ``document``, ``job``, or the operation.
    :param id: the single id (str); empty for a list.
    :param ids: the ids of a list (list of str), None for a single id.
    :param needed: how many of them must end well (int).
    :param fail_fast: whether the first id that does not end well ends the wait (bool).
    :param accept: final states besides ``succeeded`` that count as well (list of str).
    :param prefix: the path prefix that the worker found (str), None for the connection's.
    :param parent: the id's parent (route and id), if the worker knows it; one poll of the parent reports on all its children.
    :param poke_interval: the user's seconds between two polls (float), None for the service's own timing.
    :param exponential_backoff: whether each pause is twice the one before (bool).
    :param max_wait: the longest pause in seconds (float) or None.
    :param known: for each id ``1`` if the worker got a status of it, else ``0`` (str); empty if it got none.
    :param asked_at: when the worker polled last (epoch seconds); the first poll in the triggerer is one interval later.
    :param started_at: this try's first start (epoch seconds); the grace for unknown ids counts from it.
    :param deadline: epoch seconds; it survives any number of restarts.
    :param grace: seconds in which an unknown id may still appear.
    :param shortest: seconds that pass at least before the event is sent: a scheduler may lose a task that comes back
        sooner (apache/airflow issues 66374, 71580, 72716).
    :param judges: whether the wait reads the result where only that says if the job has ended well (bool). A task that fetches
        the data afterwards does not, since some vendors delete what was read once. If true, the arguments leave it out as well.
    :param stall: ``after``, the seconds without a change after which the wait ends, and ``seen``, for each id the progress
        fingerprint that the worker saw and since when. None if the wait never stalls; the arguments then leave the field out. So
        a triggerer that does not know the field takes waits without it, and refuses waits with it instead of ignoring it.
    :param on_review: what becomes of an id that the vendor has flagged for a person (str): ``fail``, its end; ``wait``, it goes
        on until the vendor's own reviewer decides; ``ask``, its end, but a person may make it a good one. If it is ``fail``, the
        arguments leave it out, for the same reason as ``stall``.
    :param distribution: the distribution that brings the service (str); None if the connection describes the service. The
        arguments leave the default out, for the same reason.
    """

    version: int = SPEC_VERSION
    conn_id: str = ""
    service: str = ""
    route: str = ""
    id: str = ""
    ids: list[str] | None = None
    needed: int = 1
    fail_fast: bool = False
    accept: list[str] | None = None
    prefix: str | None = None
    parent: list[str] | None = None
    poke_interval: float | None = None
    exponential_backoff: bool = False
    max_wait: float | None = None
    known: str = ""
    asked_at: float = 0.0
    started_at: float = 0.0
    deadline: float = 0.0
    grace: float = 0.0
    shortest: float = 5.0
    judges: bool = True
    stall: dict[str, Any] | None = None
    on_review: str = "fail"
    distribution: str | None = DISTRIBUTION

    def to_kwargs(self) -> dict[str, Any]:
        """Return the fields as JSON primitives: the trigger's arguments."""
        kwargs = {name: getattr(self, name) for name in _FIELDS}
        if self.stall is None:
            del kwargs["stall"]
        if self.judges:
            del kwargs["judges"]
        if self.on_review == "fail":
            del kwargs["on_review"]
        if self.distribution == DISTRIBUTION:
            del kwargs["distribution"]
        return kwargs

    @classmethod
    def from_kwargs(cls, kwargs: Mapping[str, Any]) -> tuple[WaitSpec, dict[str, Any]]:
        """Return the fields of a trigger's arguments, and the arguments that this version does not know; never raise."""
        known = {name: value for name, value in kwargs.items() if name in _FIELDS}
        return cls(**known), {name: value for name, value in kwargs.items() if name not in known}

    @classmethod
    def of_task(cls, task: object, **computed: Any) -> WaitSpec:
        """Return the spec of a task: the computed fields, and for the others the task's arguments of the same names."""
        plain = {name: getattr(task, name) for name in _FIELDS if name not in computed and hasattr(task, name)}
        return cls(**plain, **computed)

    @property
    def all_ids(self) -> list[str]:
        """The ids that are waited for, also if it is one."""
        return [str(one) for one in ([self.id] if self.ids is None else self.ids)]

    @property
    def parent_target(self) -> Target | None:
        """The id's parent, if the worker knows it."""
        return Target(route=self.parent[0], id=self.parent[1]) if self.parent else None

    @property
    def stalled_after(self) -> float | None:
        """Seconds without a change after which the wait ends; None for never."""
        return self.stall["after"] if self.stall else None

    def seen(self, one: str) -> tuple[str, float] | None:
        """Return the progress fingerprint that the worker saw of an id, and since when (epoch seconds)."""
        fingerprint = (self.stall or {}).get("seen", {}).get(one)
        return (fingerprint[0], fingerprint[1]) if fingerprint else None


_FIELDS = tuple(field.name for field in fields(WaitSpec))
