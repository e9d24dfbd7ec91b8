"""How often one wait polls."""

from __future__ import annotations

from dataclasses import dataclass

#: Without a ``poke_interval`` the pause grows to this part of the wait's age, so a long job is noticed later by that part.
SLOWDOWN = 0.1
#: The part of a pause by which jitter shortens it at most, so that waits that start together drift apart.
JITTER = 0.1


@dataclass(frozen=True, kw_only=True)
class PollInterval:
    """
    How often one wait polls.

    :param base: the service's own interval (seconds), used without an interval of the user's.
    :param interval: the user's ``poke_interval`` (seconds) or None.
    :param backoff: the user's ``exponential_backoff``: each pause is twice the one before.
    :param longest: the user's ``max_wait`` (seconds) or None; it bounds what grows, not a constant ``interval``.
    """

    base: float
    interval: float | None = None
    backoff: bool = False
    longest: float | None = None

    def pause(self, *, age: float, polls: int, jitter: float) -> float:
        """
        Return the seconds until the next poll.

        :param age: seconds since the start.
        :param polls: how many polls there were already.
        :param jitter: a random number from 0 to 1.
        """
        if self.interval is None:
            pause = max(self.base, SLOWDOWN * age)
        elif self.backoff:
            pause = self.interval * 2.0 ** min(max(polls - 1, 0), 30)
        else:
            pause = self.interval
        if self.longest is not None and (self.backoff or self.interval is None):
            pause = min(pause, self.longest)
        return pause * (1 - JITTER * jitter)

    def next_at(self, *, now: float, started_at: float, deadline: float, polls: int, jitter: float) -> float:
        """Return when to poll next (epoch seconds). A poll that would come after the deadline is moved onto the deadline."""
        due = now + self.pause(age=max(0.0, now - started_at), polls=polls, jitter=jitter)
        return due if now >= deadline else min(due, deadline)
