"""``carbonpy delete``, ``rename`` and ``expire``: offline on a tree, and through a daemon that wants a password."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from support.running import RunningDaemon
from support.whole import balanced, file_of, lines, rendered

from carbonpy.catalog import Catalog
from carbonpy.cli.main import main
from carbonpy.errors import ConfigError
from carbonpy.metric import relative_path
from carbonpy.rules.expiry import ExpiryBook
from carbonpy.web.access import hashed
from carbonpy.whisper import file as whisper_file

DAY = 86400
METRICS = {"a.old": 40, "a.new": 1, "b.old": 40, "keep.old": 40, "t;x=1": 40, "empty.file": None}


class Tree:
    """A tree with a configuration and a catalogue, and no daemon."""

    def __init__(self, top: Path) -> None:
        self.config = top / "carbon.conf"
        self.config.write_text(f"[cache]\nSTORAGE_DIR = {top / 'storage'}\n")
        (top / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1d:1y\n")
        self.root = top / "storage" / "whisper"
        self.catalog_path = top / "storage" / "catalog-a.sqlite"
        now = int(time.time())
        for metric, days in METRICS.items():
            path = self.root / relative_path(metric)
            path.parent.mkdir(parents=True, exist_ok=True)
            whisper_file.create(str(path), [(DAY, 365)])
            if days is not None:
                fd = os.open(path, os.O_RDWR)
                whisper_file.write_points(fd, whisper_file.read_header(fd), [now - days * DAY], [1.0], now)
                os.close(fd)
        catalog = Catalog(str(self.catalog_path))
        catalog.add(METRICS)
        catalog.close()

    def run(self, *words: str) -> int:
        return main([*words, "--config", str(self.config)])

    def names(self) -> set[str]:
        catalog = Catalog(str(self.catalog_path))
        try:
            return set(catalog.metrics())
        finally:
            catalog.close()

    def files(self) -> set[str]:
        return {metric for metric in [*METRICS, "c.d"] if (self.root / relative_path(metric)).exists()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_patterns_are_shown_and_deleted_with_their_names(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert tree.run("delete", "--dry-run", "*.old") == 0
    assert sorted(capsys.readouterr().out.split()) == ["a.old", "b.old", "keep.old"]
    assert tree.files() == set(METRICS)
    assert tree.run("delete", "--yes", "--json", "{a,b}.old", "t;x=1", "no.such") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["metric"]: one["what"] for one in told} == {
        "a.old": "deleted", "b.old": "deleted", "t;x=1": "deleted", "no.such": "absent",
    }  # fmt: skip
    assert tree.files() == tree.names() == {"a.new", "keep.old", "empty.file"}
    assert not (tree.root / "b").exists()
    assert tree.run("delete", "--yes", "nothing.*") == 1


def test_a_pattern_needs_a_yes(tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert tree.run("delete", "*.old") == 1
    assert "say --yes" in capsys.readouterr().err
    assert tree.files() == set(METRICS)


def test_another_tree_has_no_catalogue(tree: Tree, tmp_path: Path) -> None:
    assert main(["delete", "--yes", "--tree", str(tree.root), "*.old", "--config", str(tree.config)]) == 0
    assert "a.old" not in tree.files()
    assert "a.old" in tree.names()


def test_rename_moves_file_and_name_and_replaces_nothing(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert tree.run("rename", "b.old", "c.d") == 0
    assert "c.d" in tree.files()
    assert tree.names() == {*METRICS, "c.d"} - {"b.old"}
    assert not (tree.root / "b").exists()
    assert tree.run("rename", "a.old", "a.new") == 1
    assert "exists already" in capsys.readouterr().err
    assert tree.run("rename", "no.such", "x.y") == 1
    assert tree.run("rename", "a.old", "a\nb") == 1


def test_expire_shows_then_deletes_by_the_first_rule_that_matches(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "expiry.conf"
    rules.write_text("[k]\npattern = ^keep\nafter = never\n[all]\npattern = .\nafter = 30d\n")
    assert tree.run("expire", "--rules", str(rules), "--json") == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["metric"] for one in shown} == {"a.old", "b.old", "t;x=1"}
    assert all(abs(time.time() - 40 * DAY - one["last"]) < 2 * DAY for one in shown)
    assert tree.files() == set(METRICS)
    assert tree.run("expire", "--rules", str(rules), "--delete", "--quiet") == 0
    assert tree.files() == tree.names() == {"a.new", "keep.old", "empty.file"}


def test_a_file_without_points_counts_from_its_last_write(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree.root / "empty" / "file.wsp"
    os.utime(path, (time.time() - 50 * DAY,) * 2)
    assert tree.run("expire", "--pattern", "^(empty|a)", "--after", "45d") == 0
    assert capsys.readouterr().out.split()[0] == "empty.file"
    assert tree.run("expire", "--pattern", "^empty", "--after", "45d", "--by", "written", "--delete") == 0
    assert not path.exists()
    assert tree.run("expire", "--pattern", "a", "--after", "soon") == 2


def test_what_is_wrong_with_rules_is_said_with_its_line() -> None:
    text = "[a]\npattern = (\nafter = 7d\n[b]\npattern = x\n[c]\npattern = x\nafter = 1d\nby = guess\n[d]\nfoo = 1\n"
    with pytest.raises(ConfigError) as caught:
        ExpiryBook.parse(text, "e.conf")
    for words in ("e.conf:1 [a] not a regular", "e.conf:4 [b] needs", "e.conf:9 [c] by = guess", "e.conf:11 [d] foo"):
        assert words in str(caught.value)


def test_through_a_daemon_that_wants_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed('secret')}\n")
    web = {"HTTP_AUTH_FILE": users, "HTTP_INTERFACE": "0.0.0.0"}
    daemon = RunningDaemon(tmp_path / "d", {"SWEEP_INTERVAL": 0.2}, web_extra=web).start()
    config = ["--config", str(daemon.config_path)]
    web_user = {"Authorization": "Basic YW5uOnNlY3JldA=="}
    try:
        start = int(time.time()) - 100
        daemon.send_lines(lines(["p.one", "p.two"], start, 5))
        assert main(["delete", "--yes", "--offline", "p.one", *config]) == 1
        assert "a daemon runs" in capsys.readouterr().err
        assert main(["delete", "--yes", "p.one", *config]) == 1
        assert "name and a password" in capsys.readouterr().err
        monkeypatch.setenv("CARBONPY_PASSWORD", "secret")
        monkeypatch.setattr(RunningDaemon, "get", _with(web_user))
        daemon.wait_until_written(10)
        assert main(["delete", "--yes", "--user", "ann", "p.one", *config]) == 0
        assert main(["rename", "--user", "ann", "p.two", "q.two", *config]) == 0
        assert not file_of(daemon, "p.one").exists()
        assert rendered(daemon, "q.two", start, 5) == [0, 1, 2, 3, 4]
        assert main(["expire", "--user", "ann", "--pattern", "^q", "--after", "1s", "--delete", *config]) == 0
        assert not file_of(daemon, "q.two").exists()
        balanced(daemon.ledger())
    finally:
        daemon.terminate()


def _with(headers: dict[str, str]):  # type: ignore[no-untyped-def]
    """`RunningDaemon.get` with some headers."""
    import http.client

    def get(self: RunningDaemon, path: str, timeout: float = 20.0) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    return get
