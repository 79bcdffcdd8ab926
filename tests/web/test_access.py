"""Who may ask: passwords in a file, and origins whose pages may ask."""

import base64

import pytest
from support.asking import Asked

from carbonpy.errors import ConfigError
from carbonpy.web.access import Origins, Users, hashed

NOW = 1_700_000_040


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "users"
    path.write_text(f"# who may ask\n\ngrafana:{hashed('s3cret:ü')}\nbob:{hashed('x')}\n")
    return str(path)


@pytest.fixture
def asked(tmp_path, file):
    asked = Asked(tmp_path, users=Users.load(file))
    asked.fill({"a.b": {NOW: 1.0}})
    yield asked
    asked.catalog.close()


def test_the_right_name_and_password_get_an_answer(asked):
    for path in ("/render?target=a.b", "/metrics/find?query=*", "/version", "/health", "/metrics"):
        assert asked.request("GET", path, basic("grafana", "s3cret:ü")).status == 200
    assert asked.request("GET", "/render?target=a.b", basic("bob", "x")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("grafana", "wrong"),
        basic("grafana", ""),
        basic("nobody", "s3cret:ü"),
        basic("bob", "s3cret:ü"),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        {"Authorization": "Basic " + "A" * 5_000},
        {"Authorization": "Bearer x"},
    ],
)
def test_everybody_else_is_asked_for_them(asked, headers):
    for path in ("/render?target=a.b", "/no/such", "/health", "/"):
        answer = asked.request("GET", path, headers)
        assert (answer.status, answer.content_type) == (401, "text/plain; charset=utf-8")
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
        assert "a.b" not in answer.text


def test_whether_the_daemon_is_ready_is_no_secret(asked):
    assert asked.request("GET", "/ready").status == 200


def test_a_password_that_was_right_is_not_looked_at_again(asked):
    headers = basic("bob", "x")
    connection = asked.connect()
    request = f"GET /version HTTP/1.1\r\nHost: x\r\nAuthorization: {headers['Authorization']}\r\n\r\n".encode()
    connection.send(request)
    assert connection.received == b"", "the first one is looked at in the pool"
    asked.pool.step()
    assert connection.received.startswith(b"HTTP/1.1 200")
    other = asked.connect()
    other.send(request)
    assert other.received.startswith(b"HTTP/1.1 200")


def test_few_passwords_are_looked_at_at_once(asked):
    for number in range(4):
        headers = basic("bob", f"guess {number}")
        asked.connect().send(f"GET / HTTP/1.1\r\nAuthorization: {headers['Authorization']}\r\n\r\n".encode())
    connection = asked.connect()
    connection.send(f"GET / HTTP/1.1\r\nAuthorization: {basic('bob', 'y')['Authorization']}\r\n\r\n".encode())
    assert connection.received.startswith(b"HTTP/1.1 503")
    while asked.pool.waiting:
        asked.pool.step()
    assert asked.request("GET", "/version", basic("bob", "x")).status == 200


def test_a_hash_does_not_tell_the_password_and_is_never_the_same():
    one, other = hashed("x"), hashed("x")
    assert one != other
    assert one.startswith("scrypt$16384$8$1$")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no user in this file"),
        ("bob:secret\n", ":1: this is no name:scrypt"),
        ("# x\nbob:$apr1$abc$def\n", ":2: this is no name:scrypt"),
        (f"bob:scrypt$3$8$1${'0' * 32}${'0' * 64}\n", "scrypt cannot work with n=3"),
        (f"bob:scrypt$4194304$32$1${'0' * 32}${'0' * 64}\n", "more than 64 MB"),
        (2 * f"bob:scrypt$2$8$1${'0' * 32}${'0' * 64}\n", ":2: 'bob' stands here twice"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, text, words):
    path = tmp_path / "users"
    path.write_text(text)
    with pytest.raises(ConfigError, match="users") as caught:
        Users.load(str(path))
    assert words in str(caught.value)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ConfigError, match="the users cannot be read"):
        Users.load(str(tmp_path / "none"))


# ---- pages of other origins

GRAFANA = "https://grafana.example.org"


def ask_first(asked, origin):
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return asked.request("OPTIONS", "/render", headers)


def test_without_origins_nothing_is_said_about_them(tmp_path):
    asked = Asked(tmp_path)
    answer = asked.request("GET", "/version", {"Origin": GRAFANA})
    assert [name for name in answer.headers if name.startswith("access-control")] == []
    assert ask_first(asked, GRAFANA).json == []
    asked.catalog.close()


def test_listed_origins_may_ask(tmp_path, file):
    asked = Asked(tmp_path, cors_origins=[GRAFANA + "/"], users=Users.load(file))
    told = ask_first(asked, GRAFANA)
    assert (told.status, told.body) == (204, b"")
    assert told.headers["access-control-allow-origin"] == GRAFANA
    assert told.headers["access-control-allow-methods"] == "GET, POST, HEAD, OPTIONS"
    assert "Authorization" in told.headers["access-control-allow-headers"]
    answer = asked.request("GET", "/version", {"Origin": GRAFANA, **basic("bob", "x")})
    assert answer.headers["access-control-allow-origin"] == GRAFANA
    assert answer.headers["access-control-allow-credentials"] == "true"
    refused = asked.request("GET", "/version", {"Origin": GRAFANA})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, GRAFANA)
    for origin in ("https://evil.example.org", "null", GRAFANA + ".evil.org"):
        assert ask_first(asked, origin).status == 403
        other = asked.request("GET", "/version", {"Origin": origin, **basic("bob", "x")})
        assert "access-control-allow-origin" not in other.headers
        assert "Origin" in other.headers["vary"]
    asked.catalog.close()


def test_a_star_lets_every_page_ask_but_not_with_passwords():
    headers = dict(Origins(["*"]).headers("https://any.example.org"))
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers
    assert Origins(["*"]).preflight(None) is not None
