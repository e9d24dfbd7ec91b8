"""Reducto (https://docs.reducto.ai): one status route for the jobs of all operations, the data inline or behind a link."""

from airflow_provider_docstatus.protocol.confidence import Confidence
from airflow_provider_docstatus.protocol.description import (
    ListRoute,
    ResultRoute,
    Route,
    ServiceDescription,
    Submission,
)
from airflow_provider_docstatus.status import State

_TIMES = {"created_at": ("created_at",)}
_FACTS = {
    "type": ("type",),
    "total_pages": ("total_pages", "result.usage.num_pages"),
    "duration": ("duration", "result.duration"),
}
_ITEM = Route(path="/job/{id}", times=_TIMES, details=_FACTS)  # of the list; it has no more facts (types/job_get_all_response.py)
_WITHOUT_CONFIGS = {"exclude_configs": "true"}  # else each job's whole request is in the list
_LIST = ListRoute(
    path="/jobs", items="jobs", item=_ITEM, query=_WITHOUT_CONFIGS, paging="token", at="cursor", page_size=500, next="next_cursor"
)

# extract/response-format, types/shared/parse_response.py: two numbers from 0 to 1 of each block and each citation, or else "high"
# and "low", to which no page gives a number: these are ours. Splits have "conf" (types/shared/split_response.py), an extraction
# as a whole may have "confidence" (types/v3_extract.py). A classification has one for each category, also for those that were not
# chosen, so it is not read.
_GRADES = {"low": 0.0, "medium": 0.5, "high": 1.0}
_CONFIDENCE = (
    Confidence(paths=("**.granular_confidence",), names=("extract_confidence", "parse_confidence")),
    Confidence(paths=("**.blocks.*", "**.citations.*"), names=("confidence",), grades=_GRADES, otherwise=True),
    Confidence(paths=("splits.**",), names=("conf",), grades=_GRADES, otherwise=True),
    Confidence(where="reply", paths=("result",), names=("confidence",), grades=_GRADES),
)
_DELETED = {409: State.EXPIRED}  # resources/job.py, delete: 409 while it is being deleted, then 410
REDUCTO = ServiceDescription(
    name="reducto",
    title="Reducto",
    host="https://platform.reducto.ai",  # this and the regions: SDK, _client.py
    regions={"eu": "https://eu.platform.reducto.ai", "au": "https://au.platform.reducto.ai"},
    docs="https://docs.reducto.ai/sdk/python/job-management",
    auth={"bearer": ("Authorization", "Bearer {key}")},
    link_hosts=("*.amazonaws.com",),  # of an image's link, seen in a public repository; no page names it
    routes={
        "job": Route(
            path="/job/{id}",
            ids=("result.job_id",),  # of a finished job only: at the top the id is not repeated
            errors=("error.name error.message", "reason"),  # types/job_get_response.py; the page's sample prints "reason"
            links=("result.studio_link",),
            times=_TIMES,
            details={**_FACTS, "progress": ("progress",), "credits": ("result.usage.credits",)},
            codes=_DELETED,
            long_poll=("timeout", 30.0),  # third-party copy of the specification: in seconds, without a longest time
            # types/shared/url_result.py: large data is a link in place of the data. That of an edit is the edited document.
            result=ResultRoute(
                take="result.result",
                codes=_DELETED,
                link=("result.result.url", "result.document_url"),
                link_if={"result.result.url": ("result.result.type", "url")},  # else it may be a field of extracted data
            ),
            confidence=_CONFIDENCE,
            listing=_LIST,
            submit=Submission(path="/parse_async", id="job_id"),  # likewise extract_, split_, edit_, classify_, pipeline_async
            cancel="/cancel/{id}",
        )
    },
    words={
        State.RUNNING: ("pending", "idle", "inprogress", "completing"),  # the last two only in lists; the page waits on "Idle"
        State.SUCCEEDED: ("completed",),
        State.FAILED: ("failed",),
        State.CANCELLED: ("cancelled",),  # only in lists: the job route has no word for it
    },
    envelope=("error.name error.message", "error.type"),  # the SDK's form; "type" is the page's (reference/error-codes)
    retry_headers=("retry-after-ms",),  # SDK, _base_client.py
    poll_interval=5.0,  # the page's samples ask every second; jobs take seconds to minutes
    retention="usually deleted within 24 hours, unless persist_results was set",  # workflows/deletion: paid plans
    webhooks="https://docs.reducto.ai/workflows/direct-webhooks",
    tier="sdk",
    evidence="SDK 0.25.0, vendor's pages, third-party copy of the specification (long poll)",
)
