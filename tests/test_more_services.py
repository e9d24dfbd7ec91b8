"""What only some services need, from the side of the task: each mode and way, against their recorded replies."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from airflow_provider_docstatus.exceptions import DocumentFailed, RequestRejected
from airflow_provider_docstatus.hooks import DocStatusHook
from airflow_provider_docstatus.links import XCOM_KEY
from airflow_provider_docstatus.operators import ExtractedDataOperator
from airflow_provider_docstatus.services import SERVICES
from airflow_provider_docstatus.testing import StandInVendors
from tests.task_runs import MODES, FakeTaskInstance, run, wait
from tests.transport.loopback import answer, serving

SOON = 0.015
WAYS = {
    "finished": {},
    "watched": {"wait_for_completion": True, "deferrable": False},
    "deferred": {"wait_for_completion": True, "deferrable": True, "watch_on_worker": 0},
}
FIRST_ROUTES = {name: next(iter(service.routes)) for name, service in SERVICES.items()}
each_mode = pytest.mark.parametrize("mode", MODES)
each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def server():
    with StandInVendors(job_seconds=0) as vendors:
        yield vendors


def operator_of(service: str, **arguments: Any) -> ExtractedDataOperator:
    return ExtractedDataOperator(**{"task_id": "extract", "conn_id": f"{service}_default", "timeout": 5, **arguments})


def which(service: str, one: Any) -> dict[str, Any]:
    route = SERVICES[service].routes[FIRST_ROUTES[service]]
    operation = {"operation": FIRST_ROUTES[service]} if SERVICES[service].has_operations else {}
    return {route.parameter: one, **operation}


def closing(code: int, body: bytes = b"{}") -> bytes:
    """Return the bytes of a reply that ends its connection, since a hook keeps one for longer than a test."""
    return answer(code, body, "Content-Type: application/json\r\nConnection: close\r\n")


def asked(vendors: StandInVendors, path: str) -> int:
    return sum(path in record.path and record.method == "GET" for record in vendors.requests)


# -- every service -----------------------------------------------------------------------------------------------


@each_mode
@pytest.mark.parametrize("service", SERVICES)
def test_a_job_of_every_service_is_waited_for(vendors, service, mode):
    job_id = vendors.add_job(service, FIRST_ROUTES[service], seconds=SOON)
    assert wait(mode, conn_id=f"{service}_default", **which(service, job_id))["state"] == "succeeded"


@each_way
@pytest.mark.parametrize("service", SERVICES)
def test_the_data_of_a_job_of_every_service_is_fetched(vendors, service, way):
    job_id, ti = vendors.add_job(service, FIRST_ROUTES[service], seconds=0 if way == "finished" else SOON), FakeTaskInstance()
    assert run(operator_of(service, **which(service, job_id), **WAYS[way]), ti)
    assert ti.xcoms[XCOM_KEY]["state"] == "succeeded"


# -- a result that decides (docling) -----------------------------------------------------------------------------


@each_mode
def test_a_document_that_failed_inside_a_task_that_succeeded_closes_the_gate(vendors, mode):
    job_id = vendors.add_job("docling", recorded="the only document failed")
    with pytest.raises(DocumentFailed, match="VLM inference failed"):
        wait(mode, conn_id="docling_default", job_id=job_id)


@each_way
def test_the_operator_judges_and_keeps_the_data_from_one_request(vendors, way):
    job_id = vendors.add_job("docling", seconds=0 if way == "finished" else SOON)
    before = asked(vendors, "/v1/result/")
    assert run(operator_of("docling", job_id=job_id, **WAYS[way]))["md_content"]
    assert asked(vendors, "/v1/result/") == before + 1


@each_way
@pytest.mark.parametrize("accept", [(), ("partial",)], ids=["strict", "accepted"])
def test_a_result_that_is_only_partial_is_data_where_that_is_accepted(vendors, way, accept):
    job_id, ti = vendors.add_job("docling", recorded="the only document failed in part"), FakeTaskInstance()
    operator = operator_of("docling", job_id=job_id, accept=accept, **WAYS[way])
    if not accept:
        with pytest.raises(DocumentFailed, match="partial"):
            run(operator, ti)
        return
    assert run(operator, ti)["md_content"] == "# Page"
    assert ti.xcoms[XCOM_KEY]["state"] == "partial"


@each_way
def test_of_several_results_the_bad_ones_are_errors(vendors, way):
    ids = [vendors.add_job("docling"), vendors.add_job("docling", recorded="the only document failed")]
    if way == "finished":
        data = run(operator_of("docling", job_id=ids))
        assert list(data["items"]) == ids[:1]
        assert "VLM inference failed" in data["errors"][ids[1]]
        return
    with pytest.raises(DocumentFailed, match=r"1 of 2 ids did not end well by their results \(.*VLM inference failed"):
        run(operator_of("docling", job_id=ids, **WAYS[way]))
    assert list(run(operator_of("docling", job_id=ids, wait_for=0.5, **WAYS[way]))["items"]) == ids[:1]


@each_mode
def test_a_gate_that_read_a_result_says_for_how_long_it_stays(vendors, mode, caplog, capsys):
    caplog.set_level(logging.WARNING)
    wait(mode, conn_id="docling_default", job_id=vendors.add_job("docling"))
    assert "docling-serve deletes the data 300 s after that" in caplog.text + capsys.readouterr().out


@each_mode
def test_documents_that_failed_on_their_way_to_a_remote_target_close_the_gate(vendors, monkeypatch, mode):
    """The engine that runs in the server itself keeps no counters of a task."""
    task = b'{"task_id": "t", "task_status": "success", "task_meta": null}'
    counts = b'{"num_converted": 2, "num_succeeded": 0, "num_partially_succeeded": 0, "num_failed": 2}'
    with serving() as server:
        server.reply = lambda head: closing(200, task if "/status/" in head else counts)
        monkeypatch.setenv("AIRFLOW_CONN_DOCLING_DEFAULT", json.dumps({"conn_type": "docling", "host": f"http://{server.place}"}))
        with pytest.raises(DocumentFailed, match="num_failed 2"):
            wait(mode, conn_id="docling_default", job_id="t")


# -- a status reply that deletes what it holds (zero retention) ---------------------------------------------------


@pytest.fixture
def no_retention(vendors, monkeypatch):
    connection = json.loads(vendors.environment()["AIRFLOW_CONN_LANDINGAI_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_LANDINGAI_DEFAULT", json.dumps({**connection, "extra": {"zero_retention": True}}))


@each_mode
def test_a_sensor_would_delete_the_data_and_is_refused(vendors, no_retention, mode):
    job_id, before = vendors.add_job("landingai", "parse"), len(vendors.requests)
    with pytest.raises(RequestRejected, match="Use ExtractedDataOperator with wait_for_completion=True and deferrable=False"):
        wait(mode, conn_id="landingai_default", job_id=job_id, operation="parse")
    assert len(vendors.requests) == before


def test_so_is_an_operator_that_defers(vendors, no_retention):
    job_id, before = vendors.add_job("landingai", "parse"), len(vendors.requests)
    with pytest.raises(RequestRejected, match="deletes the data of this account as soon as it is read"):
        run(operator_of("landingai", job_id=job_id, operation="parse", **WAYS["deferred"]))
    assert len(vendors.requests) == before


@pytest.mark.parametrize("way", ["finished", "watched"])
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_an_operator_on_its_worker_takes_the_data_from_the_reply_that_says_finished(vendors, no_retention, way, is_list):
    job_id = vendors.add_job("landingai", "parse")
    data = run(operator_of("landingai", job_id=[job_id] if is_list else job_id, operation="parse", **WAYS[way]))
    assert "markdown" in (data["items"][job_id] if is_list else data)
    assert asked(vendors, job_id) == 1


@pytest.mark.parametrize("way", ["finished", "watched"])
def test_several_ids_in_one_task_are_refused_since_an_error_about_one_would_lose_the_data_of_another(vendors, no_retention, way):
    ids, before = [vendors.add_job("landingai", "parse") for _ in range(2)], len(vendors.requests)
    with pytest.raises(RequestRejected, match=r"Give each task one id: \.expand\(job_id=\.\.\.\)"):
        run(operator_of("landingai", job_id=ids, operation="parse", **WAYS[way]))
    assert len(vendors.requests) == before


@pytest.mark.parametrize("way", ["finished", "watched"])
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_link_in_the_reply_that_says_finished_is_followed_since_a_second_has_none(vendors, monkeypatch, way, is_list):
    told: list[str] = []
    with serving() as server:

        def reply(head: str) -> bytes:
            if head.startswith("GET /storage?sig=1 "):
                return closing(200, b'{"markdown": "# A"}') if "Bearer" not in head else closing(403)
            link = f"http://{server.place}/storage?sig=1"
            done = {"job_id": "j-1", "status": "completed", "output_url": link, "metadata": {}}
            told.append(head)
            return closing(200, json.dumps(done).encode()) if len(told) == 1 else closing(404, b'{"detail": "Job not found"}')

        server.reply = reply
        connection = {
            "conn_type": "landingai",
            "host": f"http://{server.place}",
            "password": "k",
            "extra": {"zero_retention": True},
        }
        monkeypatch.setenv("AIRFLOW_CONN_LANDINGAI_DEFAULT", json.dumps(connection))
        job_id = ["j-1"] if is_list else "j-1"
        data = run(operator_of("landingai", job_id=job_id, operation="parse_v1", **WAYS[way]))
    assert (data["items"]["j-1"] if is_list else data) == {"markdown": "# A"}
    assert len(told) == 1


# -- status URLs as ids, ids that name their operation, links -----------------------------------------------------


@each_mode
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_a_status_url_may_stand_for_the_id(vendors, mode, is_list):
    job_id = vendors.add_job("azure_di", "model", seconds=SOON)
    model, result = job_id.split("/")
    url = f"{vendors.url}/documentintelligence/documentModels/{model}/analyzeResults/{result}?api-version=2024-11-30"
    told = wait(mode, conn_id="azure_di_default", job_id=[url] if is_list else url, operation="model")
    assert (told["ids"]["succeeded"] == [job_id]) if is_list else (told["id"] == job_id)


@each_way
def test_the_operator_takes_a_status_url_too(vendors, way):
    model, result = vendors.add_job("azure_di", "model").split("/")
    url = f"{vendors.url}/documentintelligence/documentModels/{model}/analyzeResults/{result}?api-version=2024-11-30"
    assert run(operator_of("azure_di", job_id=url, operation="model", **WAYS[way]))


def url_of(vendors: StandInVendors, route: str, job_id: str) -> str:
    path = SERVICES["azure_di"].routes[route].path
    for place, part in zip(SERVICES["azure_di"].routes[route].placeholders, job_id.split("/"), strict=True):
        path = path.replace(f"{{{place}}}", part)
    return f"{vendors.url}/documentintelligence{path}?api-version=2024-11-30"


@each_mode
def test_the_manifest_of_status_urls_says_their_operation(vendors, mode):
    job_id = vendors.add_job("azure_di", "classifier", seconds=SOON)
    manifest = wait(mode, conn_id="azure_di_default", job_id=[url_of(vendors, "classifier", job_id)])
    assert manifest["operation"] == "classifier"
    assert list(run(operator_of("azure_di", job_id=manifest))["items"]) == [job_id]
    with pytest.raises(RequestRejected, match=r"is the manifest of a wait .* \(operation classifier\)"):
        run(operator_of("azure_di", job_id=manifest, operation="model"))


@each_mode
def test_a_list_of_several_operations_is_refused_and_nothing_is_sent(vendors, mode):
    prefixed = [vendors.add_job("extend", kind) for kind in ("extract", "classify")]
    urls = [url_of(vendors, kind, vendors.add_job("azure_di", kind)) for kind in ("model", "classifier")]
    before = len(vendors.requests)
    with pytest.raises(RequestRejected, match=r"are of several operations \(extract, classify\)"):
        wait(mode, conn_id="extend_default", job_id=prefixed)
    with pytest.raises(RequestRejected, match=r"are of several operations \(model, classifier\)"):
        wait(mode, conn_id="azure_di_default", job_id=urls)
    assert len(vendors.requests) == before


@each_mode
def test_a_status_url_of_another_host_is_refused_and_nothing_is_sent(vendors, mode):
    before = len(vendors.requests)
    with pytest.raises(RequestRejected, match=r"is a URL on 'evil\.example\.com'"):
        wait(
            mode,
            conn_id="azure_di_default",
            job_id="https://evil.example.com/documentModels/a/analyzeResults/b",
            operation="model",
        )
    assert len(vendors.requests) == before


@each_mode
def test_an_id_whose_prefix_names_its_operation_needs_no_other(vendors, mode):
    job_id = vendors.add_job("extend", "classify", seconds=SOON)
    assert wait(mode, conn_id="extend_default", job_id=job_id)["details"]["operation"] == "classify"


@each_way
def test_data_behind_a_link_is_fetched_without_the_key(vendors, way):
    job_id = vendors.add_job("datalab", "convert", recorded="the link to the data of a convert request")
    assert run(operator_of("datalab", job_id=job_id, operation="convert", **WAYS[way]))
    fetched = vendors.requests[-1]
    assert fetched.path.startswith("/storage/")
    assert vendors.keys["datalab"] not in str(dict(fetched.headers))


def test_the_id_in_the_answer_to_a_submission(vendors):
    hook = DocStatusHook("azure_di_default")
    path = "/documentintelligence/documentModels/prebuilt-invoice:analyze?api-version=2024-11-30"
    answer = hook.get_conn().post(path, json={"urlSource": "https://example.com/a.pdf"})
    job_id = hook.submitted_id(answer, operation="model")
    assert job_id.startswith("prebuilt-invoice/")
    assert hook.get_status(job_id=job_id, operation="model").state.is_final
