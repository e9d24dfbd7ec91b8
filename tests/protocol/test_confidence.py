"""How sure a vendor is: every shape of it is brought to 0 to 1, and what nobody can read counts as missing."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_docstatus.protocol.confidence import Confidence, Confidences, confidences_of, joined, shown_path
from airflow_provider_docstatus.protocol.described import BadDescription, description_of, parse
from airflow_provider_docstatus.protocol.flows import poll_one
from airflow_provider_docstatus.protocol.results import fetch_result
from airflow_provider_docstatus.protocol.rules import as_data
from airflow_provider_docstatus.protocol.targets import Target
from airflow_provider_docstatus.services import SERVICES
from tests.conversations import ACME, converse, response


def read(service: str, route: str, body: Any, where: str = "data") -> Confidences:
    return confidences_of(SERVICES[service].routes[route].confidence, where, body)


def told(found: Confidences) -> dict[str, float | None]:
    return dict(found.first)


# -- the shapes of the ten services ---------------------------------------------------------------------------------

FIELD = {"confidence": 0.9, "valueString": "x"}
PAGE = {"parse_score": None, "mean_score": 0.93, "low_score": 0.2, "mean_grade": "excellent"}

SHAPES: dict[str, tuple[str, str, str, Any, dict[str, float | None]]] = {
    "0 to 1": ("aitronos", "job", "reply", {"confidence": 0.95}, {"confidence": 0.95}),
    "0 to 100": ("aitronos", "job", "reply", {"confidence": 95.5}, {"confidence": 0.955}),
    "1, of 1 or of 100": ("aitronos", "job", "reply", {"confidence": 1.0}, {"confidence": None}),
    "100": ("aitronos", "job", "reply", {"confidence": 100}, {"confidence": 1.0}),
    "0": ("aitronos", "job", "reply", {"confidence": 0}, {"confidence": 0.0}),
    "more than 100": ("aitronos", "job", "reply", {"confidence": 101}, {"confidence": None}),
    "below 0": ("aitronos", "job", "reply", {"confidence": -0.1}, {"confidence": None}),
    "null": ("aitronos", "job", "reply", {"confidence": None}, {"confidence": None}),
    "none": ("aitronos", "job", "reply", {}, {}),
    "an object of 100": (
        "aitronos",
        "job",
        "reply",
        {"confidence": {"image_analysis": 95, "data_extraction": 1, "validation": 100, "overall": 94}},
        {
            "confidence.data_extraction": 0.01,
            "confidence.overall": 0.94,
            "confidence.image_analysis": 0.95,
            "confidence.validation": 1.0,
        },
    ),
    "fields": (
        "unsiloed",
        "extract",
        "data",
        {"a": {"value": "x", "score": 0.97}, "b": {"value": None, "score": 0.0}, "c": {"value": 1, "score": None}},
        {"c": None, "a": 0.97},
    ),
    "fields of an array": (
        "unsiloed",
        "extract",
        "data",
        {"items": {"value": [{"price": {"value": 2, "score": 0.4}}, {"price": {"value": 3, "score": 0.9}}], "score": 0.99}},
        {"items.value[0].price": 0.4, "items.value[1].price": 0.9, "items": 0.99},
    ),
    "two scores": (
        "unsiloed",
        "extract",
        "data",
        {"a": {"value": "x", "score": {"grounding_score": 0.8, "extraction_score": None}}},
        {"a.score": 0.8},
    ),
    "a field that is called score": ("unsiloed", "extract", "data", {"score": {"value": 12, "score": 0.9}}, {"score": 0.9}),
    "a value that is called score": ("unsiloed", "extract", "data", {"a": {"value": {"score": 0.1}, "score": 0.9}}, {"a": 0.9}),
    "pages and the whole": (
        "unsiloed",
        "classify",
        "data",
        {"confidence": 0.9, "page_results": [{"page": 1, "confidence": 0.7}]},
        {"page_results[0]": 0.7, "confidence": 0.9},
    ),
    "files": ("unsiloed", "split", "data", {"files": [{"name": "x", "confidence_score": 0.99}]}, {"files[0]": 0.99}),
    "documents and fields": (
        "azure_di",
        "model",
        "data",
        {
            "pages": [{"words": [{"content": "x", "confidence": 0.1}]}],
            "documents": [
                {
                    "confidence": 0.97,
                    "fields": {"Total": FIELD, "Items": {"valueArray": [{"valueObject": {"Price": {"confidence": 0.5}}}]}},
                }
            ],
        },
        {
            "documents[0].fields.Items.valueArray[0].valueObject.Price": 0.5,
            "documents[0].fields.Total": 0.9,
            "documents[0]": 0.97,
        },
    ),
    "words, where there are no documents": (
        "azure_di",
        "model",
        "data",
        {"pages": [{"words": [{"content": "x", "confidence": 0.1}, {"content": "y", "confidence": 0.8}]}]},
        {"pages[0].words[0]": 0.1, "pages[0].words[1]": 0.8},
    ),
    "keys that are paths": (
        "extend",
        "extract",
        "data",
        {
            "value": {"confidence": 0.1},
            "metadata": {
                "items[0].price": {"ocrConfidence": 0.9, "logprobsConfidence": None, "reviewAgentScore": None},
                "total": {"ocrConfidence": None, "logprobsConfidence": None, "reviewAgentScore": None},
            },
        },
        {"metadata.total": None, "metadata['items[0].price']": 0.9},
    ),
    "a class": ("extend", "classify", "data", {"id": "x", "confidence": 0.99}, {"confidence": 0.99}),
    "chunks": ("extend", "parse", "data", {"chunks": [{"metadata": {"minOcrConfidence": 0.3}}]}, {"chunks[0].metadata": 0.3}),
    "steps of a workflow": (
        "extend",
        "workflow",
        "data",
        [{"result": {"extractRun": {"output": {"metadata": {"a": {"ocrConfidence": 0.6}}}}}}],
        {"[0].result.extractRun.output.metadata.a": 0.6},
    ),
    "numbers of citations before grades": (
        "reducto",
        "job",
        "data",
        {
            "total": {
                "value": 1,
                "citations": [
                    {"confidence": "high", "granular_confidence": {"extract_confidence": 0.91, "parse_confidence": 0.98}},
                    {"confidence": "low", "granular_confidence": {"extract_confidence": 0.4, "parse_confidence": None}},
                ],
            }
        },
        {"total.citations[1].granular_confidence": 0.4, "total.citations[0].granular_confidence": 0.91},
    ),
    "grades of citations": (
        "reducto",
        "job",
        "data",
        {"total": {"value": 1, "citations": [{"confidence": "High", "granular_confidence": None}, {"confidence": "low"}]}},
        {"total.citations[1]": 0.0, "total.citations[0]": 1.0},
    ),
    "grades of blocks": (
        "reducto",
        "job",
        "data",
        {"chunks": [{"blocks": [{"content": "x", "confidence": "high"}, {"content": "y", "confidence": "odd"}]}]},
        {"chunks[0].blocks[1]": None, "chunks[0].blocks[0]": 1.0},
    ),
    "grades of splits": ("reducto", "job", "data", {"splits": [{"name": "x", "conf": "low"}]}, {"splits[0]": 0.0}),
    "a grade of the whole": ("reducto", "job", "reply", {"result": {"confidence": "low", "result": []}}, {"result": 0.0}),
    "pages with a mean": (
        "docling",
        "convert",
        "reply",
        {"confidence": {**PAGE, "pages": {"1": {**PAGE, "mean_score": 0.4}, "2": PAGE}}},
        {"confidence.pages['1']": 0.4, "confidence.pages['2']": 0.93},
    ),
    "a mean without pages": ("docling", "convert", "reply", {"confidence": {**PAGE, "pages": {}}}, {"confidence": 0.93}),
    "a grade without a mean": (
        "docling",
        "convert",
        "reply",
        {"confidence": {"mean_score": None, "mean_grade": "fair", "pages": {}}},
        {"confidence": 0.5},
    ),
    "no grade": (
        "docling",
        "convert",
        "reply",
        {"confidence": {"mean_score": None, "mean_grade": "unspecified", "pages": {}}},
        {"confidence": None},
    ),
    "of 5": ("datalab", "convert", "data", {"markdown": "x", "parse_quality_score": 4.6}, {"parse_quality_score": 0.92}),
    "scores in a JSON text": (
        "datalab",
        "extract",
        "data",
        {"extraction_schema_json": json.dumps({"total": 3, "score": 1, "total_score": {"score": 4, "reasoning": "clear"}})},
        {"extraction_schema_json.total_score": 0.8},
    ),
    "segments": (
        "datalab",
        "segment",
        "data",
        {"segmentation_results": {"segments": [{"name": "x", "confidence": "high"}]}},
        {"segmentation_results.segments[0]": 1.0},
    ),
    "words of one model": (
        "landingai",
        "parse",
        "data",
        {"structure": {"children": [{"atomic_grounding": [{"page": 1, "range": {"start": 0}, "confidence": 0.6}]}]}},
        {"structure.children[0].atomic_grounding[0]": 0.6},
    ),
    "chunks by id": (
        "landingai",
        "parse_v1",
        "data",
        {"grounding": {"c1": {"page": 0, "confidence": 0.7}, "c2": {"page": 0}}},
        {"grounding.c1": 0.7},
    ),
    "fields of a tree": (
        "landingai",
        "extract_v1",
        "data",
        {"extraction": {"a": {"confidence": 0.1}}, "extraction_metadata": {"a": {"b": {"value": "x", "confidence": 0.99}}}},
        {"extraction_metadata.a.b": 0.99},
    ),
    "scored pages": (
        "llamaparse",
        "parse",
        "reply",
        {"job": {}, "metadata": {"pages": [{"page_number": 1, "confidence": 0.8}, {"page_number": 2, "confidence": 0.6}]}},
        {"metadata.pages[1]": 0.6, "metadata.pages[0]": 0.8},
    ),
    "metadata of fields": (
        "llamaparse",
        "extract",
        "reply",
        {"extract_metadata": {"field_metadata": {"document_metadata": {"items": [{"price": {"confidence": 0.5}}]}}}},
        {"extract_metadata.field_metadata.document_metadata.items[0].price": 0.5},
    ),
}


@pytest.mark.parametrize(("service", "route", "where", "body", "expected"), SHAPES.values(), ids=list(SHAPES))
def test_a_shape_is_brought_to_0_to_1(service, route, where, body, expected):
    found = read(service, route, body, where)
    assert told(found) == expected
    assert found.lowest == min((value for value in expected.values() if value is not None), default=None)
    assert (found.number, found.missing) == (len(expected), list(expected.values()).count(None))


def test_every_service_but_one_says_something():
    silent = {name for name, service in SERVICES.items() if not any(route.confidence for route in service.routes.values())}
    assert silent == {"neurolinker"}


@pytest.mark.parametrize("data", [None, "text", b"PK", 7, [], {}, [[[]]], {"metadata": 3, "documents": "x"}], ids=repr)
def test_data_of_another_form_has_no_confidence(data):
    for service in SERVICES.values():
        for route in service.routes.values():
            assert confidences_of(route.confidence, "data", data) == confidences_of((), "data", None)


# -- the rules ------------------------------------------------------------------------------------------------------

ONE = Confidence(paths=("fields.*",), names=("sure",))


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        *((0, 0.0), (1, 1.0), (0.25, 0.25), ({}, "none"), ([0.2], "none")),
        *((float("nan"), None), (1e400, None), (10**400, None), (-1, None), (1.01, None), (None, None)),
        *((value, None) for value in (True, "0.9", "90%", "low", "")),
    ],
    ids=repr,
)
def test_only_a_number_on_the_scale_is_a_confidence(value, read_as):
    found = confidences_of((ONE,), "data", {"fields": {"a": {"sure": value}}})
    assert told(found) == ({} if read_as == "none" else {"fields.a": read_as})


def test_a_measure_that_was_taken_counts_though_nobody_can_tell_what_it_means():
    percent, other = {"ocrConfidence": 12, "reviewAgentScore": 5}, {"ocrConfidence": None, "reviewAgentScore": 5}
    assert read("extend", "extract", {"metadata": {"total": percent}}).below(0.5) == 1
    assert read("extend", "extract", {"metadata": {"total": other}}).below(0.5) == 0


def test_what_is_below_and_how_much_of_it_is_named():
    fields = {f"f{number:02}": {"sure": number / 100} for number in range(60)} | {"odd": {"sure": None}}
    found = confidences_of((ONE,), "data", {"fields": fields})
    assert (found.number, found.lowest, found.below(0.5), found.below(0.05)) == (61, 0.0, 51, 6)
    assert found.names_below(0.5) == ["fields.odd", *(f"fields.f{number:02}" for number in range(19))]
    assert found.names_below(0.02) == ["fields.odd", "fields.f00", "fields.f01"]


def test_a_field_with_two_measures_is_named_once():
    field = {"ocrConfidence": 0.9, "logprobsConfidence": None, "reviewAgentScore": 2}
    found = read("extend", "extract", {"metadata": {"total": field}})
    assert (sorted(found.values), found.names_below(0.95)) == ([0.4, 0.9], ["metadata.total"])


def test_documents_are_joined():
    parts = [confidences_of((ONE,), "data", {"fields": {name: {"sure": value}}}) for name, value in (("a", 0.9), ("b", 0.1))]
    assert told(joined(parts)) == {"fields.b": 0.1, "fields.a": 0.9}
    assert joined([]).number == 0


def test_all_words_of_a_book_take_little_memory():
    body = {"pages": [{"words": [{"content": "x", "confidence": 0.9}] * 1000}] * 300}
    tracemalloc.start()
    try:
        found = read("azure_di", "model", body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.number, len(found.first)) == (300_000, 20)
    assert peak < 10_000_000


def test_thousands_of_levels_are_gone_through():
    data: Any = {"value": 1, "score": 0.5}
    for _ in range(5000):
        data = {"value": data}
    assert read("unsiloed", "extract", data).lowest == 0.5


def test_a_name_is_short_and_printable():
    assert shown_path([]) == "(the top)"
    assert shown_path(["items", 2, "total-sum"]) == "items[2].total-sum"
    assert shown_path(["a\n\x1b[31m\ud800b"]) == "['a[31mb']"
    assert shown_path(["x" * 500]) == "x" * 100
    assert len(shown_path(["y" * 100] * 9)) == 300


# -- the description ------------------------------------------------------------------------------------------------


def as_described(**confidence: Any) -> Any:
    data = as_data(ACME)
    data["routes"]["job"]["result"] = {}
    data["routes"]["job"]["confidence"] = [{"paths": ["fields.*"], **confidence}]
    return description_of(data).routes["job"].confidence[0]


def test_the_example_of_the_page_is_one():
    page = (Path(__file__).parents[2] / "docs" / "adding-a-service.md").read_text()
    (example,) = re.findall(r"```yml\n(.*?)```", page, re.DOTALL)
    data = as_data(ACME)
    data["routes"]["job"] |= {"result": {}, "confidence": parse(example)["confidence"]}
    places = description_of(data).routes["job"].confidence
    assert told(confidences_of(places, "data", {"fields": {"a": {"value": 1, "score": 0.97, "ocr": None}}})) == {"fields.a": 0.97}
    assert told(confidences_of(places, "data", {"quality": "Medium"})) == {"quality": 0.5}
    assert told(confidences_of(places, "reply", {"confidence": 95})) == {"confidence": 0.95}


def test_it_can_be_said_as_data():
    assert as_described() == Confidence(paths=("fields.*",))
    said = {"where": "reply", "names": ["sure"], "scale": [1, 100], "grades": {"Good": 0.9}, "otherwise": True}
    assert as_described(**said, query={"full": "1"}) == Confidence(
        paths=("fields.*",),
        where="reply",
        query={"full": "1"},
        names=("sure",),
        scale=(1, 100),
        grades={"Good": 0.9},
        otherwise=True,
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"paths": []}, r"routes\.job\.confidence\.#1\.paths: must be a list of at least 1"),
        ({"paths": ["$.a"]}, r"paths\.#1: must be dotted names only"),
        ({"paths": ["a..b"]}, r"routes\.job\.confidence\.#1: each of its paths has a name between two dots"),
        ({"paths": ["a.**"]}, "ends with \\*\\* only beside names"),
        ({"scale": []}, "scale: must be a list of at least 1"),
        ({"scale": [100, 1]}, "its scale is in rising order"),
        ({"scale": [0]}, "must be a number from 0.001"),
        ({"grades": {"good": 2}}, r"grades\.good: must be a number up to 1"),
        ({"where": "header"}, "must be one of data, reply"),
    ],
    ids=str,
)
def test_a_bad_one_is_refused_with_its_place(said, why):
    with pytest.raises(BadDescription, match=why):
        as_described(**said)


# -- where it is read -----------------------------------------------------------------------------------------------

JOB = Target(route="job", id="doc_1")


def test_a_reply_tells_it_beside_the_small_form():
    service = SERVICES["aitronos"]
    body = {"job_id": "doc_1", "status": "completed", "confidence": 95.5, "extracted_data": {"confidence": 3}}
    status, _ = converse(poll_one(service, JOB), response(body))
    assert told(status.confidences) == {"confidence": 0.955}
    assert status.details["confidence"] == 95.5, "the small form has the vendor's own shape"
    assert "confidences" not in status.to_dict()
    assert type(status).from_dict({**status.to_dict(), "confidence": {"lowest": 0.9}}).to_dict() == status.to_dict()


def test_a_running_job_is_not_asked_how_sure_it_is():
    status, _ = converse(poll_one(SERVICES["aitronos"], JOB), response({"job_id": "doc_1", "status": "processing"}))
    assert status.confidences is None


def test_a_result_that_decides_tells_it_beside_the_data():
    asked = response({"task_id": "t-1", "task_status": "success"})
    body = {"status": "success", "document": {"md_content": "# A"}, "confidence": {"pages": {"1": {"mean_score": 0.4}}}}
    flow = fetch_result(SERVICES["docling"], Target(route="convert", id="t-1"), status=None, content=None, options={})
    (status, items, _), _ = converse(flow, asked, response(body))
    assert (told(status.confidences), items) == ({"confidence.pages['1']": 0.4}, {"t-1": {"md_content": "# A"}})
