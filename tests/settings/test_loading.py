"""Which value wins, what is told about the rest, and what a loaded Settings can say about itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbonpy.errors import ConfigError
from carbonpy.settings import compare, load, reloaded
from carbonpy.settings.kinds import Choice, Flag, Number, Port
from carbonpy.settings.loading import rows_of
from carbonpy.settings.unsupported import RELAY_UNSUPPORTED, UNSUPPORTED


def written(tmp_path: Path, text: str, name: str = "carbon.conf") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_the_command_line_wins_over_the_instance_and_that_over_the_section(tmp_path: Path) -> None:
    path = written(tmp_path, "[cache]\nGATHER_SIZE = 2000\nMAX_METRICS = 5\n[cache:a]\nGATHER_SIZE = 3000\n")
    assert load(path).cache.gather_size == 3000
    assert load(path, instance="b").cache.gather_size == 2000
    assert load(path, overrides={"gather_size": "4000"}).cache.gather_size == 4000
    assert load(path).cache.max_metrics == 5
    assert load(path).cache.max_name_length == 2048


def test_the_order_of_sections_in_the_file_does_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path, "[cache:a]\nGATHER_SIZE = 3000\n[cache]\nGATHER_SIZE = 2000\n")
    assert load(path).cache.gather_size == 3000


def test_yaml_says_the_same_in_lower_case(tmp_path: Path) -> None:
    text = """\
cache:
  max_cache_size: inf
  line_receiver_interface: "::"
  journal: no
  metric_client_idle_timeout:
  user:
web:
  http_port: 8081
instances:
  b:
    cache: {line_receiver_port: 2103}
    web: {http_port: 8082}
  7:
    cache: {line_receiver_port: 2203}
"""
    path = written(tmp_path, text, "carbonpy.yaml")
    a, b = load(path), load(path, instance="b")
    assert a.warnings == b.warnings == []
    assert (a.cache.max_cache_size, a.cache.line_receiver_interface, a.cache.journal) == (float("inf"), "::", False)
    assert (a.cache.metric_client_idle_timeout, a.cache.user) == (None, "")
    assert (a.cache.line_receiver_port, b.cache.line_receiver_port) == (2003, 2103)
    assert (a.web.http_port, b.web.http_port) == (8081, 8082)
    assert load(path, instance="7").cache.line_receiver_port == 2203


@pytest.mark.parametrize("text", ["", "# nothing\n", "cache:\nweb:\n", "cache:\n  # gather_size: 3\n"])
def test_an_empty_yaml_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text, "carbonpy.yml")
    assert load(path).cache.gather_size == 262144 and load(path).warnings == []


def test_every_problem_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[cache]\nLINE_RECEIVER_PORT = 70000\nJOURNAL_FSYNC = always\n[web]\nTIME_ZONE = Nowhere\n"
        "[cache:b]\nJOURNAL = x\n",
    )
    with pytest.raises(ConfigError) as raised:
        load(path, overrides={"GATHER_SIZE": "-1"})
    assert str(raised.value).splitlines() == [
        f"{path}:2 [cache] LINE_RECEIVER_PORT = 70000: must be a port from 1 to 65535, or 0 for none",
        f"{path}:3 [cache] JOURNAL_FSYNC = always: must be one of never, interval, batch",
        f"{path}:5 [web] TIME_ZONE = Nowhere: must be a time zone like UTC or Europe/Berlin; "
        "this machine knows no such zone",
        "command line: GATHER_SIZE = -1: must be a whole number of bytes from 1024 to 1073741824",
    ]


def test_yaml_problems_have_lines_too(tmp_path: Path) -> None:
    path = written(tmp_path, "cache:\n  journal: 7\n\ninstances:\n  a:\n    cache:\n      gather_size: [1]\n", "c.yaml")
    with pytest.raises(ConfigError) as raised:
        load(path)
    first, second = str(raised.value).splitlines()
    assert first == f"{path}:2 [cache] journal = 7: must be True or False"
    assert second.startswith(f"{path}:7 [cache:a] gather_size = [1]: must be ")


def test_an_unknown_key_is_one_warning_with_its_line_and_a_guess(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[cache]\n\nMAX_CACHESIZE = 5\nFOO = 1\nHTTP_PORT = 1\n[web]\nUSER = x\n[cash]\nx = 1\n[relay]\ny = 2\n",
    )
    assert load(path).warnings == [
        f"{path}:8 [cash] is not read; the sections are [cache] with [cache:INSTANCE] and [web] with [web:INSTANCE]",
        f"{path}:3 [cache] MAX_CACHESIZE: unknown, so it is not used; did you mean MAX_CACHE_SIZE?",
        f"{path}:4 [cache] FOO: unknown, so it is not used; remove it or check its spelling",
        f"{path}:5 [cache] HTTP_PORT: not a setting of [cache], so it is not used; move it to [web]",
        f"{path}:7 [web] USER: only carbonpy web uses it here; carbonpy cache takes that of [cache]",
    ]


def test_what_carbon_knows_and_carbonpy_does_not_is_one_warning_each_with_advice(tmp_path: Path) -> None:
    path = written(tmp_path, "[cache]\n" + "".join(f"{name} = True\n" for name in UNSUPPORTED))
    warnings = load(path).warnings
    assert len(warnings) == len(UNSUPPORTED)
    for number, (name, warning) in enumerate(zip(UNSUPPORTED, warnings), start=2):
        assert warning == f"{path}:{number} [cache] {name}: not supported: {UNSUPPORTED[name]}"


def test_a_setting_is_in_the_table_or_unsupported_but_not_both() -> None:
    assert not {setting.name for setting in rows_of("cache")} & set(UNSUPPORTED)
    assert not {setting.name for setting in rows_of("relay") + rows_of("aggregator")} & set(RELAY_UNSUPPORTED)


def test_the_insecure_unpickler_is_warned_of_only_when_it_is_wanted(tmp_path: Path) -> None:
    assert load(written(tmp_path, "[cache]\nUSE_INSECURE_UNPICKLER = False\n")).warnings == []
    (warning,) = load(written(tmp_path, "[cache]\nUSE_INSECURE_UNPICKLER = True\n")).warnings
    assert ":2 [cache] USE_INSECURE_UNPICKLER: pickles are never executed" in warning


def test_what_all_sections_inherit_is_warned_of_once(tmp_path: Path) -> None:
    path = written(tmp_path, "[DEFAULT]\nFOO = 1\n[cache]\n[cache:a]\nGATHER_SIZE = 2000\n")
    assert len(load(path).warnings) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [("cache:\n  a: 1\n  a: 2\n", 3), ("cache:\n  JOURNAL: 1\n  journal: 1\n", 3), ("cache: {}\ncache: {}\n", 2),
     ("cache: [\n", 2), ("cache: 5\n", 1), ("- a\n", 1), ("a: &x 1\n--- \nb: 2\n", 2), ("a: 1\nb: \1", 2),
     ("cache:\n\t- x", 2), ("instances: [a]\n", 1), ("cache:\n  http_interface: ::\n", 2),
     ("cache: {[1]: 2}\n", 1), ("\0", 1)],
)  # fmt: skip
def test_yaml_that_cannot_be_used_is_an_error_with_a_line(tmp_path: Path, text: str, line: int) -> None:
    path = written(tmp_path, text, "c.yaml")
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert str(raised.value).splitlines()[0].startswith(f"{path}:{line}")


def test_yaml_never_makes_objects(tmp_path: Path) -> None:
    marker = tmp_path / "made"
    path = written(tmp_path, f"cache:\n  user: !!python/object/apply:pathlib.Path.touch [{marker}]\n", "c.yaml")
    with pytest.raises(ConfigError, match=":2: not YAML: could not determine a constructor"):
        load(path)
    assert not marker.exists()


def test_yaml_may_merge_mappings(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "cache: &c\n  gather_size: 2000\ninstances:\n  b:\n    cache:\n      <<: *c\n      max_metrics: 9\n",
        "c.yaml",
    )
    b = load(path, instance="b")
    assert (b.cache.gather_size, b.cache.max_metrics) == (2000, 9)


PIECES = (
    "[cache]", "[cache:a]", "[web", "]", "cache:", "web:", "instances:", "a:", "journal", "x", "1", "é", "\n", "\n",
    "\n  ", " ", "=", ": ", "- ", "&a ", "*a", "<<: ", "{", "}", "[", ",", "%", "%(x)s", "'", '"', "#", "? ", "|", ">",
    "!!int ", "!!float ", "!!binary ", "!!timestamp ", "!!set ", "!!bool ", "\0", "\x0c", "\x85", "\ufeff", "\t", "\r",
)  # fmt: skip


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(), yaml=st.booleans())
def test_any_file_is_read_or_refused_with_sentences_of_one_line(tmp_path: Path, text: str, yaml: bool) -> None:
    path = tmp_path / ("c.yaml" if yaml else "c.conf")
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    try:
        sentences = load(str(path)).warnings
    except ConfigError as error:
        sentences = str(error).splitlines()
        assert sentences
    assert all(sentence.startswith(str(path)) and sentence.isprintable() for sentence in sentences)


def test_a_missing_file_and_one_that_is_not_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load(str(tmp_path / "none.conf"))
    (tmp_path / "c.conf").write_bytes(b"[cache]\xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 7"):
        load(str(tmp_path / "c.conf"))


def test_places_follow_the_environment_and_the_file(tmp_path: Path) -> None:
    bare = load(None, environ={})
    assert bare.cache.local_data_dir == "/opt/graphite/storage/whisper"
    assert bare.files.schemas == "/opt/graphite/conf/storage-schemas.conf"
    moved = load(None, instance="b", environ={"GRAPHITE_ROOT": "/g", "GRAPHITE_STORAGE_DIR": "/s"})
    assert moved.pidfile == "/s/carbon-cache-b.pid"
    assert moved.cache.log_dir == "/s/log/carbon-cache/carbon-cache-b"
    assert moved.cache.journal_dir == "/s/journal/b"
    assert moved.cache.catalog_file == "/s/catalog-b.sqlite"
    assert moved.files.whitelist == "/g/conf/whitelist.conf"
    beside = load(
        written(tmp_path, "[cache]\nLOCAL_DATA_DIR = %(STORAGE_DIR)s/w\n"), environ={"GRAPHITE_STORAGE_DIR": "/s%d"}
    )
    assert beside.cache.local_data_dir == "/s%d/w"
    assert beside.files.schemas == str(tmp_path / "storage-schemas.conf")


def test_an_instance_may_refer_to_what_the_section_for_all_says(tmp_path: Path) -> None:
    path = written(tmp_path, "[cache]\nSTORAGE_DIR = /s\n[cache:b]\nLOG_DIR = %(STORAGE_DIR)s/logs\n")
    assert load(path, instance="b").cache.log_dir == "/s/logs/carbon-cache-b"


def test_the_command_line_names_places_exactly(tmp_path: Path) -> None:
    options = {
        "logdir": "/l",
        "PIDFILE": "/p/x.pid",
        "whitelist": "/w.conf",
        "blacklist": "/b.conf",
        "storage_dir": "/s",
    }
    found = load(None, overrides=options)
    assert (found.cache.log_dir, found.pidfile) == ("/l", "/p/x.pid")
    assert (found.files.whitelist, found.files.blacklist) == ("/w.conf", "/b.conf")
    assert (found.cache.storage_dir, found.cache.local_data_dir) == ("/s", "/s/whisper")


def test_a_second_instance_has_no_http_port_unless_it_is_given_one(tmp_path: Path) -> None:
    b = load(written(tmp_path, "[cache:b]\nLINE_RECEIVER_PORT = 2103\n"), instance="b")
    assert b.web.http_port == 0 and "has no HTTP_PORT of its own" in b.warnings[0]
    own = load(written(tmp_path, "[web:b]\nHTTP_PORT = 8081\n"), instance="b")
    assert own.web.http_port == 8081 and own.warnings == []


@pytest.mark.parametrize("instance", ["a/b", "..", "a\0"])
def test_an_instance_that_cannot_be_part_of_a_file_name_is_refused(instance: str) -> None:
    with pytest.raises(ConfigError, match="cannot be part of a file's name"):
        load(None, instance=instance)


def test_an_unknown_name_on_the_command_line_is_an_error() -> None:
    with pytest.raises(
        ConfigError, match="command line: MAX_METRIC: unknown, so it is not used; did you mean MAX_METRICS"
    ):
        load(None, overrides={"max_metric": 5})


def test_settings_cannot_be_changed_and_name_what_they_do_not_have() -> None:
    found = load(None)
    with pytest.raises(AttributeError, match="load them again"):
        found.cache.gather_size = 5
    with pytest.raises(AttributeError, match=r"no setting GATHER_SIZ in \[cache\]"):
        _ = found.cache.gather_siz


def test_comparing_tells_what_takes_effect_and_what_needs_a_restart(tmp_path: Path) -> None:
    old = load(None, environ={})
    new = load(None, environ={}, overrides={"MAX_CACHE_SIZE": "inf", "LINE_RECEIVER_PORT": 2103, "STORAGE_DIR": "/s"})
    changes = compare(old, new)
    assert [str(change) for change in changes.reload] == ["[cache] MAX_CACHE_SIZE = inf (was 5000000)"]
    names = [change.setting.name for change in changes.restart]
    assert names == [
        "STORAGE_DIR",
        "LOCAL_DATA_DIR",
        "CATALOG_FILE",
        "LOG_DIR",
        "PID_DIR",
        "LINE_RECEIVER_PORT",
        "JOURNAL_DIR",
        "EVENTS_FILE",
    ]
    assert changes and not compare(old, old)


def test_the_web_program_has_places_and_a_port_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, "[cache]\nSTORAGE_DIR = /s\n[web]\nCLUSTER_SERVERS = a:8080\n")
    web = load(path, program="web", instance="b")
    assert (web.pidfile, web.cache.log_dir) == ("/s/carbon-web-b.pid", "/s/log/carbon-cache/carbon-web-b")
    assert (web.web.http_port, web.web.cluster_servers, web.warnings) == (8080, ("http://a:8080",), [])
    assert (web.cache.local_data_dir, web.web.events_file) == ("/s/whisper", "/s/events.sqlite")
    with pytest.raises(ConfigError, match="the programs are cache, aggregator-cache, web, relay, aggregator"):
        load(path, program="mail")


def test_a_relay_reads_its_own_section_and_has_places_of_its_own(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[cache]\nSTORAGE_DIR = /c\nLINE_RECEIVER_PORT = nonsense\n"
        "[relay]\nSTORAGE_DIR = /s\nDESTINATIONS = h:1:a, g:2\n"
        "RELAY_RULES = other.conf\nUSE_FLOW_CONTROL = True\n[relay:b]\nHTTP_PORT = 88\n[aggregator]\nFORWARD_ALL = x\n",
    )
    a, b = load(path, program="relay"), load(path, program="relay", instance="b")
    assert (a.relay.destinations, a.relay.line_receiver_port, a.relay.http_port) == (("h:1:a", "g:2"), 2013, 8081)
    assert (a.pidfile, a.relay.spool_dir) == ("/s/carbon-relay-a.pid", "/s/spool/relay-a")
    assert a.relay.log_dir == "/s/log/carbon-relay/carbon-relay-a"
    assert (a.relay.relay_rules, a.relay.rewrite_rules) == (f"{tmp_path}/other.conf", f"{tmp_path}/rewrite-rules.conf")
    assert (b.http.http_port, b.own) == (88, b.relay)
    assert a.warnings == [f"{path}:8 [relay] USE_FLOW_CONTROL: not supported: {RELAY_UNSUPPORTED['USE_FLOW_CONTROL']}"]
    with pytest.raises(ConfigError, match="FORWARD_ALL = x: must be True or False"):
        load(path, program="aggregator")
    assert load(None, program="aggregator").aggregator.relay_method == "consistent-hashing"


def test_clusters_and_routes_are_given_on_as_yaml_has_them(tmp_path: Path) -> None:
    path = written(tmp_path, "relay:\n  clusters: {a: {type: forward}}\n  routes:\n  - match: x\n", "c.yaml")
    relay = load(path, program="relay").relay
    assert (relay.clusters, relay.routes) == ({"a": {"type": "forward"}}, [{"match": "x"}])
    with pytest.raises(ConfigError, match="must be a list or a mapping in YAML"):
        load(written(tmp_path, "relay: {routes: 7}\n", "d.yaml"), program="relay")


def test_a_running_daemon_takes_what_it_can_and_keeps_what_needs_a_restart() -> None:
    old = load(None, environ={})
    new = load(None, environ={}, overrides={"MAX_CACHE_SIZE": 7, "LINE_RECEIVER_PORT": 2103, "HTTP_PORT": 81})
    found = reloaded(old, new)
    assert [change.setting.name for change in compare(old, found).reload] == ["MAX_CACHE_SIZE"]
    assert compare(old, found).restart == ()
    # It is still said at the next reload, and a change taken back is none.
    assert compare(found, new).restart == compare(old, new).restart != ()
    assert not compare(reloaded(found, old), old)


def _values(kind: object) -> st.SearchStrategy[object]:
    if isinstance(kind, Flag):
        return st.booleans()
    if isinstance(kind, Port):
        return st.integers(0, 65535)
    if isinstance(kind, Choice):
        return st.sampled_from(kind.words)
    if isinstance(kind, Number) and kind.whole:
        return st.integers(int(kind.low), int(min(kind.high, 10**12)))
    return st.nothing()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_describes_settings_gives_the_same_settings_when_loaded(tmp_path: Path, data: st.DataObject) -> None:
    rows = [row for row in rows_of("cache") if not _values(row.kind).is_empty]
    chosen = {row.name: data.draw(_values(row.kind)) for row in data.draw(st.lists(st.sampled_from(rows), max_size=8))}
    chosen |= {"STORAGE_DIR": "/a b/ü", "USER": data.draw(st.sampled_from(["", "no", "1", "it's", '"', "a: b # c"]))}
    first = load(None, overrides=chosen)
    again = load(written(tmp_path, first.describe(), "again.yaml"))
    assert (again.cache, again.web, again.files.schemas) == (first.cache, first.web, first.files.schemas)
    assert again.warnings == []
    assert "# command line" in first.describe()


def test_places_may_stand_in_the_web_section_for_carbonpy_web(tmp_path: Path) -> None:
    path = written(tmp_path, "[web]\nLOCAL_DATA_DIR = /srv/front\n[cache]\nLOCAL_DATA_DIR = /srv/back\n")
    assert load(path, program="web").cache.local_data_dir == "/srv/front"
    assert load(path).cache.local_data_dir == "/srv/back"
    assert any("only carbonpy web uses it" in warning for warning in load(path).warnings)
    yaml = written(tmp_path, "web: {storage_dir: /srv/front}\n", "front.yaml")
    assert load(yaml, program="web").cache.local_data_dir == "/srv/front/whisper"
    assert load(yaml, program="web").warnings == []
