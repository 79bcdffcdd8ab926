"""``carbonpy relay convert``: from carbon-c-relay's configuration to a relay of ours that can be tried."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from carbonpy.cli.main import main

CONFIG = r"""
include {home}/clusters.*;
rewrite ^old\.(.*) into it''s.\_1;
match ^carbon send to blackhole;
match * send to ring;
listen type linemode 2103 proto tcp;
""".replace("''", "'")


def test_what_is_converted_can_be_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clusters.conf").write_text("cluster ring jump_fnv1a_ch 10.0.0.1=1 10.0.0.2=2 10.0.0.3=3;\n")
    (tmp_path / "relay.conf").write_text(CONFIG.replace("{home}", str(tmp_path)))
    assert main(["relay", "convert", str(tmp_path / "relay.conf")]) == 0
    converted = capsys.readouterr()
    assert converted.err == ""
    (tmp_path / "carbonpy.yaml").write_text(converted.out)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"old.WEB\ncarbon.x\na..b\n")))
    assert main(["relay", "test", "--config", str(tmp_path / "carbonpy.yaml")]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["sent_as"], one["dropped"]) for one in said] == [
        ("it's.web", None), (None, "blackholed"), ("a.b", None),
    ]  # fmt: skip
    assert (
        main(["ring", "where", "--type", "jump_fnv1a_ch", "--destinations", _three(), "--json", "a.b", "it's.web"]) == 0
    )
    where = [json.loads(line)["destinations"] for line in capsys.readouterr().out.splitlines()]
    assert where == [said[2]["destinations"], said[0]["destinations"]]


def _three() -> str:
    return ",".join(f"10.0.0.{number}:2003:{number}" for number in (1, 2, 3))


def test_what_cannot_be_converted_is_said_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "relay.conf"
    path.write_text("cluster a forward h:1;\nmatch * send to b;\n")
    assert main(["relay", "convert", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"carbonpy relay: {path}:2: there is no cluster 'b' above; define it before it is used\n"
    )
