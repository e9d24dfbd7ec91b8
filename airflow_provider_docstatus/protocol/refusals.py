"""Tell a refusal by the service from one by a proxy or gateway in between."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from airflow_provider_docstatus.protocol.messages import Response

_PHRASES = "|".join(re.escape(status.phrase) for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST)
#: What proxies, gateways and load balancers say in plain text or as ``message``: Go, Traefik, Envoy, Istio, Cloudflare, nginx,
#: Kong and Amazon's API Gateway. A bare reason phrase, with or without its code, says nothing about an id either.
_MIDDLE_BOX_TEXT = re.compile(
    rf"""(?:error:?\ )?(?:{_PHRASES})
    | (?:http\ )?(?:error\ )?\d{{3}}[\ :-]*(?:error:?\ )?(?:{_PHRASES}|page\ not\ found)\b.*
    | response\ \d{{3}}\b.*
    | (?:error:?\ )?(?:code:?\ )?\d{{3,4}}
    | error\ code:\ \d+.*
    | cannot\ (?:get|head|post|put)\ /.*
    | .*\bnot\ in\ (?:the\ )?allowlist.*
    | blocked\ by\ .*
    | the\ specified\ key\ does\ not\ exist
    | bad\ request:.*\bhost\b.*
    | default\ backend\ -\ 404.*
    | no\ healthy\ upstream
    | (?:upstream|stream|request)\ (?:connect\ error|request\ timeout|timeout|timed\ out).*
    | rbac:\ access\ denied
    | (?:access|permission)\ denied
    | (?:jwt|jwks)\ .*
    | (?:local_rate_limited|fault\ filter\ abort|no\ route\ matched.*|no\ route\ found|route\ not\ found)
    | (?:the\ )?request\ (?:is\ |was\ )?blocked.*
    | (?:missing\ authentication\ token|user\ is\ not\ authorized\ to\ access\ this\ resource.*)
    | (?:your\ )?ip\ address\ (?:is\ )?not\ allowed.*
    | you\ cannot\ consume\ this\ service
    | (?:application|backend|host|page|resource|service|tunnel)\ not\ found
    | invalid\ host(?:\ header)?
    | name\ resolution\ failed
    | (?:an\ invalid\ response\ was\ received\ from\ the\ upstream\ server|failure\ to\ get\ a\ peer\ from\ the\ ring-balancer)
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
#: Names that may stand beside ``message`` in a gateway's JSON.
_BESIDE_A_MESSAGE = {"request_id", "requestid", "statuscode", "status", "code", "error"}
#: Names by which other JSON of gateways is known: APISIX, Apigee, Cloudflare, Kubernetes, Spring.
_GATEWAY_NAMES = (
    {"error_msg"},
    {"fault"},
    {"errors", "messages", "result"},
    {"kind", "apiversion"},
    {"timestamp", "path", "status", "error"},
)


def is_foreign(response: Response) -> bool:
    """
    Whether an error response (400 to 599) comes from a proxy or gateway in between, so that it says nothing about id or key.

    The service refuses with a JSON object that no gateway is known for, where its route says so also with a text. A 401 that is
    no web page counts as the service's in any form: a wrong key must not be waited for.
    """
    if response.is_html or response.code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return True
    if response.code == HTTPStatus.UNAUTHORIZED:
        return False
    body = response.json_or_text()
    if isinstance(body, Mapping):
        return _is_a_gateways(body)
    is_text = isinstance(body, str) and response.request.refuses_in_text and not response.is_too_large
    return not is_text or _is_a_middle_boxs(body)


def _is_a_middle_boxs(text: str) -> bool:
    text = text.strip().rstrip(".!")
    return not text or text.startswith("<") or _MIDDLE_BOX_TEXT.fullmatch(text) is not None


def _is_a_gateways(body: Mapping[str, Any]) -> bool:
    lower = {name.lower(): value for name, value in body.items()}
    if any(names <= lower.keys() for names in _GATEWAY_NAMES):
        return True
    text = lower.pop("message", None)
    return isinstance(text, str) and lower.keys() <= _BESIDE_A_MESSAGE and _is_a_middle_boxs(text)
