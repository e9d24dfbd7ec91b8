"""What the errors of a fetch mean: whether they concern all ids, whether they may pass, and how they are told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NoReturn

from airflow_provider_docstatus.exceptions import (
    DataRefused,
    DocStatusError,
    KeyRejected,
    NoData,
    NotFinished,
    NotFound,
    OutputFailed,
    QuotaExhausted,
    ReplyTooLarge,
    RequestRejected,
    ResultNotStorable,
    SchemaMismatch,
    ServiceUnavailable,
    Uncertain,
    UnexpectedReply,
)
from airflow_provider_docstatus.protocol.values import named, one_line

#: Reasons that an error tells of several ids, and ids that it names at most.
_SHOWN, _MOST_NAMED = 3, 20


def concerns_all(error: DocStatusError) -> bool:
    """Whether an error is about the account, the connection or the arguments. A 403 may be about one id only."""
    if isinstance(error, KeyRejected):
        return not error.may_be_about_id
    about_one = (NotFinished, ResultNotStorable)
    is_unsent = isinstance(error, RequestRejected) and error.code is None and not isinstance(error, about_one)
    return is_unsent or isinstance(error, (QuotaExhausted, OutputFailed))


def may_pass(error: DocStatusError) -> bool:
    """Whether a later request may get the data. A 404 for the data of a finished id may pass, a 410 does not."""
    if isinstance(error, NotFound):
        return not error.is_gone
    is_final = isinstance(error, (ReplyTooLarge, DataRefused))
    return isinstance(error, (ServiceUnavailable, UnexpectedReply, NoData)) and not is_final


def raise_without_data(
    errors: Mapping[str, object], refused: Collection[DocStatusError], names: Mapping[str, str], *, service: str
) -> NoReturn:
    """
    Raise the error of ids of which none has data: that of an only id, else one that a retry may mend, else one about all.

    :param errors: why there is none, by id.
    :param refused: those of them that are errors.
    :param names: the names of the documents' files by id, where they are known.
    """
    for error in refused:
        is_only = len(errors) == len(refused) == 1 and not isinstance(error, NoData)  # that is the vendor's bare text
        if may_pass(error):  # it was skipped, and then there is nothing that it was skipped for
            error.args = (f"{error} A retry asks again.",)
        if is_only or may_pass(error):
            raise error
    kinds = {type(error) for error in refused}
    is_judged = len(refused) == len(errors) and len(kinds) == 1 and kinds <= {SchemaMismatch, Uncertain}
    what, kind = ("data that passes", kinds.pop()) if is_judged else ("any data", DataRefused)
    raise kind(f"None of the {len(errors)} ids has {what} ({reasons_of(errors, names)}).", service=service)


def reasons_of(errors: Mapping[str, object], names: Mapping[str, str]) -> str:
    """
    Return the reasons by id as a text; the first of them in full, and only the ids of the others.

    :param names: the names of the documents' files by id, where they are known.
    """
    ids = [one_line(one) or "" for one in errors]
    first = zip(ids[:_SHOWN], errors.items(), strict=False)
    shown = "; ".join(f"{named(one, names.get(key))}: {str(error).rstrip('.')}" for one, (key, error) in first)
    others = ids[_SHOWN:_MOST_NAMED]
    more = len(errors) - _SHOWN - len(others)
    likewise = f"; likewise {', '.join(others)}" if others else ""
    return shown + likewise + (f" and {more} more" if more > 0 else "")
