"""When to ask again. Pure: the clock and the dice are handed in; no asyncio, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

#: Without an interval of the user's, a job that already took long may be found out later by this part of that time.
PATIENCE = 0.1
#: Pauses are up to so much shorter, so that waits that start together drift apart.
JITTER = 0.1
#: Seconds after which the last question, which falls on the deadline, is asked again if it met a fault.
AGAIN = 2.0


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """
    How often one wait asks.

    :param base: the service's own interval (seconds), used without an interval of the user's.
    :param interval: the user's ``poke_interval`` (seconds) or None.
    :param backoff: the user's ``exponential_backoff``: each pause is twice the one before.
    :param longest: the user's ``max_wait`` (seconds) or None; it bounds what grows, not a constant ``interval``.
    """

    base: float
    interval: float | None = None
    backoff: bool = False
    longest: float | None = None

    def pause(self, *, age: float, turn: int, dice: float) -> float:
        """
        Return the seconds until the next question.

        :param age: seconds since the start.
        :param turn: how many questions were asked already.
        :param dice: 0 to 1.
        """
        if self.interval is None:
            pause = max(self.base, PATIENCE * age)
        elif self.backoff:
            pause = self.interval * 2.0 ** min(max(turn - 1, 0), 30)
        else:
            pause = self.interval
        if self.longest is not None and (self.backoff or self.interval is None):
            pause = min(pause, self.longest)
        return pause * (1 - JITTER * dice)

    def next_at(self, *, now: float, started_at: float, deadline: float, turn: int, dice: float) -> float:
        """Return when to ask next (epoch seconds): the last question falls on the deadline, and soon after if it met a fault."""
        due = now + self.pause(age=max(0.0, now - started_at), turn=turn, dice=dice)
        if now >= deadline:
            return min(due, now + AGAIN)
        return min(due, deadline)
