"""The search finds identifiers, any script and any writing of a word, and explains what it cannot search for."""

import unicodedata
from random import Random
from typing import Any

import pytest

from contracts.ids import new_id
from tests.integration.test_issues_api import assert_problem
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.processes import Api

ISSUES = "/api/v1/issues"


def search(api: Api, q: str, **query: Any) -> list[str]:
    """Return the titles of the issues that a search finds."""
    response = api.client.get(ISSUES, params={"q": q, **query})
    assert response.status_code == 200, response.text
    return [issue["title"] for issue in response.json()["items"]]


FOUND: dict[str, tuple[str, list[str]]] = {
    "class": (
        "java.io.IOException: closed",
        ["IOException", "ioexception", "java.io.IOException", "io", "Exception"],
    ),
    "camel case": (
        "NullPointerException in onClick",
        [
            *("NullPointer", "nullpointer", "PointerException", "pointerexception", "null pointer exception"),
            *("NullPointerExceptions", "Pointer", "onClick", "onclick", "click"),
        ],
    ),
    "acronym": ("XMLHttpRequest fails", ["XMLHttpRequest", "HttpRequest", "http", "XML", "request"]),
    "snake case": (
        "the value of max_open_connections",
        ["max_open_connections", "open_connections", "connections"],
    ),
    "stop words": ("is_admin and to_json are wrong", ["is_admin", "to_json", "isadmin-or", "json"][:2]),
    "environment": (
        "process.env.NODE_ENV is empty",
        ["process.env.NODE_ENV", "NODE_ENV", "process.env", "env", "node"],
    ),
    "dunder": ("__init__ is called twice", ["__init__", "init"]),
    "path": (
        "see src/app/Button.tsx line 7",
        ["Button.tsx", "app/Button.tsx", "src/app/Button.tsx", "Button", "tsx"],
    ),
    "windows path": (r"C:\Users\bob\report.docx is locked", ["report.docx", r"Users\bob", r"C:\Users", "bob"]),
    "slash": ("login/logout broken", ["logout", "login", "login/logout"]),
    "version": ("since v20.11.1", ["20.11.1", "v20.11.1", "20.11", "20.11*", "20*"]),
    "version of a package": ("numpy-1.26.4rc1 breaks", ["1.26.4", "1.26", "numpy", "numpy-1.26.4"]),
    "host and port": (
        "db.example.com:5432 refused",
        ["db.example.com", "example.com", "5432", "db.example.com:5432"],
    ),
    "address": ("from 192.168.0.17:8080", ["192.168.0.17", "192.168", "192.168.0.17:8080", "8080"]),
    "mail": (
        "bob.smith@example.com cannot log in",
        ["bob", "smith", "bob.smith@example.com", "example.com", "@example"],
    ),
    "url": (
        "https://shop.example/cart?id=7&x=1 is slow",
        ["shop.example", "cart", "https://shop.example/cart?id=7"],
    ),
    "number sign": ("regression of #1234", ["#1234", "1234"]),
    "scope": ("std::vector<int> overflows", ["std::vector", "vector", "int", "std::vector<int>"]),
    "generic": ("Map<String, List<User>> is empty", ["User", "String", "List"]),
    "hyphen": ("state-of-the-art e-mail", ["e-mail", "state-of-the-art", "mail", "art"]),
    "hexadecimal": ("crash at 0xDEADBEEF", ["0xDEADBEEF", "0xdeadbeef"]),
    "stems": ("Running exports crashed", ["run", "runs", "running", "export", "crash", "crashes"]),
    "prefix": (
        "Running universities happily crashes",
        ["runn*", "runni*", "cra*", "crashe*", "universit*", "happil*"],
    ),
    "accents": (
        "Café Zürich naïve Ærø Łódź straße",
        ["cafe", "CAFÉ", "zurich", "naive", "aero", "lodz", "strasse"],
    ),
    "full width": ("ＬＯＧＩＮ ｆａｉｌｓ １２３", ["login", "fails", "123"]),
    "ligature": ("the ﬁle is oﬀ", ["file", "off"][:1]),
    "Chinese": ("用户登录失败，请重试", ["登录", "登录失败", "用户", "重试", "试", "失"]),
    "Japanese": ("ログインできない", ["ログイン", "ログ", "できない", "ﾛｸﾞｲﾝ"]),
    "Korean": ("로그인이 안 됩니다", ["로그인", "안"]),
    "Thai": ("เข้าสู่ระบบไม่ได้", ["ระบบ", "ไม่ได้"]),
    "mixed scripts": ("点击login按钮报错500", ["login", "按钮", "500", "点击login"]),
    "Cyrillic": ("Ёлка не Открывается", ["елка", "ЁЛКА", "открывается", "открыв*"]),
    "Greek": ("Η ΟΔΟΣ δεν φορτώνει", ["οδος", "οδός", "φορτωνει"]),
    "Arabic": ("لا يمكن تسجيل الدُّخول", ["تسجيل", "الدخول"]),
    "Persian": ("می\u200cخواهم وارد شوم", ["می\u200cخواهم", "میخواهم", "وارد"]),
    "Hindi": ("लॉगिन नहीं हो रहा", ["लॉगिन"]),
    "pictograph": ("the 🐞 is back", ["🐞"]),
}


@pytest.mark.parametrize("kind", FOUND)
def test_search_finds_issue_by(kind: str, api: Api) -> None:
    title, queries = FOUND[kind]
    api.post(title)
    api.post("Something else", description="which has none of these")
    body = api.post("In the description", description=f"Before.\n\n{title}\nafter").json()["title"]

    for q in queries:
        assert set(search(api, q)) == {title, body}, q
    assert body in search(api, f'"{title}"')


BLANKS = {
    f"U+{ord(character):04X}": character for character in "\u00a0\u1680\u2003\u2009\u200b\u2028\u202f\u3000\t\n"
}
DASHES = {
    f"U+{ord(character):04X}": character for character in "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d\ufe58"
}
QUOTES = {
    f"U+{ord(character):04X}": character
    for character in "\"'\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb\u2039`\u300c\u00b4"
}
OTHERS = {f"U+{ord(character):04X}": character for character in "…•·→×|¶§、。，！？（）；：／＿～"}


@pytest.mark.parametrize("separator", [*BLANKS.values(), *DASHES.values(), *QUOTES.values(), *OTHERS.values()])
def test_search_finds_words_beside_separator(separator: str, api: Api) -> None:
    title = api.post(f"retry{separator}later").json()["title"]

    assert search(api, "retry") == search(api, "later") == [title]
    if separator not in QUOTES.values():
        assert search(api, f"retry{separator}later") == [title]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize("text", ["Café", "Äpfel", "Й", "グ", "각", "Ǖ", "ﬁ"])
def test_search_finds_any_normal_form(form: Any, text: str, api: Api) -> None:
    title = api.post(f"one {unicodedata.normalize(form, text)} two").json()["title"]

    for other in ("NFC", "NFD", "NFKC", "NFKD"):
        assert search(api, unicodedata.normalize(other, text)) == [title], other


@pytest.mark.parametrize(
    "quotes",
    ['""', "\u201c\u201d", "\u201e\u201c", "\u00ab\u00bb", "\u2039\u203a", "\u300c\u300d", "\uff02\uff02"],
)
def test_search_accepts_quotes_of_every_kind(quotes: str, api: Api) -> None:
    title = api.post("Printing fails").json()["title"]
    api.post("Fails when printing")

    assert search(api, f"{quotes[0]}printing fails{quotes[1]}") == [title]
    assert search(api, f"{quotes[0]}printing fails") == [title], "an open quote ends with the text"


NOT_FOUND = [
    ("NullPointerException", "PointerNull"),
    ("is_admin", "as_admin"),
    ("since v20.11.1", "20.1"),
    ("since v20.11.1", "20.11.2"),
    ("since v20.11.1", "11.20"),
    ("ログインできない", "グイロ"),
    ("失败", "败失"),
    ("running", "runx*"),
    ("login logout", "login/logon"),
    ("Button.tsx", "Button.ts"),
]


@pytest.mark.parametrize(("title", "q"), NOT_FOUND)
def test_search_does_not_find(title: str, q: str, api: Api) -> None:
    api.post(title)

    assert search(api, q) == []


@pytest.mark.parametrize(
    "q", ["IT", "who", "can't", "can\u2019t", "to be or not to be", '"to be"', "the", "the or a"]
)
def test_search_for_common_words_only_reports_it(q: str, api: Api) -> None:
    api.post("IT is to be or not to be, who can't")

    page = api.client.get(ISSUES, params={"q": q, "total": "true"}).json()

    assert page["items"] == []
    assert page["notice"].endswith("has only words that are too common to be searched for. Add another word.")


def test_search_by_command_reports_common_words_on_standard_error(api: Api) -> None:
    api.post("Who is it")

    done = run_cli(str(api.client.base_url).rstrip("/"), "issues", "list", "--q", "who is it", "--json")

    assert (done.returncode, done.stdout.strip()) == (0, "[]")
    assert done.stderr == (
        '"who is it" has only words that are too common to be searched for. Add another word.\n'
    )


def test_search_ignores_common_words_beside_others(api: Api) -> None:
    title = api.post("Who can open the door").json()["title"]

    page = api.client.get(ISSUES, params={"q": "who opened the doors"}).json()

    assert ([issue["title"] for issue in page["items"]], page["notice"]) == ([title], None)


@pytest.fixture
def filtered(api: Api, database: Database) -> Api:
    """Return an API with five issues that the filters distinguish."""
    insert = (
        "INSERT INTO issue (id, title, project, status, priority, tags, external_source, external_id, created_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
    )
    for row in (
        ("one login", "acme/shop", "open", "high", "bug", "github:acme/shop", "1207", "2026-01-01T12:00:00Z"),
        ("two login", "acme/shop", "in_progress", "low", "bug,documentation", None, None, "2026-01-02T00:00:00Z"),
        ("three", "default", "closed", "low", "documentation", "jira:shop", "1207", "2026-02-01T00:00:00Z"),
        ("four login", "default", "resolved", "critical", "", None, None, "2026-11-01T23:59:59Z"),
        ("five", "default", "open", "medium", "feature", None, None, "2025-06-01T00:00:00Z"),
    ):
        database.query(insert, new_id(), *row)
    return api


FILTERS = [
    ("tag:bug", "one two"),
    ("tag:bug -tag:documentation", "one"),
    ("TAG:Bug", "one two"),
    ('tag:"bug" login', "one two"),
    ("\u2013tag:bug", "three four five"),
    ("-tag:bug", "three four five"),
    ("project:acme/shop", "one two"),
    ("-project:acme/shop login", "four"),
    ("is:open", "one two five"),
    ("is:closed", "three four"),
    ("-is:open login", "four"),
    ("is:in_progress", "two"),
    ("is:duplicate", ""),
    ("status:resolved", "four"),
    ("priority:high", "one"),
    ("external:1207", "one three"),
    ("external:1207 source:jira:shop", "three"),
    ("-external:1207", "two four five"),
    ("created:>2026-01-01", "two three four"),
    ("created:>=2026-01-01", "one two three four"),
    ("created:2026-01-01", "one"),
    ("created:<2026-01", "five"),
    ("created:<=2026-01", "one two five"),
    ("created:2026", "one two three four"),
    ("created:2026-01-02..2026-02-01", "two three"),
    ("created:*..2025", "five"),
    ("created:>2026-11-01", ""),
    ("created:>2026-01-01T12:00:00+01:00 created:<2026-01-02", "one"),
    ("updated:>2026-01-01 one", "one"),
    ("tag:bug -tag:documentation project:acme/shop is:open external:1207 created:>2025-01-01 login", "one"),
    ("is:open -login", "five"),
    ("login or three tag:documentation", "two three"),
]


@pytest.mark.parametrize(("q", "names"), FILTERS)
def test_search_with_filter_finds_matching_issues(q: str, names: str, filtered: Api) -> None:
    assert {title.split()[0] for title in search(filtered, q)} == set(names.split())
    page = filtered.client.get(ISSUES, params={"q": q, "total": "true"}).json()
    assert (page["total"], page["total_is_exact"]) == (len(names.split()), True)


@pytest.mark.parametrize(
    ("q", "detail"),
    [
        ("is:opened", 'is: "opened" is not valid. Use open, closed, in_progress, resolved or duplicate.'),
        ("status:lost", 'status: "lost" is not valid. Use open, in_progress, resolved or closed.'),
        ("priority:P1", 'priority: "P1" is not valid. Use low, medium, high or critical.'),
        ("created:>yesterday", 'created: ">yesterday" is not valid.'),
        ("created:2026-02-30", 'created: "2026-02-30" is not valid.'),
        ("updated:99999", 'updated: "99999" is not valid.'),
        ("created:>9999-12-31", 'created: ">9999-12-31" is not valid.'),
        ("project:-x", 'project: "-x" is not valid.'),
        ("tag:a,b", 'tag: "a,b" is not valid.'),
    ],
)
def test_search_with_invalid_filter_is_rejected_with_its_rule(q: str, detail: str, api: Api) -> None:
    problem = assert_problem(api.client.get(ISSUES, params={"q": q}), 422)

    assert isinstance(problem["errors"], list)
    assert problem["errors"][0]["pointer"] == "query.q"
    assert problem["errors"][0]["detail"].startswith(detail)


@pytest.mark.parametrize(
    "q", ["std::vector", "http://x.example/a", "C:\\Windows", "note:this", "tag:", "a:b:c", "::"]
)
def test_search_with_colon_that_is_no_filter_is_text(q: str, api: Api) -> None:
    title = api.post(f"Regarding {q} here").json()["title"]

    assert search(api, q) in ([title], [])
    assert title in search(api, f"regarding {q}")


@pytest.mark.parametrize(
    "q",
    [
        "'",
        "''",
        "\\",
        "a\\'b",
        "!",
        "&|!",
        "<->",
        "(((",
        ":*",
        "*",
        "a:*b",
        "%",
        "%s",
        "$1",
        "{}",
        "{0}",
        "-",
        "--",
        '"',
        '""',
        "|",
        "or",
        "\u200b*",
        "a" * 200,
        "字" * 200,
        "é'",
    ],
)
def test_search_with_operators_of_the_database_is_no_error(q: str, api: Api) -> None:
    api.post("Something")

    assert api.client.get(ISSUES, params={"q": q}).status_code in {200, 422}


def test_search_finds_any_pasted_term(api: Api) -> None:
    random = Random(1)
    words = ("is", "of", "to", "foo", "barBaz", "id", "search", "5", "NODE", "v3.4", "点击", "ёлка", "café", "s")
    joins = (
        "-",
        ".",
        "_",
        "/",
        "://",
        "?",
        "=",
        "&",
        "%20",
        "#",
        "@",
        "->",
        "::",
        "'",
        "\\",
        "(",
        ")",
        ";",
        "--",
        "~",
    )
    terms = ["https://shop.example.com/search?from=home&to=cart", "https://e.com/x?id=5&is=1", "a.b%20of%20c"]
    for _ in range(60):
        parts = [random.choice(words) + random.choice(joins) for _ in range(random.randint(1, 5))]
        terms.append(f"shop/{''.join(parts)}{random.choice(words)}")
    for number, term in enumerate(terms):
        api.post(f"Issue {number}", description=f"see {term} here")

    lost = [term for number, term in enumerate(terms) if f"Issue {number}" not in search(api, term)]

    assert lost == []


def test_prefix_of_stem_does_not_find_other_words(api: Api) -> None:
    title = api.post("running").json()["title"]
    api.post("ruins")

    assert search(api, "runni*") == [title]


LONG = {
    "one word": "x" * 65_536,
    "numbers": " ".join(str(number) for number in range(11_000)),
    "pictographs": "\U0001f41e" * 30_000,
    "different pictographs": "".join(Random(1).choices([chr(code) for code in range(0x1F300, 0x1FB00)], k=65_536)),
    "rare Chinese": "".join(chr(0x20000 + number % 42_000) for number in range(65_536)),
    "Chinese": "".join(chr(0x4E00 + number % 20_000) for number in range(65_536)),
    "camel case": "aB" * 32_768,
    "camel words": "aBc " * 16_384,
    "versions": "1.2.3.4 " * 8192,
    "dots": "1." * 32_768,
    "identifiers": " ".join(f"a{number}B{number}C{number}" for number in range(3000)),
    "Cyrillic": " ".join(f"{chr(0x430 + n % 32)}{chr(0x430 + n // 32 % 32)}{n}" for n in range(6000)),
    "dashes": "-" * 65_536,
    "marks": "a" + "\u0301" * 65_535,
}


@pytest.mark.parametrize("kind", LONG)
def test_issue_with_longest_text_of_any_kind_is_stored_and_found(kind: str, api: Api) -> None:
    response = api.post("Long", description=LONG[kind])

    assert response.status_code == 201, response.text
    assert search(api, "long") == ["Long"]


def test_change_with_another_search_path_is_found_and_announced(api: Api, database: Database) -> None:
    webhook = {"url": "https://hooks.example.com/", "events": ["issue.updated"]}
    assert api.client.post("/api/v1/webhooks", json=webhook).status_code == 201
    issue_id = api.post("Before").json()["id"]

    # As pg_restore does.
    database.query(
        "SELECT set_config('search_path', '', true);"
        f" UPDATE public.issue SET title = 'Exported afterwards' WHERE id = '{issue_id}';"
        " UPDATE public.job SET state = 'cancelled', finished_at = now(), lease_until = NULL"
        f" WHERE issue_id = '{issue_id}'"
    )

    assert search(api, "afterwards") == ["Exported afterwards"]
    kinds = {row["kind"] for row in database.query("SELECT kind FROM event WHERE issue_id = %s", issue_id)}
    assert kinds == {"issue.created", "issue.changed", "job.changed"}
    assert database.one("SELECT count(*) FROM webhook_delivery WHERE event = 'issue.updated'") == 1
