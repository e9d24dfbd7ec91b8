"""The waits of one task, one for each id, and whether all of them together are over."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from airflow_provider_docstatus.exceptions import DocStatusError, RequestRejected
from airflow_provider_docstatus.protocol.description import ServiceDescription
from airflow_provider_docstatus.status import DocumentStatus, State
from airflow_provider_docstatus.waiting.outcomes import KEY_REJECTED
from airflow_provider_docstatus.waiting.spec import WaitSpec
from airflow_provider_docstatus.waiting.wait import Ending, PollAgain, Wait

#: The most ids that one task may wait for; a longer list must be cut into several tasks.
MOST_IDS = 1000


def checked_ids(parameter: str, ids: Sequence[object]) -> list[object]:
    """
    Return a list of ids without repetitions.

    :raises RequestRejected: there are more than a thousand; the DAG's author must cut the list into chunks.
    """
    unique = list({str(one): one for one in ids}.values())
    if len(unique) > MOST_IDS:
        raise RequestRejected(
            f"{parameter} has {len(unique):,} ids; one task waits for at most {MOST_IDS:,}. Cut the list into chunks and map: "
            f".expand({parameter}=chunks), where an upstream task returns "
            f"[ids[i : i + {MOST_IDS}] for i in range(0, len(ids), {MOST_IDS})]."
        )
    return unique


def needed_of(wait_for: float | str, total: int) -> int:
    """
    Return how many ids must end well.

    :param wait_for: ``all``, ``any``, a whole number of ids, or a share between 0 and 1.
    :raises ValueError: ``wait_for`` is none of these; the DAG's author must change it.
    """
    if wait_for == "all":
        return total
    if wait_for == "any":
        return min(1, total)
    if isinstance(wait_for, bool) or not isinstance(wait_for, (int, float)):
        wait_for = 0
    if isinstance(wait_for, int) and wait_for >= 1:
        return min(wait_for, total)
    if isinstance(wait_for, float) and 0 < wait_for < 1:
        return math.ceil(round(wait_for * total, 6))  # 0.55 of 100 is 55.00000000000001
    raise ValueError("wait_for must be 'all', 'any', a whole number of ids from 1, or a share between 0 and 1 (float)")


@dataclass(kw_only=True, eq=False, slots=True)
class Group:
    """
    The waits of one task.

    :param spec: the arguments of the wait.
    :param service: the service's description.
    :param keeps_state: see :class:`~.wait.Wait`.
    """

    spec: WaitSpec
    service: ServiceDescription
    keeps_state: bool = True
    waits: dict[str, Wait] = field(init=False)
    endings: dict[str, Ending] = field(default_factory=dict)
    good: int = 0
    #: How many have ended in review, and are to be decided about by a person.
    undecided: int = 0
    #: The ending that ends the whole wait: the first that concerns the account, or the second that a 403 caused.
    fatal: Ending | None = None

    def __post_init__(self) -> None:
        """Begin a wait for each id."""
        spec, ids = self.spec, self.spec.all_ids
        self.waits = {
            one: Wait(spec=spec, service=self.service, id=one, keeps_state=self.keeps_state, is_known=is_known == "1")
            for one, is_known in zip(ids, spec.known.ljust(len(ids), "0"), strict=False)
        }

    def follow(self, service: ServiceDescription) -> None:
        """Go by another description of the service from now on."""
        self.service = service
        for wait in self.waits.values():
            wait.service = service

    @property
    def is_list(self) -> bool:
        """Whether the task named a list, even of one."""
        return self.spec.ids is not None

    @property
    def first(self) -> Wait:
        """The wait for the first id; for a single id, the only wait."""
        return next(iter(self.waits.values()))

    def observe(self, id: str, observation: DocumentStatus | DocStatusError, now: float) -> Ending | PollAgain | None:  # noqa: A002
        """Process the status of one id, or the error in its place; see :meth:`.Wait.observe`."""
        verdict = self.waits[id].observe(observation, now)
        if isinstance(verdict, Ending):
            self._note(verdict)
        return verdict

    @property
    def is_over(self) -> bool:
        """
        Whether every id has ended, or the open ones cannot change the outcome.

        If all ids are needed, a failed one does not end the wait (unless ``fail_fast``), so that the report names every ending.
        An id about which a person will be asked is neither good nor bad.
        """
        total, ended = len(self.waits), len(self.endings)
        bad = ended - self.good - self.undecided
        if ended == total or self.fatal is not None or (bad and self.spec.fail_fast):
            return True
        return self.spec.needed < total and (self.good >= self.spec.needed or total - bad < self.spec.needed)

    def open_ids(self) -> list[str]:
        """Return the ids that have not ended, in order."""
        return [one for one in self.waits if one not in self.endings]

    @property
    def known(self) -> str:
        """For each id ``1`` if the service has told a status of it, else ``0``; empty if of none."""
        known = "".join("1" if wait.is_known else "0" for wait in self.waits.values())
        return known if "1" in known else ""

    def time_out(self, now: float, why_not_asked: Callable[[str], str | None] = lambda _id: None) -> None:
        """
        End every id that is still open.

        :param why_not_asked: given an id, tells why it could not be asked about at the deadline, None if it could be.
        """
        for one in self.open_ids():
            self._note(self.waits[one].time_out(now, why_not_asked(one)))

    def is_good(self, ending: Ending) -> bool:
        """Whether an ending counts towards the ids that must end well."""
        return ending.outcome == State.SUCCEEDED.value or ending.outcome in (self.spec.accept or ())

    def _is_undecided(self, ending: Ending) -> bool:
        return self.spec.on_review == "ask" and ending.outcome == State.REVIEW.value and not self.is_good(ending)

    def summary(self) -> str:
        """Return how many ids have ended, and how, in one line."""
        counts = Counter(ending.outcome for ending in self.endings.values())
        shown = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
        return f"{len(self.endings)} of {len(self.waits)} ended" + (f" ({shown})" if shown else "")

    def _note(self, ending: Ending) -> None:
        if ending.id not in self.endings:
            self.endings[ending.id] = ending
            self.good += self.is_good(ending)
            self.undecided += self._is_undecided(ending)
            rejected = sum(one.outcome == KEY_REJECTED for one in self.endings.values()) if ending.outcome == KEY_REJECTED else 0
            if self.fatal is None and (ending.concerns_account or rejected > 1):
                self.fatal = ending
