"""The ways a wait can end, and what each means for the task: the source of the table in docs/ and of ``test_endings.py``.

This file holds literals only, so that ``tests/readme.py`` can read it although nothing else is installed.
"""

from __future__ import annotations

from typing import NamedTuple

SUCCESS, FAILED, RETRY, SKIPPED = "success", "failed", "up for retry", "skipped"
POKE, RESCHEDULE, DEFERRABLE = "poke", "reschedule", "deferrable"


class End(NamedTuple):
    """
    What one end means for the task, in each mode, for one id and for a list in which one id ends so.

    :param means: what happened, for the table in docs/; empty for a variant that the table leaves out.
    :param raises: the exception's class and its base of Airflow's; empty for success.
    :param state: the task's state.
    :param soft: the task's state under ``soft_fail`` and ``never_fail``; ``silent_fail`` changes nothing.
    :param xcom: ``state`` under the key ``docstatus``, for a job that was ``running`` at the first poll. In reschedule mode there
        is none if the last poll got no status, since Airflow clears the XCom before each poke.
    :param told: the word for the id in a list's manifest; empty if there is no manifest.
    :param modes: the modes in which a wait can end so.
    """

    means: str
    raises: tuple[str, ...]
    state: str
    soft: str
    xcom: str
    told: str
    modes: tuple[str, ...] = (POKE, RESCHEDULE, DEFERRABLE)


FOR_GOOD = "AirflowFailException"

ENDS: dict[str, End] = {
    "succeeded": End("the vendor has finished it", (), SUCCESS, SUCCESS, "succeeded", "succeeded"),
    "partial": End(
        "part of it failed; `accept=('partial',)` makes it a success",
        ("DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "partial",
        "partial",
    ),
    "partial, accepted": End("", (), SUCCESS, SUCCESS, "partial", "partial"),
    "review": End(
        "finished, but flagged for a human; `accept=('review',)` makes it a success, `on_review=` decides otherwise",
        ("DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "review",
        "review",
    ),
    "review, accepted": End("", (), SUCCESS, SUCCESS, "review", "review"),
    "review, accepted by on_review": End("", (), SUCCESS, SUCCESS, "review", "review"),
    "review, approved": End("", (), SUCCESS, SUCCESS, "review", "review"),
    "declined": End(
        "flagged for a human, and the person whom `on_review='ask'` asked rejected it",
        ("Declined", "DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "review",
        "declined",
    ),
    "review timed out": End(
        "flagged for a human, and nobody decided within `review_timeout`",
        ("ReviewTimedOut", "WaitTimedOut", "AirflowSensorTimeout"),
        FAILED,
        SKIPPED,
        "review",
        "review_timed_out",
    ),
    "failed": End("the vendor could not extract it", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "failed", "failed"),
    "failed, with all accepted": End("", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "failed", "failed"),
    "cancelled": End("somebody cancelled it", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "cancelled", "cancelled"),
    "cancelled, with all accepted": End("", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "cancelled", "cancelled"),
    "expired": End(
        "the vendor says so, or 410 twice in a row, or *not found* and the run is older than the retention (Unsiloed: 7 days)",
        ("Expired", "DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "expired",
        "expired",
    ),
    "expired, by a 410": End("", ("Expired", "DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "running", "expired"),
    "expired, by the run's age": End("", ("Expired", "DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "running", "expired"),
    "invalid": End(
        "its data breaks the schema of `require`, or is larger than `gate_max_bytes`",
        ("SchemaMismatch", "DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "succeeded",
        "invalid",
    ),
    "uncertain": End(
        "the vendor is less sure of its data than `min_confidence`, or does not say; `on_uncertain='accept'` lets it pass, and "
        "`on_uncertain='review'` makes it a *review*",
        ("Uncertain", "DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "succeeded",
        "uncertain",
    ),
    "uncertain, accepted": End("", (), SUCCESS, SUCCESS, "succeeded", "succeeded"),
    "uncertain, for a human": End("", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "review", "review"),
    "uncertain, review accepted": End("", (), SUCCESS, SUCCESS, "review", "review"),
    "good by every gate": End("", (), SUCCESS, SUCCESS, "succeeded", "succeeded"),
    "stalled": End(
        "no change of word, counters or time of last change for `stalled_after` (off by default)",
        ("Stalled", "DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "running",
        "stalled",
    ),
    "timed out": End(
        "`timeout` passed, whether the service was up or down; a job found finished by the last poll is a success, however late",
        ("WaitTimedOut", "AirflowSensorTimeout"),
        FAILED,
        SKIPPED,
        "running",
        "timed_out",
    ),
    "service down until the deadline": End("", ("WaitTimedOut", "AirflowSensorTimeout"), FAILED, SKIPPED, "running", "timed_out"),
    "not asked": End(
        "`timeout` passed, but the rate limit or a connection that cannot be read left no way to ask whether it was finished",
        ("NotAsked", "ServiceUnavailable"),
        RETRY,
        RETRY,
        "running",
        "not_asked",
    ),
    "finished, but found late": End("", (), SUCCESS, SUCCESS, "succeeded", "succeeded"),
    "execution_timeout": End(
        "it passed before `timeout`; in reschedule mode it is the limit of one poke, not of the wait",
        ("ExecutionTimedOut", "AirflowTaskTimeout"),
        RETRY,
        SKIPPED,
        "running",
        "timed_out",
        (POKE, DEFERRABLE),
    ),
    "not found": End(
        "404 twice in a row after `grace`; a minute of 404s if the id had a status: id, kind of id or operation is wrong",
        ("NotFound", "RequestRejected", FOR_GOOD),
        FAILED,
        FAILED,
        "running",
        "not_found",
    ),
    "rejected key": End(
        "401 or 403, twice in a row; a 403 ends only the id that it is about, until a second id of the task gets one",
        ("KeyRejected", "RequestRejected", FOR_GOOD),
        FAILED,
        FAILED,
        "running",
        "key_rejected",
    ),
    "quota": End(
        "the account is used up: 402 or a documented quota code, which ends the wait at once",
        ("QuotaExhausted", "RequestRejected", FOR_GOOD),
        FAILED,
        FAILED,
        "running",
        "quota",
    ),
    "refused": End(
        "any other refusal (4xx), believed when it is said twice in a row; an invalid id or connection, at once",
        ("RequestRejected", FOR_GOOD),
        FAILED,
        FAILED,
        "running",
        "rejected",
    ),
    "only garbage": End(
        "ten minutes of nothing but replies that are not the vendor's (HTML, a proxy's refusals, redirects, broken JSON)",
        ("UnexpectedReply",),
        RETRY,
        RETRY,
        "running",
        "unexpected",
        (POKE, DEFERRABLE),
    ),
    "unknown word": End(
        "ten minutes of a status word that this package does not know; the connection's `status_words` can add it",
        ("UnexpectedReply",),
        RETRY,
        RETRY,
        "running",
        "unexpected",
        (POKE, DEFERRABLE),
    ),
    "only garbage, nothing remembered": End(
        "", ("WaitTimedOut", "AirflowSensorTimeout"), FAILED, SKIPPED, "running", "timed_out", (RESCHEDULE,)
    ),
    "unknown event": End(
        "the triggerer has another version of this package", ("UnexpectedReply",), RETRY, RETRY, "running", "", (DEFERRABLE,)
    ),
    "trigger crash": End(
        "the trigger crashed, and a last poll finds the job still running (a job found finished ends as such)",
        ("TaskDeferralError",),
        RETRY,
        RETRY,
        "running",
        "",
        (DEFERRABLE,),
    ),
    "trigger crash, finished meanwhile": End("", (), SUCCESS, SUCCESS, "succeeded", "succeeded", (DEFERRABLE,)),
    "no triggerer": End(
        "no triggerer ran until five minutes after `timeout`, and a last poll finds the job still running",
        ("WaitTimedOut", "AirflowSensorTimeout"),
        FAILED,
        SKIPPED,
        "running",
        "timed_out",
        (DEFERRABLE,),
    ),
    "no triggerer, finished meanwhile": End("", (), SUCCESS, SUCCESS, "succeeded", "succeeded", (DEFERRABLE,)),
}


class Mixed(NamedTuple):
    """
    How a list ends whose ids end in different ways.

    :param ends: the ends of its ids, by the names above.
    :param raises: see above.
    :param state: see above.
    :param soft: see above.
    :param counts: how many ids have each word in the manifest.
    :param asks: more arguments of the task.
    """

    ends: tuple[str, ...]
    raises: tuple[str, ...]
    state: str
    soft: str
    counts: dict[str, int]
    asks: dict[str, object] = {}  # noqa: RUF012 -- a literal nobody changes


MIXED: dict[str, Mixed] = {
    "a failure beside an unknown id": Mixed(
        ("failed", "not found", "succeeded"),
        ("DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        {"failed": 1, "not_found": 1, "succeeded": 1},
    ),
    "all the ways a document can end": Mixed(
        ("partial", "review", "failed", "cancelled", "expired", "succeeded"),
        ("DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        {"partial": 1, "review": 1, "failed": 1, "cancelled": 1, "expired": 1, "succeeded": 1},
    ),
    "enough are accepted": Mixed(
        ("partial", "review", "failed", "succeeded"),
        (),
        SUCCESS,
        SUCCESS,
        {"partial": 1, "review": 1, "failed": 1, "succeeded": 1},
        {"accept": ("partial", "review"), "wait_for": 3},
    ),
    "a failure beside one that never ends": Mixed(
        ("failed", "timed out", "succeeded"),
        ("DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        {"failed": 1, "timed_out": 1, "succeeded": 1},
    ),
    "enough would do, but time is up": Mixed(
        ("succeeded", "failed", "timed out"),
        ("WaitTimedOut", "AirflowSensorTimeout"),
        FAILED,
        SKIPPED,
        {"failed": 1, "timed_out": 1, "succeeded": 1},
        {"wait_for": 2},
    ),
    "one stalls, one fails": Mixed(
        ("stalled", "failed"), ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, {"stalled": 1, "failed": 1}
    ),
    "an unknown id beside good ones": Mixed(
        ("not found", "succeeded", "succeeded"),
        ("NotFound", FOR_GOOD),
        FAILED,
        FAILED,
        {"not_found": 1, "succeeded": 2},
    ),
}

#: The ends for which a person is asked: on Airflow 3.1 and later.
ASKED = ("review, approved", "declined", "review timed out")

#: What still differs between Airflow's versions, since Airflow itself decides it before this package is called.
DIFFERENCES: tuple[str, ...] = (
    "2.11 and 3.0 cannot ask a person; they refuse `on_review='ask'` when the DAG is read.",
    "2.11 itself fails a task that it resumes after `execution_timeout`, even under `soft_fail` or if the job finished in time.",
    "3.0 to 3.2.1 give a resumed task a new start: the message after a last poll counts the seconds from there.",
)
