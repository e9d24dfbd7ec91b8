"""
This package's errors joined with Airflow's, so that Airflow retries only what a retry can mend.

Tasks raise the joined classes. Catch their bases in :mod:`~airflow_provider_docstatus.exceptions` instead. Each joined class is
an attribute of this module, since pickle finds it by its name here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_docstatus import exceptions
from airflow_provider_docstatus._compat import AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout
from airflow_provider_docstatus.exceptions import DocStatusError
from airflow_provider_docstatus.waiting.outcomes import OUTCOMES

#: Errors of fetching data, not of waiting, that a retry does not mend. Data that is missing may come later.
_ABOUT_DATA = (
    exceptions.DataRefused,
    exceptions.NoSuchRoute,
    exceptions.NotFinished,
    exceptions.ReplyTooLarge,
    exceptions.ResultNotStorable,
    exceptions.ResultTooLarge,
)
_BASES: dict[type[DocStatusError], type[BaseException]] = {
    **{row.error: AirflowFailException for row in OUTCOMES.values() if row.error and not row.retried},
    **dict.fromkeys(_ABOUT_DATA, AirflowFailException),
    exceptions.WaitTimedOut: AirflowSensorTimeout,
    exceptions.ReviewTimedOut: AirflowSensorTimeout,
    exceptions.ExecutionTimedOut: AirflowTaskTimeout,
}
#: The errors that ``soft_fail`` turns into a skip. A rejected key is not among them, since somebody must see it.
SKIPPABLE: tuple[type[DocStatusError], ...] = (
    *{row.error for row in OUTCOMES.values() if row.error and row.skippable},
    exceptions.ExecutionTimedOut,
)


def _join(error: type[DocStatusError], base: type[BaseException]) -> type[DocStatusError]:
    return type(error.__name__, (error, base), {"__doc__": error.__doc__, "__module__": __name__})


_JOINED = {error: _join(error, base) for error, base in _BASES.items()}
globals().update({joined.__name__: joined for joined in _JOINED.values()})


def for_airflow(error: DocStatusError) -> DocStatusError:
    """Return the error as its joined class; the error itself if it has none, so that Airflow may retry it."""
    joined = _JOINED.get(type(error))
    if joined is None:
        return error
    raised = joined(str(error))
    raised.__dict__.update(error.__dict__)
    return raised


@contextmanager
def errors_for_airflow() -> Iterator[None]:
    """Raise this package's errors as their joined classes."""
    try:
        yield
    except DocStatusError as error:
        joined = for_airflow(error)
        if joined is error:
            raise
        raise joined.with_traceback(error.__traceback__) from None  # one error in the log, not two with the same text
