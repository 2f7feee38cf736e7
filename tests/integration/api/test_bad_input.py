"""Bad input of every kind: each gets a 4xx that says where and what to do, and repeats nothing of it."""

# Covers api.json_request, api.secret_fields, api.subscription_fields.

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import trio

from daemon.egress.addresses import FORBIDDEN
from tests.support.api_harness import ORG, RawClient, World, bearer, request, serving
from tests.support.daemon import running, token

MARK = "SENTINEL"  # stands in every text that is refused
URL = "https://example.com/hook"
GOOD: dict[str, dict[str, Any]] = {
    "POST /webhooks": {"url": URL, "events": ["match.proposed"]},
    "PATCH /webhooks/{id}": {},
    "POST /events": {"type": "match.proposed", "data": 1},
}
JSON = {"Content-Type": "application/json"}

# What no field takes.
NEVER = [
    f'"{MARK}\\u0000"',
    f'"{MARK}\\ud800"',
    f'"\\udc00{MARK}"',
    f'{{"{MARK}\\u0000": 1}}',
    "1e400",
    "-1e400",
    "NaN",
    "-Infinity",
    "[" * 3_000 + "]" * 3_000,
]
NO_TEXT = ["7", "-0.5", "true", "[]", "{}", f'["{MARK}"]', f'{{"{MARK}": "{MARK}"}}', "9" * 5_001]
NO_NUMBER = [f'"{MARK}"', '"7"', "true", "[]", "{}", "0", "-1", "1" + "0" * 5_000]
NO_SWITCH = [f'"{MARK}"', '"true"', "1", "0", "[]", "{}"]
NO_MAP = [f'"{MARK}"', "7", "true", "[]", f'["{MARK}"]']
TRICKS = ["\u202e", "\u2066", "\u200d", "\u200b", "\ufeff", "\uff0e", "\u00ad", "\ufe0f"]

_REFUSED_URLS = [
    "",
    MARK,
    "example.com/" + MARK,
    "//example.com/" + MARK,
    "https:/example.com",
    "https://",
    f"https://{MARK}@example.com/",
    f"https://example.com/#{MARK}",
    f"https://example.com/{MARK} x",
    f"https://example.com\\{MARK}",
    f"https://example.com/{MARK}\n",
    f"https://example.com:99999/{MARK}",
    f"https://example.com:/{MARK}",
    f"https://0x7f.1/{MARK}",
    f"https://[::1/{MARK}",
    f"https://[fe80::1%25eth0]/{MARK}",
    f"ftp://example.com/{MARK}",
    f"http://example.com/{MARK}",
    f"javascript:{MARK}",
    f"https://example.com/{MARK}é",
    f"https://\uff45xample.com/{MARK}",
    f"https://example\u3002com/{MARK}",
    "https://example.com/" + MARK * 300,
    *(f"https://exam{trick}ple.com/{MARK}" for trick in TRICKS),
    *(f"https://example.com/{trick}{MARK}" for trick in TRICKS),
]
_REFUSED_PATTERNS = ["", MARK, "match", "match*", "*.*", "Match.proposed", "match.proposed ", "x" * 10_000]
_REFUSED_PATTERNS += [f"match.{trick}proposed" for trick in TRICKS] + [
    "m\u0430tch.proposed",
    "\uff4datch.proposed",
]
_REFUSED_SECRETS = [MARK, "whsec_", "whsec_short", "whsec_" + "é" * 20, "whsec_" + "x" * 257, "whsk_" + MARK]
_REFUSED_SECRETS += [f"whsec_{MARK}{trick}" for trick in TRICKS] + ["whsec_" + MARK + "\n", "whpk_" + MARK]
_REFUSED_TIMES = [
    "",
    MARK,
    "2030-01-01",
    "2030-01-01T00:00:00",
    "2030-02-30T00:00:00Z",
    "2030-01-01T24:00:01Z",
    "\uff12\uff10\uff13\uff10-01-01T00:00:00Z",
    "2030-01-01T00:00:00+99:00",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "2030-01-01T00:00:00Z" + "0" * 1000,
]
_REFUSED_IDS = [
    "",
    MARK,
    "x" * 10_000,
    "018f0000-0000-7000-8000-00000000000",
    "\uff1018f0000-0000-7000-8000-000000000001",
]
_REFUSED_HEADERS = [
    {"Host": MARK},
    {"Content-Length": "1"},
    {"webhook-signature": MARK},
    {"X-Alter-Event": MARK},
    {"": MARK},
    {"X A": MARK},
    {"X-Ä": MARK},
    {"X-A": f"{MARK}\r\nX-B: 1"},
    {"X-A": 7},
    {f"X-{number}": MARK for number in range(500)},
    {"X-A": "x" * 10_000},
]


def texts(values: list[str]) -> list[str]:
    return [json.dumps(value) for value in values]


_REFUSED_FILTERS = [
    "",
    MARK + "(",
    f'$.a == "{MARK}',
    f'$.a == "{MARK}" "{MARK}"',
    f"$.a.{MARK}() == 1",
    f"${MARK} == 1",
    f"$.a == '{MARK}'",
    "$.a == " + "1" * 10_000,
    "$.a == " + "1" * 60,
    "$.a[*] == $.b[*]",
    f"({' + '.join(['$.n % $.m'] * 60)}) < 0",
    f"({' + '.join(['(1e131071/7)%(1e65000/3)'] * 12)}) > $.a",
    f"$.a[*]{'.abs()' * 160} == 1",
    "-" * 900 + "1 == $.a",
    "(" * 900,
    "!" * 900 + "($.a == 1)",
    "$" + " ? (@ == 1" * 300,
    "\u202e$.a == 1",
    "\uff04.a == 1",
]
_REFUSED_FILTER_OBJECTS: list[Any] = [
    {"a": {}},
    {"a": [MARK]},
    {"a": {"$regex": MARK}},
    {"a": {"$in": MARK}},
    {"a": {"$gt": None}},
    {"$or": [MARK]},
    {"a": {"$in": [MARK] * 51}},
    {"a[*].b[*]": MARK},
    {"a": MARK * 1000},
    {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": MARK}}}}}}}}}}},
    {"a": int("9" * 60)},
]

_SUBSCRIPTION: dict[str, list[str]] = {
    "url": [*NO_TEXT, "null", *texts(_REFUSED_URLS)],
    "events": [
        *NO_MAP[:3],
        "null",
        "[]",
        "[null]",
        f'[["{MARK}"]]',
        json.dumps(["match.proposed"] * 101),
        *(f"[{text}]" for text in texts(_REFUSED_PATTERNS)),
    ],
    "description": [
        *NO_TEXT,
        json.dumps(MARK * 100),
        *(json.dumps(MARK + one) for one in "\x1b\r\x9b\u202e"),
    ],
    "metadata": [
        *NO_MAP,
        '{"a": 1}',
        '{"a": null}',
        f'{{"a": ["{MARK}"]}}',
        json.dumps({str(number): MARK for number in range(51)}),
        json.dumps({"a": MARK * 100}),
        *(json.dumps({"a": MARK + one}) for one in "\x07\n\u2066"),
        json.dumps({"x" * 100: "a"}),
    ],
    "headers": [*NO_MAP, *(json.dumps(value) for value in _REFUSED_HEADERS)],
    "filter": [
        *NO_TEXT[:-2],
        *texts(_REFUSED_FILTERS),
        *(json.dumps(value) for value in _REFUSED_FILTER_OBJECTS),
        "9" * 5_001,
    ],
    "rate_limit": [*NO_NUMBER, "1e300"],
    "ordered": NO_SWITCH,
    "timeout": [*NO_NUMBER, "1e9"],
    "retry_schedule": [
        *NO_MAP[:3],
        "{}",
        *(f"[5, {number}]" for number in [*NO_NUMBER, "1e9", "0.5", "null"]),
        json.dumps([5] * 101),
        json.dumps([86_400 * 10] * 2),
    ],
    MARK.lower(): ["1", "null", '"x"'],
}
FIELDS: dict[str, dict[str, list[str]]] = {
    "POST /webhooks": {
        **_SUBSCRIPTION,
        "secret": [*NO_TEXT, *texts(_REFUSED_SECRETS)],
        "is_active": [*NO_SWITCH, "null"],
        "signature": [*NO_TEXT, f'"{MARK}"', '"ED25519"'],
        "id": ['"x"'],
    },
    "PATCH /webhooks/{id}": {
        **_SUBSCRIPTION,
        "is_active": [*NO_SWITCH, "null"],
        "secret": [f'"whsec_{MARK}"'],
        "failure_count": ["0"],
    },
    "POST /events": {
        "type": [*NO_TEXT, "null", *texts(_REFUSED_PATTERNS), '"*"', '"match.*"'],
        "data": ['"' + "x" * 1_100_000 + '"'],
        "key": [*NO_TEXT, '""', json.dumps(MARK * 50)],
        "deliver_after": [*NO_TEXT, *texts(_REFUSED_TIMES)],
        "org_id": [*NO_TEXT, *texts(_REFUSED_IDS)],
        MARK.lower(): ["1", "null"],
        "id": ['"x"'],
        "__proto__": ["1"],
        "a/b~c": ["1"],
    },
}
# Odd, and yet nobody's business but the client's: taken as they are.
TAKEN: dict[str, list[dict[str, Any]]] = {
    "POST /webhooks": [
        {"description": "a\n\tb \u200d é e\u0301 \U0001f468\u200d\U0001f469"},
        {"metadata": {"\u200f": "\u2028\ufeff[31m"}},
        {"url": "https://xn--bcher-kva.example/%00%ff/../x?a=b&a=c"},
        {"url": "https://bücher.example/"},
        {"url": "https://example.com//double/./dots/../x"},
    ],
    "PATCH /webhooks/{id}": [{}, {"description": "\U0001f600" * 500}],
    "POST /events": [
        {"key": "\u202e\u200d\U0001f600e\u0301"},
        {"key": "\U0001f600" * 256},
        {"data": {"": {"\u202e": ["\uffff", "\u2028", "\U0010ffff", 10**40, -0.0, 5e-324]}}},
        {"data": None},
    ],
}
NO_JSON: list[bytes] = [
    b"",
    b" ",
    b"{",
    b'{"url": }',
    b"{'url': 1}",
    b'{"url": 1,}',
    b'{"url": 1} x',
    b'{"url": 1}{"url": 1}',
    b"// x\n{}",
    b"undefined",
    b"\xff\xfe{\x00}\x00",
    b"\xfe\xff\x00{\x00}",
    b"\xef\xbb\xbf{}",
    b'{"url": "\xff"}',
    b'{"url": "\xc0\xaf"}',
    b'{"url": "\xed\xa0\x80"}',
    b'{"url": "\xf4\x90\x80\x80"}',
    b'{"url": "\n"}',
    b'{"url": "\\x41"}',
    b'{"url": "\\u12"}',
    b'{"url": 01}',
    b'{"url": .5}',
    b'{"url": +1}',
    b'{"url": 0x10}',
    "{\u00a0}".encode(),
]
NO_OBJECT: list[bytes] = [b"null", b"7", b"true", b'"SENTINEL"', b"[7]", b"[null]", b"[[]]"]
TOO_DEEP: list[bytes] = [
    b"[" * 10_000,
    b"[" * 10_000 + b"]" * 10_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
]
NO_MEDIA_TYPE: list[dict[str, str]] = [
    {},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/xml"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": ";;;"},
    {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    {"Content-Type": "application/json", "Content-Encoding": "br, gzip"},
]


@dataclass(frozen=True)
class Case:
    """One request, the statuses that will do, and the field that the answer must name."""

    what: str
    body: bytes
    statuses: tuple[int, ...]
    pointer: str | None = None
    headers: tuple[tuple[str, str], ...] = tuple(JSON.items())


def cases(operation: str) -> Iterator[Case]:
    good = GOOD[operation]
    for name, values in FIELDS[operation].items():
        for value in values:
            yield Case(f"{name}={value[:60]}", replaced(good, name, value), (422,), spelled(name))
        for value in NEVER:
            yield Case(f"{name}={value[:60]}", replaced(good, name, value), (400, 422))
        yield Case(f"{name} twice", twice(good, name), (400, 422))
    for name in good:
        left = {key: value for key, value in good.items() if key != name}
        yield Case(f"{name} is missing", json.dumps(left).encode(), (422,), f"/{name}")
    for body in [*NO_JSON, *TOO_DEEP]:
        yield Case(f"body {body[:30]!r}", body, (400, 422))
    for body in NO_OBJECT:
        yield Case(f"body {body[:30]!r}", body, (422,))
    for headers in NO_MEDIA_TYPE:
        yield Case(f"{headers}", json.dumps(good).encode(), (415,), headers=tuple(headers.items()))


def spelled(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def replaced(good: dict[str, Any], name: str, value: str) -> bytes:
    fields = {key: json.dumps(kept) for key, kept in good.items()} | {name: value}
    return ("{" + ", ".join(f"{json.dumps(key)}: {text}" for key, text in fields.items()) + "}").encode()


def twice(good: dict[str, Any], name: str) -> bytes:
    text = json.dumps(good.get(name, 1))
    rest = [f"{json.dumps(key)}: {json.dumps(kept)}" for key, kept in good.items() if key != name]
    return ("{" + ", ".join([*rest, *[f"{json.dumps(name)}: {text}"] * 2]) + "}").encode()


def fault(case: Case, answer: httpx.Response) -> str | None:
    """Say what is wrong with the answer to a bad request, if anything."""
    if answer.status_code not in case.statuses:
        return f"{case.what}: {answer.status_code} {answer.text[:200]}"
    text = answer.text
    if answer.headers["content-type"] != "application/problem+json":
        return f"{case.what}: {answer.headers['content-type']}"
    document = answer.json()
    if document["status"] != answer.status_code or not document["detail"]:
        return f"{case.what}: {text}"
    if MARK in text or "Traceback" in text or ".py" in text or len(text) > 20_000:
        return f"{case.what}: tells too much: {text[:300]}"
    errors = document.get("errors", [])
    if answer.status_code == 422 and not errors:
        return f"{case.what}: names no field: {text}"
    if not all(error["detail"] and isinstance(error["pointer"], str) for error in errors):
        return f"{case.what}: {errors}"
    places = [error["pointer"] for error in errors]
    if case.pointer is not None and not any(
        place == case.pointer or place.startswith(case.pointer + "/") for place in places
    ):
        return f"{case.what}: {case.pointer} is not among {places}"
    return None


async def made(http: httpx.AsyncClient) -> str:
    answer = await http.post("/webhooks", json=GOOD["POST /webhooks"])
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def faults(http: httpx.AsyncClient, operation: str) -> list[str]:
    """Send every bad request of the operation and some odd ones; return what was wrong with the answers."""
    method, _, path = operation.partition(" ")
    path = path.replace("{id}", await made(http))
    found = []
    for case in cases(operation):
        answer = await http.request(method, path, content=case.body, headers=dict(case.headers))
        found.append(fault(case, answer))
    for change in TAKEN[operation]:
        answer = await http.request(method, path, json={**GOOD[operation], **change})
        found.append(None if answer.is_success else f"{change}: {answer.status_code} {answer.text[:200]}")
    return [one for one in found if one is not None]


async def test_bad_bodies_are_refused_with_their_place(tmp_path: Path, postgres_url: str) -> None:
    settings: dict[str, object] = {"egress__https_only": True, "egress__allow_networks": []}
    async with running(tmp_path, postgres_url, **settings) as daemon:
        async with daemon.client(uuid4(), "org_admin", "publisher", "platform") as http:
            for operation in GOOD:
                assert "\n".join(await faults(http, operation)) == "", operation
        assert await daemon.stop() == 0
        log = daemon.log.read_text()
    assert "Traceback" not in log
    assert "unexpected" not in log
    assert MARK not in log


async def test_a_url_that_may_not_be_sent_to_is_refused_with_the_rules_name(
    tmp_path: Path, postgres_url: str
) -> None:
    urls = {f"https://{_host(network)}/": "address" for _, network in FORBIDDEN}
    urls |= {
        "https://[::ffff:127.0.0.1]/": "address",
        "https://[64:ff9b::7f00:1]/": "address",
        "https://[64:ff9b::a9fe:a9fe]/": "address",
        "https://[4000::1]/": "address",
        "https://198.100.0.1/": "address",
        "https://metadata/": "host_single_label",
        "http://example.com/": "scheme",
        "ftp://example.com/": "scheme",
        "https://example.com:8443/": "port",
        "https://127.1/": "host_spelling",
        "https://2130706433/": "host_spelling",
        "https://\uff45xample.com/": "host_spelling",
        "https://exa mple.com/": "characters",
        "https://-example.com/": "host",
        "https://a@example.com/": "userinfo",
        "https://example.com/#a": "fragment",
        "https://example.com/é": "target",
        "example.com": "form",
    }
    settings: dict[str, object] = {
        "egress__https_only": True,
        "egress__allow_networks": [],
        "egress__deny_networks": ["198.100.0.0/16"],
        "egress__ports": [443],
    }
    async with (
        running(tmp_path, postgres_url, **settings) as daemon,
        daemon.client(uuid4(), "org_admin") as http,
    ):
        identifier = await made(http)
        for url, rule in urls.items():
            for answer in [
                await http.post("/webhooks", json={"url": url, "events": ["*"]}),
                await http.patch(f"/webhooks/{identifier}", json={"url": url}),
            ]:
                assert answer.status_code == 422, (url, answer.text)
                [error] = answer.json()["errors"]
                assert error["pointer"] == "/url"
                assert error["detail"].endswith(f"(rule: {rule})"), (url, error)


def _host(network: Any) -> str:
    return f"[{network[-1]}]" if network.version == 6 else str(network[-1])


# Paths, queries and methods.

ODD_TARGETS = [
    ("GET", "//webhooks", 404),
    ("GET", "/webhooks//", 404),
    ("POST", "//events", 404),
    ("GET", "/./webhooks", 404),
    ("GET", "/health/../webhooks", 404),
    ("GET", "/webhooks/..", 404),
    ("GET", "/%2e%2e/webhooks", 404),
    ("GET", "/webhooks%2F", 404),
    ("GET", "/webhooks%2fevents", 404),
    ("GET", f"/webhooks%2F{ORG}", 404),
    ("GET", "/webhooks%00", 404),
    ("GET", "/webhooks%0d%0aX:%20y", 404),
    ("GET", "/webhooks%ff", 404),
    ("GET", "/webhooks%", 404),
    ("GET", "/webhooks%zz", 404),
    ("GET", "/webhooks;a=b", 404),
    ("GET", "/Webhooks", 404),
    ("GET", "/webhooks/1", 404),
    ("GET", f"/webhooks/{{{ORG}}}", 404),
    ("GET", f"/webhooks/urn:uuid:{ORG}", 404),
    ("GET", f"/webhooks/{str(ORG).replace('-', '')}", 404),
    ("GET", f"/webhooks/{ORG}x", 404),
    ("GET", "/" + "a" * 15_000, 404),
    ("GET", "/" + "a/" * 7_000, 404),
    ("GET", "/" + "a" * 20_000, 431),
    ("GET", "/webhooks?limit=" + "1" * 10_000, 400),
    ("GET", "/webhooks?cursor=" + "a" * 10_000, 400),
    ("GET", "/webhooks?" + "&".join("limit=1" for _ in range(1_500)), 400),
    ("GET", "/webhooks?" + "a" * 20_000, 431),
    ("GET", "/webhooks?limit=%00", 400),
    ("GET", "/webhooks?limit=%ff", 400),
    ("GET", "/webhooks?limit=%D9%A3", 400),
    ("GET", "/webhooks?limit=", 400),
    ("GET", "/webhooks?limit", 400),
    ("GET", "/webhooks?limit[]=1", 400),
    ("GET", "/webhooks?cursor=%", 400),
    ("GET", "/webhooks?cursor=%zz%00", 400),
    ("GET", "/webhooks?%ff=1", 400),
    ("GET", "/webhooks?limit=1&limit=1", 400),
    ("GET", "/webhooks?limit=1;limit=2", 400),
    ("PUT", "/webhooks", 405),
    ("DELETE", "/webhooks/", 405),
    ("GET", "/events", 405),
    ("BREW", "/events/", 405),
    ("get", "/webhooks", 400),
    ("TRACE", "/webhooks", 405),
]


@pytest.mark.parametrize(
    ("method", "target", "status"), ODD_TARGETS, ids=[f"{odd[0]} {odd[1][:40]}" for odd in ODD_TARGETS]
)
async def test_odd_targets_are_told_and_never_followed(method: str, target: str, status: int) -> None:
    async with serving(World().app()) as server:
        assert_problem(await asked(await server.connect(), method, target, bearer("org_admin")), status)


async def test_the_daemon_knows_odd_targets_too(tmp_path: Path, postgres_url: str) -> None:
    async with running(tmp_path, postgres_url) as daemon:
        host, _, port = daemon.address.removeprefix("http://").rpartition(":")
        authorization = {"Authorization": f"Bearer {token(ORG, 'org_admin')}"}
        for method, target, status in ODD_TARGETS:
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                assert_problem(await asked(RawClient(stream), method, target, authorization), status)
        assert await daemon.stop() == 0
        assert "Traceback" not in daemon.log.read_text()


async def asked(client: RawClient, method: str, target: str, headers: dict[str, str]) -> Any:
    await client.send(request(method, target, *(f"{name}: {value}" for name, value in headers.items())))
    return await client.answer(method)


def assert_problem(answer: Any, status: int) -> None:
    assert answer.status == status, answer
    assert "location" not in answer.headers
    assert answer.headers["content-type"] == "application/problem+json"
    document = json.loads(answer.body)
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_slash_at_the_end_changes_nothing_and_redirects_nobody(slash: str) -> None:
    headers = bearer("org_admin", "publisher")
    async with (
        serving(World().app()) as server,
        httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False) as http,
    ):
        identifier = await made(http)
        for method, path, body, status in [
            ("POST", "/webhooks", GOOD["POST /webhooks"], 201),
            ("GET", "/webhooks", None, 200),
            ("GET", f"/webhooks/{identifier}", None, 200),
            ("PATCH", f"/webhooks/{identifier}", {"is_active": False}, 200),
            ("POST", "/events", GOOD["POST /events"], 202),
            ("DELETE", f"/webhooks/{identifier}", None, 204),
        ]:
            answer = await http.request(method, path + slash, json=body)
            assert answer.status_code == status, (path, answer.text)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Basic eDp5",
        "Bearer a b",
        "bearer \x7f",
        "Bearer " + "é" * 50,
        "x" * 9000,
    ],
)
async def test_odd_authorizations_get_401(authorization: str) -> None:
    async with serving(World().app()) as server:
        client = await server.connect()
        await client.send(
            b"GET /webhooks HTTP/1.1\r\nHost: x\r\nAuthorization: " + authorization.encode() + b"\r\n\r\n"
        )
        assert_problem(await client.answer(), 401)
