"""carbon.conf means to carbonpy what it means to carbon: generated files, carbon's own example, both asked."""

from __future__ import annotations

import importlib.metadata
import os
import random
import sys
from pathlib import Path

import pytest
from support.carbon_oracle import ask

from carbonpy.errors import ConfigError
from carbonpy.settings import load
from carbonpy.settings.loading import rows_of

PLACES = ("STORAGE_DIR", "CONF_DIR", "LOCAL_DATA_DIR", "LOG_DIR", "PID_DIR")
#: Rules files, which lie in CONF_DIR.
RULES = ("AGGREGATION_RULES", "REWRITE_RULES")
PLACE_VALUES = ("/srv/g", "/srv//g/../h/", "%(STORAGE_DIR)s/x", "%(storage_dir)s", "~/g", "relative/g")
VALUES = {
    "MAX_CACHE_SIZE": ("inf", "1000000", "5e6"),
    "MAX_UPDATES_PER_SECOND": ("500", "0.5", "inf"),
    "MAX_CREATES_PER_MINUTE": ("50", "inf"),
    "MIN_TIMESTAMP_RESOLUTION": ("1", "10"),
    "LINE_RECEIVER_PORT": ("2003", "0"),
    "LINE_RECEIVER_INTERFACE": ("127.0.0.1", "0.0.0.0", "::"),
    "ENABLE_UDP_LISTENER": ("True", "yes", "off", "0"),
    "USE_FLOW_CONTROL": ("no", "ON"),
    "CACHE_WRITE_STRATEGY": ("max", "sorted"),
    "USER": ("", "carbon"),
    "CARBON_METRIC_PREFIX": ("carbon", "100%%.x"),
    "WHISPER_AUTOFLUSH": ("true",),
}


def generated(choose: random.Random) -> str:
    lines = ["# a carbon.conf"]
    for section in choose.sample(("cache", "cache:b", "relay", "DEFAULT"), k=choose.randint(1, 4)):
        lines.append(f"[{section}]")
        for name in choose.sample(PLACES, k=choose.choice((0, 0, 1, 2, 4))):
            values = PLACE_VALUES[:2] if name == "STORAGE_DIR" else PLACE_VALUES
            lines.append(f"{choose.choice((name, name.lower()))} = {choose.choice(values)}")
        for name in choose.sample(sorted(VALUES), k=choose.choice((0, 1, 5))):
            lines.append(f"{name}{choose.choice((' = ', ': ', '='))}{choose.choice(VALUES[name])}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "environ",
    [
        {"GRAPHITE_ROOT": "/opt/graphite"},
        {"GRAPHITE_ROOT": "/r", "GRAPHITE_STORAGE_DIR": "/var/lib//graphite", "GRAPHITE_CONF_DIR": "/etc/elsewhere"},
    ],
)
def test_generated_files_give_the_values_and_places_that_carbon_gives(tmp_path: Path, environ: dict[str, str]) -> None:
    choose = random.Random(5)
    questions = [(generated(choose), choose.choice(("a", "b", "b", ""))) for _ in range(300)]
    answers = ask({"settings": questions}, tmp_path, environ)["settings"]
    path = tmp_path / "carbon.conf"
    compared = 0
    for (text, instance), expected in zip(questions, answers, strict=True):
        path.write_text(text)
        if isinstance(expected, str):
            assert "interpolation key" in expected  # STORAGE_DIR where the section does not set it; works here
            load(str(path), instance=instance, environ=environ)
            continue
        settings = load(str(path), instance=instance, environ=environ)
        for name in (*PLACES, *VALUES):
            mine = getattr(settings.cache, name.lower())
            if name in PLACES:
                assert mine == os.path.normpath(os.path.expanduser(expected[name])), f"{name} of {instance!r}\n{text}"
            elif name.lower() in text.lower() and ("cache", name) in settings.origins:
                theirs = float(expected[name]) if name.startswith("M") else expected[name]
                assert mine == theirs, f"{name} of {instance!r}\n{text}"
                compared += 1
        assert settings.pidfile == os.path.normpath(os.path.expanduser(expected["pidfile"]))
    assert compared > 200


def example_of_carbon() -> Path:
    """The carbon.conf.example that comes with the package."""
    files = [Path(str(f.locate())) for f in importlib.metadata.files("carbon") or () if f.name == "carbon.conf.example"]
    return next(path for path in (*files, Path(sys.prefix, "conf", "carbon.conf.example")) if path.exists())


def test_the_example_of_carbon_is_read_as_it_is_without_a_warning() -> None:
    settings = load(str(example_of_carbon()), environ={})
    assert settings.warnings == []
    assert settings.cache.max_cache_size == float("inf")
    assert settings.cache.cache_query_interface == "0.0.0.0"
    assert settings.cache.whisper_fallocate_create is True
    assert settings.cache.line_receiver_port == 2003 and settings.web.http_port == 8080


def test_the_defaults_are_those_of_the_example_but_for_what_is_said_here(tmp_path: Path) -> None:
    text = example_of_carbon().read_text().partition("#[cache:b]")[0]
    active = tmp_path / "carbon.conf"
    lines = []
    for line in text.splitlines():
        name, equals, _ = line.lstrip("# ").partition(" = ")
        known = equals and name in {setting.name for setting in rows_of("cache")} and name not in PLACES + RULES
        lines.append(line.lstrip("# ") if known else "" if line.startswith("#") else line)
    active.write_text("\n".join(lines))
    theirs, ours = load(str(active), environ={}), load(None, environ={})
    differing = {s.name for s in rows_of("cache") if s.name not in PLACES + RULES and theirs.value(s) != ours.value(s)}
    assert differing == {
        "MAX_CACHE_SIZE",
        "MAX_CREATES_PER_MINUTE",
        "MAX_UPDATES_PER_SECOND_ON_SHUTDOWN",
        "CACHE_QUERY_INTERFACE",
        "WHISPER_SPARSE_CREATE",
        "WHISPER_FALLOCATE_CREATE",
        "PROTOBUF_RECEIVER_PORT",
    }


@pytest.mark.parametrize(
    "line",
    ["MAX_UPDATES_PER_SECOND = 0", "DATABASE = ceres", "CACHE_WRITE_STRATEGY = fastest", "ENABLE_UDP_LISTENER = x"],
)
def test_what_ends_or_breaks_carbon_is_an_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "carbon.conf"
    path.write_text(f"[cache]\n{line}\n")
    with pytest.raises(ConfigError) as raised:
        load(str(path))
    assert str(raised.value).startswith(f"{path}:2 [cache] {line}: must be ")
