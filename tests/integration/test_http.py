"""HTTP as real clients and proxies use it: HEAD, gzip, repeated parameters, changed entity tags, blanks."""

import gzip
import json
import zlib
from typing import Any

import httpx
import pytest

from contracts.ids import new_id
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.imports import CSV, import_file, ndjson, post_import, row, row_counts, wait_for_operation
from tests.support.processes import Api
from tests.support.raw_http import RawConnection
from tests.support.stream import Listener
from tests.support.waiting import wait_until

ISSUES = "/api/v1/issues"
JSON = "application/json"
MANY = 10_001
UNKNOWN_ID = "01a20614-800e-771f-862f-526a86f415ac"


def post_and_wait(api: Api, database: Database) -> str:
    """Return the URL of a new issue whose job is queued, so that its entity tag does not change any more."""
    url = f"{ISSUES}/{api.post().json()['id']}"
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")
    return url


def get_paths(api: Api) -> list[str]:
    """Return every documented path of GET without parameters, and the undocumented ones."""
    documented = api.client.get("/openapi.json").json()["paths"]
    paths = [path for path, operations in documented.items() if "get" in operations and "{" not in path]
    return [*paths, "/", "/docs", "/redoc", "/openapi.json", "/static/main.js", "/nowhere"]


def test_head_returns_status_and_headers_of_get_without_body(api: Api, database: Database) -> None:
    url = post_and_wait(api, database)
    paths = [*get_paths(api), url, f"{ISSUES}/{UNKNOWN_ID}"]
    assert len(paths) > 20

    for path in paths:
        if path == "/api/v1/events":
            continue  # its GET does not end
        got, head = api.client.get(path), api.client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        for name in ("content-type", "etag", "link", "allow", "cache-control"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)


def test_head_of_event_stream_ends(api: Api) -> None:
    head = api.client.head("/api/v1/events")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


def test_connection_after_head_is_usable(api: Api) -> None:
    with RawConnection(api) as connection:
        connection.send(b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = connection.read_all()

    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.count(b'{"status":"live"}') == 1


def test_head_is_measured_and_logged_under_its_route(api: Api) -> None:
    issue = api.post().json()
    api.client.head(f"{ISSUES}/{issue['id']}")

    assert 'method="HEAD",route="/api/v1/issues/{issue_id}"' in api.client.get("/metrics").text


def test_head_of_unchanged_issue_returns_304(api: Api, database: Database) -> None:
    url = post_and_wait(api, database)
    tag = api.client.head(url).headers["etag"]

    assert api.client.head(url, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    "path",
    ["/", "/livez", "/openapi.json", "/static/main.js", "/static/vendor/x", ISSUES, f"{ISSUES}/{UNKNOWN_ID}"],
)
def test_allow_header_lists_exactly_the_methods_that_are_allowed(path: str, api: Api) -> None:
    response = api.client.request("OPTIONS", path)
    problem = assert_problem(response, 405)
    allowed = set(response.headers["allow"].split(", "))

    assert {"GET", "HEAD"} <= allowed
    assert f"Use {response.headers['allow']}." in str(problem["detail"])
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        is_allowed = api.client.request(method, path).status_code != 405
        assert is_allowed == (method in allowed), method


def packed_post(api: Api, body: bytes, encoding: str = "gzip", **headers: str) -> httpx.Response:
    return api.client.post(
        ISSUES, content=body, headers={"content-type": JSON, "content-encoding": encoding, **headers}
    )


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b'{"title": "Packed"}'), "gzip"),
        (gzip.compress(b'{"title": "Packed"}'), "X-GZIP"),
        (gzip.compress(b'{"title": ') + gzip.compress(b'"Packed"}'), "gzip"),
        (gzip.compress(b'{"title": "Packed"}') + b"\0" * 512, "gzip"),
        (b'{"title": "Packed"}', "identity"),
    ],
    ids=["gzip", "x-gzip", "members", "padding", "identity"],
)
def test_post_with_gzip_body_is_stored(body: bytes, encoding: str, api: Api) -> None:
    response = packed_post(api, body, encoding)

    assert response.status_code == 201, response.text
    assert response.json()["title"] == "Packed"


def test_post_with_longest_text_packed_is_stored_unchanged(api: Api) -> None:
    text = "".join(chr(0x4E00 + number % 20_000) for number in range(65_536))

    response = packed_post(api, gzip.compress(json.dumps({"title": "Long", "description": text}).encode()))

    assert response.json()["description"] == text


def test_repeated_gzip_post_with_key_is_stored_once(api: Api, database: Database) -> None:
    key = {"Idempotency-Key": str(new_id())}

    first = packed_post(api, gzip.compress(b'{"title": "Once"}', 1), **key)
    second = packed_post(api, gzip.compress(b'{"title": "Once"}', 9), **key)

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotency-replayed"] == "true"
    assert database.one("SELECT count(*) FROM issue") == 1


@pytest.mark.parametrize("levels", [1, 2], ids=["bomb", "bomb in a member"])
@pytest.mark.parametrize("key", [None, "bomb"])
def test_gzip_bomb_is_rejected_with_413(levels: int, key: str | None, api: Api, database: Database) -> None:
    body = gzip.compress(b" " * 200_000_000) if levels == 1 else gzip.compress(b" ") * 1000 + bomb()
    assert len(body) < 1024 * 1024

    problem = assert_problem(packed_post(api, body, **({"Idempotency-Key": key} if key else {})), 413)

    assert problem["detail"] == "The unpacked body has more than 1048576 bytes. Send a smaller one."
    assert database.one("SELECT count(*) FROM issue") == 0


def test_gzip_body_of_many_empty_members_is_rejected_with_413(api: Api) -> None:
    problem = assert_problem(packed_post(api, gzip.compress(b"") * 40_000), 413)

    assert problem["detail"] == "The gzip body has more than 1000 members. Compress it as one."


def bomb() -> bytes:
    return gzip.compress(b" " * 50_000_000)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"title": "Plain"}', "incorrect header check"),
        (gzip.compress(b'{"title": "Cut"}')[:-5], "it ends too early"),
        (b"", "it ends too early"),
        (gzip.compress(b'{"title": "More"}') + b"junk", "incorrect header check"),
        (gzip.compress(b'{"title": "Sum"}')[:-8] + b"12345678", "incorrect data check"),
        (zlib.compress(b'{"title": "Deflate"}'), "incorrect header check"),
    ],
    ids=["plain", "cut", "empty", "junk", "checksum", "zlib"],
)
def test_body_that_is_no_gzip_is_rejected_with_400(body: bytes, reason: str, api: Api) -> None:
    problem = assert_problem(packed_post(api, body), 400)

    assert str(problem["detail"]).startswith(f"The body is not valid gzip: {reason}")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, br", "gzip, gzip"])
def test_other_content_encoding_is_rejected_with_415(encoding: str, api: Api) -> None:
    response = packed_post(api, gzip.compress(b'{"title": "x"}'), encoding)

    problem = assert_problem(response, 415)
    assert problem["detail"] == (
        f'The content encoding "{encoding}" is not supported. Send the body unpacked, or as one gzip.'
    )
    assert response.headers["accept-encoding"] == "gzip"


def test_import_of_gzip_is_imported(api: Api) -> None:
    rows = [row(number) for number in range(2000)]
    body = gzip.compress(ndjson(rows))

    response = post_import(api, body, headers={"content-encoding": "gzip"})

    assert row_counts(wait_for_operation(api, response)) == {"created": 2000}


def test_chunked_gzip_body_in_small_pieces_is_stored(api: Api) -> None:
    packed = gzip.compress(b'{"title": "In pieces"}')

    def pieces() -> Any:
        for byte in packed:
            yield bytes([byte])

    response = api.client.post(
        ISSUES, content=pieces(), headers={"content-type": JSON, "content-encoding": "gzip"}
    )

    assert response.json()["title"] == "In pieces"


@pytest.mark.parametrize("name", ["status", "limit", "q", "total", "external_id"])
def test_repeated_parameter_is_rejected_with_its_pointer(name: str, api: Api) -> None:
    problem = assert_problem(api.client.get(f"{ISSUES}?{name}=1&{name}=2"), 422)

    assert problem["errors"] == [
        {
            "pointer": f"query.{name}",
            "rule": "repeated_parameter",
            "detail": f'The query has the parameter "{name}" more than once. Send it once.',
        }
    ]


def test_import_with_repeated_dry_run_changes_nothing(api: Api, database: Database) -> None:
    problem = assert_problem(
        post_import(api, b"title,external_id,source\nx,1,a\n", CSV, dry_run=["true", "false"]), 422
    )

    assert isinstance(problem["errors"], list)
    assert problem["errors"][0]["pointer"] == "query.dry_run"
    assert database.one("SELECT count(*) FROM import_row") == 0


CHANGED_TAGS = {
    "unchanged": '"{}"',
    "nginx": 'W/"{}"',
    "Apache": '"{}-gzip"',
    "Caddy": 'W/"{}-zstd"',
    "Jetty": '"{};gzip"',
    "list": '"other", W/"{}"',
}


@pytest.mark.parametrize("form", CHANGED_TAGS.values(), ids=CHANGED_TAGS)
def test_entity_tag_changed_by_proxy_still_matches(form: str, api: Api, database: Database) -> None:
    url = post_and_wait(api, database)
    given = form.format(api.client.get(url).headers["etag"].strip('"'))

    assert api.client.get(url, headers={"If-None-Match": given}).status_code == 304
    changed = api.client.patch(url, json={"title": "Changed"}, headers={"If-Match": given})
    assert changed.status_code == 200, given
    assert_problem(api.client.patch(url, json={"title": "Late"}, headers={"If-Match": given}), 412)
    assert api.client.get(url, headers={"If-None-Match": given}).status_code == 200


@pytest.mark.parametrize("tag", ['W/"x"', '"x"', "x", '"-gzip"', f'"{"0" * 32}-gzip"', 'w/"x"'])
def test_entity_tag_of_another_version_does_not_match(tag: str, api: Api) -> None:
    url = f"{ISSUES}/{api.post().json()['id']}"

    assert_problem(api.client.patch(url, json={"title": "Changed"}, headers={"If-Match": tag}), 412)


INVISIBLE = {
    "zero width space": "\u200b",
    "joiners": "\u200c\u200d\u2060",
    "byte order mark": "\ufeff",
    "direction": "\u202e\u2066\u2069\u200f\u061c",
    "soft hyphen": "\xad",
    "Hangul fillers": "\u115f\u1160\u3164\uffa0",
    "Braille blank": "\u2800",
    "variation selectors": "\ufe0f\U000e0100",
    "tags": "\U000e0041",
    "Mongolian vowel separator": "\u180e",
    "ideographic space": "\u3000",
    "line separator": "\u2028\u2029",
    "combining joiner": "\u034f",
    "controls": "\x01\x1b\x7f\x85",
    "mixed": " \u200b\t\u3164\n",
}


@pytest.mark.parametrize("title", INVISIBLE.values(), ids=INVISIBLE)
def test_title_without_visible_character_is_rejected(title: str, api: Api, database: Database) -> None:
    url = f"{ISSUES}/{api.post('Visible').json()['id']}"

    for response in (api.post(title), api.client.patch(url, json={"title": title})):
        problem = assert_problem(response, 422)
        assert isinstance(problem["errors"], list)
        assert problem["errors"][0]["pointer"] == "#/title"
        assert problem["errors"][0]["rule"] in {"string_invisible", "string_too_short"}
    operation = import_file(api, ndjson([row(1, title=title)]))
    assert (row_counts(operation), operation["errors"][0]["pointer"]) == ({"failed": 1}, "#/title")
    assert database.query("SELECT title FROM issue") == [{"title": "Visible"}]


@pytest.mark.parametrize(
    "title",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "❤\ufe0f",
        "\u0600",
        ".",
    ],
)
def test_title_with_visible_and_invisible_characters_is_stored_unchanged(title: str, api: Api) -> None:
    assert api.post(title).json()["title"] == title


CSV_FILE = b"title,external_id,source\nx,1,a\n"


@pytest.mark.parametrize(
    "media_type",
    [
        "text/csv",
        "TEXT/CSV; Header=Present",
        'text/csv; charset="UTF-8"; header=present',
        "text/csv;header=present;charset=utf-8",
        "text/csv; charset=us-ascii",
        "text/csv; charset*=utf-8'en'utf%2D8; header*=present",
        "text/csv; title*=unknown''x; header*0=pre; header*1=sent",
    ],
)
def test_csv_with_valid_parameters_is_imported(media_type: str, api: Api) -> None:
    assert row_counts(import_file(api, CSV_FILE, media_type)) == {"created": 1}


@pytest.mark.parametrize(
    ("parameters", "detail"),
    [
        ("header=absent", "A file without a header row is not supported."),
        ('charset=utf-8; header="absent"', "A file without a header row is not supported."),
        ("header=maybe", 'The parameter header="maybe" of the content type is not valid.'),
        ("header=present; charset=koi8-x", 'The character set "koi8-x" is not supported.'),
        ("charset*=undefined''koi8-x", 'The character set "koi8-x" is not supported.'),
    ],
)
def test_csv_with_unsupported_parameter_is_rejected_with_415(parameters: str, detail: str, api: Api) -> None:
    problem = assert_problem(post_import(api, CSV_FILE, f"text/csv; {parameters}"), 415)

    assert str(problem["detail"]).startswith(detail)


def add_external(api: Api, source: str, external_id: str) -> str:
    body = {"title": f"{source} {external_id}", "external": {"source": source, "id": external_id}}
    return str(api.client.post(ISSUES, json=body).json()["title"])


def test_list_by_external_source_and_id_returns_the_issue(api: Api) -> None:
    shop, other = add_external(api, "github:acme/shop", "1207"), add_external(api, "jira:SHOP".lower(), "1207")
    add_external(api, "github:acme/shop", "1208")
    api.post("Without")

    def found(**query: str) -> list[str]:
        items = api.client.get(ISSUES, params={"sort": "created", **query}).json()["items"]
        return [issue["title"] for issue in items]

    assert found(external_source="github:acme/shop", external_id="1207") == [shop]
    assert found(external_id="1207") == [shop, other]
    assert found(external_source="github:acme/shop") == [shop, "github:acme/shop 1208"]
    assert found(external_id="9") == []
    problem = assert_problem(api.client.get(ISSUES, params={"external_source": "GitHub"}), 422)
    assert isinstance(problem["errors"], list)
    assert problem["errors"][0]["pointer"] == "query.external_source"


def test_total_is_exact_up_to_10000_and_then_marked(api: Api, database: Database) -> None:
    assert api.client.get(ISSUES).json()["total"] is None
    insert = "INSERT INTO issue (id, title) SELECT gen_random_uuid(), 'Number ' || n FROM generate_series(1, %s) n"
    database.query(insert, MANY - 1)

    def total(**query: Any) -> tuple[int, bool]:
        page = api.client.get(ISSUES, params={"total": "true", "limit": 1, **query}).json()
        return page["total"], page["total_is_exact"]

    assert total() == (10_000, True)
    assert total(q="number") == (10_000, True)
    assert total(status="closed") == (0, True)
    database.query("INSERT INTO issue (id, title) VALUES (%s, 'Exceptional')", new_id())
    assert total() == (10_000, False)
    assert total(q="exceptional") == (1, True)


def test_total_is_wanted_only_on_the_first_page(api: Api) -> None:
    for number in range(3):
        api.post(f"Issue {number}")
    first = api.client.get(ISSUES, params={"limit": 2, "total": "true"}).json()

    rest = api.client.get(ISSUES, params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert (first["total"], first["total_is_exact"], rest["total"]) == (3, True, None)
    assert len(rest["items"]) == 1


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"title": "x",\n "priority": }', "The body is not valid JSON: Expecting value at line 2, column 14."),
        (b"{'title': 'x'}", "Expecting property name enclosed in double quotes at line 1, column 2."),
        (
            b'{"title": "\xc3\xa9",\n\n  "x" 1}',
            "The body is not valid JSON: Expecting ':' delimiter at line 3, column 7.",
        ),
        (b'{"title":\n "a\xff"}', "The body is not UTF-8: byte 0xff at line 2, column 4. Send UTF-8."),
        (b'{"title": "\xc3\xa9\xe9"}', "The body is not UTF-8: byte 0xe9 at line 1, column 13. Send UTF-8."),
        (b'{"title": ' + b"[" * 200_000, "The body is nested too deeply. Use fewer levels."),
    ],
    ids=["value", "quotes", "delimiter", "latin-1", "column", "nested"],
)
def test_body_that_cannot_be_parsed_is_rejected_with_the_place(body: bytes, detail: str, api: Api) -> None:
    problem = assert_problem(api.client.post(ISSUES, content=body, headers={"content-type": JSON}), 400)

    assert str(problem["detail"]).endswith(detail)


def test_client_that_leaves_the_stream_causes_no_error_line(api: Api) -> None:
    def completed() -> int:
        return str(api.log).count('"/api/v1/events"') + str(api.log).count("route=/api/v1/events")

    before, lines = completed(), len(str(api.log))
    for number in range(5):
        with Listener(api):
            api.post(f"Issue {number}")

    wait_until(lambda: completed() == before + 5, "the streams to end")
    log = str(api.log)[lines:]
    assert "rror" not in log, log
    assert "Traceback" not in log, log
