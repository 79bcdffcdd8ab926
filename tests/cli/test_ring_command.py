"""``carbonpy ring`` as a person and a script use it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from carbonpy.cli.main import main

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
THREE = "10.0.0.1:2004,10.0.0.2:2004,10.0.0.3:2004"
FOUR = THREE + ",10.0.0.4:2004"


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert main(["ring", *words]) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes its argument standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize("diverse", ["True", "False"])
def test_where_answers_as_carbon_places(diverse: str, capsys: pytest.CaptureFixture[str], typed: Any) -> None:
    for case in json.loads((VECTORS / "carbon_python_rings.json").read_text())["cases"]:
        if case["relay_method"] != "consistent-hashing":
            continue
        expected = case["result"][f"rf2_diverse_{diverse}"]
        typed("".join(f"{name} 1 1700000000\n" for name in expected))
        out, _ = said(
            capsys, "where", "--json", "--destinations", ",".join(case["destinations"]), "--replication", "2",
            "--type", case["router_hash_type"], "--diverse-replicas", diverse.lower(), "-",
        )  # fmt: skip
        assert objects(out) == [{"metric": name, "destinations": to} for name, to in expected.items()]


def test_where_answers_as_carbon_c_relay_places_without_being_told_about_hosts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for case in json.loads((VECTORS / "carbon_c_relay_rings.json").read_text())["cases"]:
        kind = case["cluster_type"]
        if kind == "any_of":
            continue
        destinations = ",".join(server.replace("=", ":") for server in case["servers"])
        kind = kind if kind == "jump_fnv1a_ch" else f"{kind}:c-relay"
        expected = case["result"]["replication2"]
        out, _ = said(
            capsys, "where", "--json", "--destinations", destinations, "--replication", "2", "--type", kind, *expected
        )
        placed = {
            answer["metric"]: [":".join(to.split(":")[:2]) for to in answer["destinations"]] for answer in objects(out)
        }
        assert placed == expected


def test_where_reads_a_carbon_conf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "carbon.conf"
    config.write_text(
        f"[relay]\nRELAY_METHOD = consistent-hashing\nREPLICATION_FACTOR = 2\nDESTINATIONS = {THREE}\n"
        "[relay:b]\nROUTER_HASH_TYPE = fnv1a_ch\n"
    )
    by_config = said(capsys, "where", "--config", str(config), "a.b.c.d", "x")
    assert by_config == said(capsys, "where", "--destinations", THREE, "--replication", "2", "a.b.c.d", "x")
    assert by_config == ("a.b.c.d  10.0.0.3:2004 10.0.0.2:2004\nx  10.0.0.2:2004 10.0.0.1:2004\n", "")
    _, warned = said(capsys, "where", "--config", str(config), "--instance", "b", "x")
    assert "fnv1a_ch hashes instances and not hosts" in warned


def test_where_reads_clusters_and_routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "carbonpy.yaml"
    config.write_text(
        "relay:\n  clusters:\n    a: {type: carbon_ch, servers: ['10.0.0.1:1', '10.0.0.2:1']}\n"
        "  routes: [{match: '^a', send_to: a}]\n"
    )
    out, _ = said(capsys, "where", "--config", str(config), "a", "b")
    alone, _ = said(capsys, "where", "--destinations", "10.0.0.1:1,10.0.0.2:1", "a")
    assert out == alone + "b  (nowhere)\n"
    out, _ = said(capsys, "show", "--config", str(config), "--json")
    assert [(ring["ring"], ring["type"]) for ring in objects(out)] == [("a", "carbon_ch")]


def test_show_has_the_ring_with_its_shares(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "show", "--destinations", THREE, "--points")
    lines = out.splitlines()
    assert lines[0] == "carbon_ch: carbon_ch, 1 copy"
    assert lines[1].startswith("10.0.0.1:2004  29.30% #")
    assert lines[4:6] == ["        259  10.0.0.3:2004", "        437  10.0.0.2:2004"]
    assert len(lines) == 4 + 300
    assert err == ""
    (ring,) = objects(said(capsys, "show", "--destinations", THREE, "--points", "--json")[0])
    assert ring["points"][:2] == [[259, "10.0.0.3:2004"], [437, "10.0.0.2:2004"]]
    assert sum(one["share"] for one in ring["destinations"]) == pytest.approx(1)


def test_diff_says_what_moves(capsys: pytest.CaptureFixture[str]) -> None:
    (answer,) = objects(said(capsys, "diff", "--json", THREE, FOUR)[0])
    assert 0.2 < answer["moved"] < 0.35
    assert answer["names_touched"] == answer["moved"]
    gained = {one["destination"]: one["gained"] for one in answer["destinations"]}
    assert {one for one, part in gained.items() if part} == {"10.0.0.4:2004"}
    assert gained["10.0.0.4:2004"] == pytest.approx(sum(one["lost"] for one in answer["destinations"]))
    named = said(capsys, "diff", "--json", "--destinations", THREE, "--destinations", FOUR)
    assert objects(named[0]) == [answer]
    out, _ = said(capsys, "diff", THREE, FOUR)
    assert out.splitlines()[0].startswith("of 20000 names (made up; give your own with --names) 28.")


def test_diff_with_fast_hashing_moves_three_quarters(capsys: pytest.CaptureFixture[str]) -> None:
    (answer,) = objects(said(capsys, "diff", "--json", "--type", "fast", THREE, FOUR)[0])
    assert 0.7 < answer["moved"] < 0.8


def test_diff_of_the_same_is_nothing_and_of_another_copy_is_half(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (answer,) = objects(said(capsys, "diff", "--json", THREE, THREE)[0])
    assert answer["moved"] == answer["names_touched"] == 0
    (answer,) = objects(said(capsys, "diff", "--json", "--new-replication", "2", THREE, THREE)[0])
    assert (answer["moved"], answer["names_touched"]) == (0.5, 1.0)
    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    for path, kind in ((old, "carbon_ch"), (new, "mmh3_ch")):
        path.write_text(
            f"[relay]\nRELAY_METHOD = consistent-hashing\nROUTER_HASH_TYPE = {kind}\nDESTINATIONS = {THREE}\n"
        )
    names = tmp_path / "names"
    names.write_text("".join(f"a.b.c{number}\n" for number in range(500)))
    by_file = said(capsys, "diff", "--json", "--names", str(names), str(old), str(new))
    assert by_file == said(capsys, "diff", "--json", "--names", str(names), "--new-type", "mmh3_ch", THREE, THREE)
    assert objects(by_file[0])[0]["names"] == 500


def test_balance_counts_names_and_copies(capsys: pytest.CaptureFixture[str], typed: Any) -> None:
    typed("".join(f"a.b{number}.c 1 1\n" for number in range(1000)))
    out, err = said(capsys, "balance", "--json", "--destinations", THREE, "--replication", "2", "-")
    assert sum(one["names"] for one in objects(out)) == 2000
    assert sum(one["primary"] for one in objects(out)) == pytest.approx(1)
    assert err == ""
    out, err = said(capsys, "balance", "--destinations", THREE, "--type", "fnv1a_ch")
    assert out.splitlines()[0] == (
        "20000 names (made up; give your own with -), 1 destinations each; what part of them each gets:"
    )
    assert out.splitlines()[1].startswith("10.0.0.1:2004  99.")
    assert "nearly all names of these go to the first" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["where", "x"], "carbonpy ring: give either --config FILE or --destinations A,B,..."),
        (["where", "--destinations", "h", "x"], "carbonpy ring: destinations: 'h' has no port; write host:port or"),
        (["where", "--destinations", "h:1", "--type", "md5", "x"], "carbonpy ring: --type md5: there is no such ring;"),
        (["where", "--destinations", "h:1", "--replication", "0", "x"], "carbonpy ring: --replication 0: there is"),
        (["where", "--destinations", "h:1,h:2", "x"], "carbonpy ring: h:1 and h:2 are the same host and instance"),
        (["where", "--config", "/no/such", "x"], "carbonpy ring: /no/such: cannot be read: No such file"),
        (["diff", "/no/such", "h:1"], "carbonpy ring: /no/such: there is no such file; give a configuration, or "),
        (["diff", "--names", "/no/such", "h:1", "h:1"], "carbonpy ring: /no/such: cannot be read: "),
    ],
)
def test_what_cannot_be_asked_is_one_line(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = said(capsys, *words, code=2)
    assert err.startswith(sentence)
    assert len(err.splitlines()) == 1
