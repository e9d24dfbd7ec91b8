"""The rate limiter: how many requests one key may send, and when. It holds every rule about the pause after a 429."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from airflow_provider_docstatus.protocol.responses import RateLimitSignal
from airflow_provider_docstatus.protocol.values import clock_time

#: The part of a limit that may be used at once. The rest comes evenly, so that no rolling window has more than the limit.
BURST = 0.1
SECOND, MINUTE, DAY = 1.0, 60.0, 86_400.0
DAY_BURST = 0.5
#: A 429 halves the rate, but never to less than this part of the limit.
LEAST_RATE = 1 / 32
#: Seconds in which the rate would grow back from nothing to the whole limit; a halved rate takes half of them.
GROW_BACK = 300.0
#: Seconds of the first pause after a 429 that names no time; each further 429 in a row doubles the pause.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 120.0
#: The longest pause in seconds that the service can ask for. If it asks for more, single requests then probe whether it is over.
LONGEST_HINTED_PAUSE = 600.0
#: Seconds until the next probe if one has no response.
PROBE_EVERY = 60.0
#: The tolerance for "one token", since tokens are sums of floats.
ALMOST = 1e-9


@dataclass(kw_only=True)
class _Bucket:
    """
    Tokens that come at a rate (per second) and are kept up to a burst; each request takes one.

    :param window: the seconds that its limit is about.
    """

    rate: float
    burst: float
    tokens: float
    at: float
    window: float

    @classmethod
    def of(cls, limit: float, window: float, burst: float, now: float) -> _Bucket:
        """Return a bucket that lets no rolling window have more than the limit: ``burst + rate x window <= limit``."""
        if limit < 1 / BURST:  # no room for a burst: evenly spaced requests alone keep the limit
            return cls(rate=(math.floor(limit) or limit) / window, burst=1.0, tokens=1.0, at=now, window=window)
        return cls(rate=(limit - burst) / window, burst=burst, tokens=burst, at=now, window=window)

    @property
    def is_paced(self) -> bool:
        """Whether a 429 slows it down. The bucket of a day is not slowed: a 429 is about the last minute."""
        return self.window <= MINUTE

    def in_a_minute(self, pace: float) -> float:
        """Return how many requests the next minute allows. The burst of a shorter window comes once, so it does not count."""
        return self.rate * MINUTE * pace + (0.0 if self.is_paced else self.tokens)

    def fill(self, now: float, pace: float) -> None:
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate * pace)
        self.at = now

    def ready_at(self, now: float, pace: float) -> float:
        return now if self.tokens >= 1 - ALMOST else now + (1 - self.tokens) / (self.rate * pace)


@dataclass(kw_only=True)
class RateLimiter:
    """
    The rate limit of one key at one host, as far as this process may use it.

    :param per_second: the vendor's limit in any second; None if it has none.
    :param per_minute: the vendor's limit in any 60 s; None if it has none.
    :param per_day: the vendor's limit in any 24 h, None if it has none; best effort, since other processes count too.
    :param share: the part of each that is used here (0 to 1); the rest is for workers and other clients.
    :param now: epoch seconds (float).
    """

    per_minute: float | None
    per_day: float | None = None
    per_second: float | None = None
    share: float = 1.0
    now: float = 0.0
    paused_until: float = 0.0
    throttles: int = 0
    #: When the pause is over that the service asked for (epoch seconds), if that is beyond ``paused_until``.
    _asked_until: float = 0.0
    _is_probing: bool = False
    _pace: float = 1.0
    _pace_at: float = 0.0
    _seen_at: float = 0.0
    _buckets: list[_Bucket] = field(init=False)

    def __post_init__(self) -> None:
        """Start with full buckets."""
        self._buckets = self._full(self.now)

    def change(
        self, *, per_minute: float | None, per_day: float | None, per_second: float | None = None, share: float, now: float
    ) -> None:
        """Change the limits. Requests that were sent already still count, for as long as the window is, and a pause goes on."""
        self._fill(now)
        spent = {bucket.window: bucket.burst - bucket.tokens for bucket in self._buckets}
        self.per_minute, self.per_day, self.per_second, self.share = per_minute, per_day, per_second, share
        self._buckets = self._full(now)
        for bucket in self._buckets:
            limit = bucket.burst + bucket.rate * bucket.window
            bucket.tokens -= min(spent.get(bucket.window, 0.0), limit)

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit at all."""
        return bool(self._buckets)

    def _full(self, now: float) -> list[_Bucket]:
        limits = ((self.per_second, SECOND, BURST), (self.per_minute, MINUTE, BURST), (self.per_day, DAY, DAY_BURST))
        return [
            _Bucket.of(limit * self.share, window, limit * self.share * burst, now)
            for limit, window, burst in limits
            if limit is not None
        ]

    def opens_at(self, now: float) -> float:
        """Return when the next request may be sent (epoch seconds); ``now`` if at once."""
        self._fill(now)
        return max([now, self.paused_until, *(bucket.ready_at(now, pace) for bucket, pace in self._paced(now))])

    def spend(self, now: float) -> None:
        """Count a request that is sent now."""
        self._fill(now)
        for bucket in self._buckets:
            bucket.tokens -= 1
        if self.paused_until <= now < self._asked_until:
            self._is_probing, self.paused_until = True, now + PROBE_EVERY

    def update(self, signal: RateLimitSignal, now: float) -> bool:
        """
        Follow what a response says about the rate limit.

        :return: whether the response began a pause.
        """
        if signal.is_throttled:
            return self.throttled(now, signal.retry_after)
        self.ok(now)
        if signal.resumes_at is not None:
            self.exhausted(signal.resumes_at, now)
        return False

    def throttled(self, now: float, retry_after: float | None) -> bool:
        """
        Pause all requests because the service refused one (429, 503), then go on at half the rate.

        :param retry_after: seconds of the pause, as the service says. None, and 0 (a date in the past), mean that it names none.
        :return: whether this began a pause. Requests that were under way are refused as well; together they count once.
        """
        self._fill(now)
        is_new = now >= self.paused_until or self._is_probing
        self._is_probing = False
        if is_new:
            self.throttles += 1
            self._pace, self._pace_at = max(LEAST_RATE, self.pace(now) / 2), now
            for bucket in self._buckets:
                bucket.tokens = min(bucket.tokens, 1.0) if bucket.is_paced else bucket.tokens
        pause = retry_after or min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.throttles - 1, 10))
        self.paused_until = max(self.paused_until, now + min(pause, LONGEST_HINTED_PAUSE))
        self._asked_until = max(self._asked_until, now + pause)
        return is_new

    def exhausted(self, until: float, now: float) -> None:
        """Pause until a time (epoch seconds) because the headers say that no requests are left; the rate stays."""
        self.paused_until = max(self.paused_until, min(until, now + LONGEST_HINTED_PAUSE))
        self._asked_until = max(self._asked_until, until)

    def ok(self, now: float) -> None:
        """Note a response that was not throttled; that of a probe ends the pause."""
        if self._is_probing:
            self._is_probing, self.paused_until, self._asked_until = False, now, now
        if now >= self.paused_until:
            self.throttles = 0

    def pace(self, now: float) -> float:
        """Return the part of the rate in use: 1, or less for a while after a 429."""
        return min(1.0, self._pace + max(0.0, now - max(self._pace_at, self.paused_until)) / GROW_BACK)

    def per_minute_now(self, now: float) -> float | None:
        """Return how many requests a minute are possible now; None if there is no limit."""
        self._fill(now)
        return min((bucket.in_a_minute(pace) for bucket, pace in self._paced(now)), default=None)

    def describe(self, now: float) -> str:
        """Return the rate in use and what holds requests up, in a few words for the log."""
        pace = self.per_minute_now(now)
        text = "no limit" if pace is None else f"{pace:.0f} calls a minute"
        if self.per_second is not None:
            text += f", at most {self.per_second * self.share:g} in a second"
        if self.paused_until > now:
            return f"{text}, paused until {clock_time(self.paused_until)}"
        if any(bucket.tokens < 1 and not bucket.is_paced for bucket in self._buckets):
            return f"{text}, since this process has used its share of {self.per_day:,.0f} calls a day"
        return text

    def _paced(self, now: float) -> list[tuple[_Bucket, float]]:
        pace = self.pace(now)
        return [(bucket, pace if bucket.is_paced else 1.0) for bucket in self._buckets]

    def _fill(self, now: float) -> None:
        if now < self._seen_at:  # the machine's clock was set back
            self.paused_until -= self._seen_at - now
            self._asked_until -= self._seen_at - now
            self._pace_at -= self._seen_at - now
        self._seen_at = now
        for bucket, pace in self._paced(now):
            bucket.fill(now, pace)
