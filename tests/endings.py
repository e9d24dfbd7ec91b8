"""How a wait can end, and what each end means for the task: the README's table and ``test_endings.py`` are made of this.

Literals only: ``tests/readme.py`` reads this file without anything else being installed.
"""

from __future__ import annotations

from typing import NamedTuple

SUCCESS, FAILED, RETRY, SKIPPED = "success", "failed", "up for retry", "skipped"
POKE, RESCHEDULE, DEFERRABLE = "poke", "reschedule", "deferrable"


class End(NamedTuple):
    """
    What an end is for the task, whichever way it waits, for one id as for a list in which one id ends so.

    :param means: what happened, for the README; empty for a variant that it need not tell.
    :param raises: the exception's class and its base of Airflow's; empty for success.
    :param state: the task's state.
    :param soft: the task's state under ``soft_fail`` and ``never_fail``; ``silent_fail`` changes nothing.
    :param xcom: ``state`` under the key ``docstatus``, for a job that was ``running`` when it was first asked for; in reschedule
        mode there is none where the last look gave no status, since Airflow clears it before each look.
    :param told: the word for the id in a list's manifest; empty where there is no manifest.
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
        "finished, but flagged for a human; `accept=('review',)` makes it a success",
        ("DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "review",
        "review",
    ),
    "review, accepted": End("", (), SUCCESS, SUCCESS, "review", "review"),
    "failed": End("the vendor could not extract it", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "failed", "failed"),
    "failed, with all accepted": End("", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "failed", "failed"),
    "cancelled": End("somebody cancelled it", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "cancelled", "cancelled"),
    "cancelled, with all accepted": End("", ("DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "cancelled", "cancelled"),
    "expired": End(
        "the vendor says so, answers 410, or answers 404 and the run is older than its documented retention (Unsiloed: 7 days)",
        ("Expired", "DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "expired",
        "expired",
    ),
    "expired, by a 410": End("", ("Expired", "DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "running", "expired"),
    "expired, by the run's age": End("", ("Expired", "DocumentFailed", FOR_GOOD), FAILED, SKIPPED, "running", "expired"),
    "stalled": End(
        "no change of word, counters or time of change for `stalled_after` (off by default)",
        ("Stalled", "DocumentFailed", FOR_GOOD),
        FAILED,
        SKIPPED,
        "running",
        "stalled",
    ),
    "timed out": End(
        "`timeout` passed, the service being up or down; a job found finished is a success however late",
        ("WaitTimedOut", "AirflowSensorTimeout"),
        FAILED,
        SKIPPED,
        "running",
        "timed_out",
    ),
    "service down until the deadline": End("", ("WaitTimedOut", "AirflowSensorTimeout"), FAILED, SKIPPED, "running", "timed_out"),
    "finished, but found late": End("", (), SUCCESS, SUCCESS, "succeeded", "succeeded"),
    "execution_timeout": End(
        "it passed before `timeout`; in reschedule mode Airflow means one look",
        ("ExecutionTimedOut", "AirflowTaskTimeout"),
        RETRY,
        SKIPPED,
        "running",
        "timed_out",
        (POKE, DEFERRABLE),
    ),
    "not found": End(
        "404 twice in a row, after the `grace` or of an id that was known: the id, its kind or the operation is wrong",
        ("NotFound", "RequestRejected", FOR_GOOD),
        FAILED,
        FAILED,
        "running",
        "not_found",
    ),
    "rejected key": End(
        "401 or 403, twice in a row", ("KeyRejected", "RequestRejected", FOR_GOOD), FAILED, FAILED, "running", "key_rejected"
    ),
    "quota": End("the account is used up", ("QuotaExhausted", "RequestRejected", FOR_GOOD), FAILED, FAILED, "running", "quota"),
    "refused": End("another 4xx, a bad id or connection", ("RequestRejected", FOR_GOOD), FAILED, FAILED, "running", "rejected"),
    "only garbage": End(
        "ten minutes of HTML, redirects or broken JSON: a proxy, or this package",
        ("UnexpectedReply",),
        RETRY,
        RETRY,
        "running",
        "unexpected",
        (POKE, DEFERRABLE),
    ),
    "unknown word": End(
        "ten minutes of a status word nobody has taught: `status_words` teaches it",
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
        "and a last look finds it still running (finished: it ends so)",
        ("TaskDeferralError",),
        RETRY,
        RETRY,
        "running",
        "",
        (DEFERRABLE,),
    ),
    "trigger crash, finished meanwhile": End("", (), SUCCESS, SUCCESS, "succeeded", "succeeded", (DEFERRABLE,)),
    "no triggerer": End(
        "until five minutes after `timeout`, and a last look finds it still running",
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
    What a list of ids is whose ids end in several ways.

    :param ends: the ends of its ids, by the names above.
    :param raises: see above.
    :param state: see above.
    :param soft: see above.
    :param counts: the ids by their words in the manifest.
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

#: What is still different between Airflow's lines, since their cores decide it before this package is asked.
DIFFERENCES: tuple[str, ...] = (
    "2.11 itself fails a task that it resumes after `execution_timeout`, under `soft_fail` or with the job finished in time too.",
    "3.0 to 3.2.1 give a resumed task a new start: the message of a last look counts from that.",
)
