"""What check-config finds, and the command itself."""

from __future__ import annotations

import sys
import zoneinfo
from pathlib import Path

import pytest
from support.certificates import Authority

from carbonpy.cli.check_config import main
from carbonpy.settings.check import check


def configured(tmp_path: Path, text: str, schemas: str | None = "[a]\npattern = .\nretentions = 1m:1d\n") -> str:
    path = tmp_path / "carbon.conf"
    path.write_text(text.replace("[cache]\n", f"[cache]\nSTORAGE_DIR = {tmp_path}/storage\n", 1))
    if schemas is not None:
        (tmp_path / "storage-schemas.conf").write_text(schemas)
    return str(path)


def test_a_good_configuration_has_nothing_to_tell(tmp_path: Path) -> None:
    report = check(configured(tmp_path, "[cache]\n"))
    assert report.errors == report.warnings == ()
    assert report.effective is not None and not (tmp_path / "storage").exists()


def test_errors_of_the_file_and_of_its_rules_have_lines(tmp_path: Path) -> None:
    path = configured(tmp_path, "[cache]\n", "[a]\npattern = .\nretentions = 1x:1d\n")
    (tmp_path / "storage-aggregation.conf").write_text("[a]\npattern = .\nxFilesFactor = 7\n")
    report = check(path)
    assert [error.split(" ")[0] for error in report.errors] == [
        f"{tmp_path}/storage-schemas.conf:3",
        f"{tmp_path}/storage-aggregation.conf:3",
    ]
    assert (
        check(configured(tmp_path, "[cache]\nGATHER_SIZE = x\n"))
        .errors[0]
        .startswith(f"{path}:3 [cache] GATHER_SIZE = x")
    )


def test_schemas_that_are_missing_are_a_warning(tmp_path: Path) -> None:
    (warning,) = check(configured(tmp_path, "[cache]\n", None)).warnings
    assert warning.startswith(f"{tmp_path}/storage-schemas.conf: there is no such file")


def test_lists_are_looked_at_when_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "blacklist.conf").write_text("[\n")
    assert check(configured(tmp_path, "[cache]\n")).warnings == ()
    (warning,) = check(configured(tmp_path, "[cache]\nUSE_WHITELIST = True\n")).warnings
    assert warning.startswith(f"{tmp_path}/blacklist.conf:1 [: not a regular expression")


def test_two_listeners_on_one_port_of_an_instance_are_an_error(tmp_path: Path) -> None:
    report = check(configured(tmp_path, "[cache]\nLINE_RECEIVER_PORT = 2004\n"))
    assert report.errors == (
        "LINE_RECEIVER_PORT of instance 'a' and PICKLE_RECEIVER_PORT of instance 'a' are both "
        "TCP port 2004 of 0.0.0.0; give one of them another port",
    )


@pytest.mark.parametrize(
    ("options", "clashes"),
    [
        ("ENABLE_UDP_LISTENER = True", 0),
        ("LINE_RECEIVER_INTERFACE = 127.0.0.1\nPICKLE_RECEIVER_INTERFACE = 127.0.0.2\nPICKLE_RECEIVER_PORT = 2003", 0),
        ("LINE_RECEIVER_INTERFACE = 127.0.0.1\nPICKLE_RECEIVER_PORT = 2003", 1),
        ("LINE_RECEIVER_INTERFACE = ::\nPICKLE_RECEIVER_PORT = 2003", 1),
        ("LINE_RECEIVER_INTERFACE = ::1\nPICKLE_RECEIVER_PORT = 2003", 0),
        ("LINE_RECEIVER_PORT = 0\nPICKLE_RECEIVER_PORT = 0", 0),
        ("CACHE_QUERY_PORT = 8080", 1),
    ],
)
def test_addresses_decide_whether_ports_clash(tmp_path: Path, options: str, clashes: int) -> None:
    assert len(check(configured(tmp_path, f"[cache]\n{options}\n")).errors) == clashes


def test_instances_that_share_ports_are_a_warning_and_their_errors_are_told(tmp_path: Path) -> None:
    report = check(configured(tmp_path, "[cache]\n[cache:b]\nLINE_RECEIVER_PORT = 2103\n"))
    assert report.errors == ()
    assert [warning.split(" ")[0] for warning in report.warnings] == ["PICKLE_RECEIVER_PORT", "CACHE_QUERY_PORT"]
    broken = check(configured(tmp_path, "[cache]\n[cache:b]\nLINE_RECEIVER_PORT = x\n"))
    assert len(broken.errors) == 1 and "[cache:b] LINE_RECEIVER_PORT = x" in broken.errors[0]


def test_a_user_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (error,) = check(configured(tmp_path, "[cache]\nUSER = nobody-of-that-name\n")).errors
    assert error.startswith(f"{tmp_path}/carbon.conf:3 [cache] USER = nobody-of-that-name: there is no such user")


def test_a_place_below_a_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (warning,) = check(configured(tmp_path, f"[cache]\nLOCAL_DATA_DIR = {tmp_path}/file/whisper\n")).warnings[:1]
    assert warning.startswith(f"LOCAL_DATA_DIR = {tmp_path}/file/whisper: {tmp_path}/file is not a directory")


def test_the_command_says_good_and_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, "[cache]\n")
    assert main([path]) == 0
    assert capsys.readouterr().out == f"{path}: good, no warnings\n"
    assert main(["--config", configured(tmp_path, "[cache]\nFOO = 1\n")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{path}: good, with 1 warning\n"
    assert err.startswith(f"warning: {path}:3 [cache] FOO: unknown")


def test_the_command_ends_with_2_and_tells_the_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([configured(tmp_path, "[cache]\nJOURNAL = x\n")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == f"error: {tmp_path}/carbon.conf:3 [cache] JOURNAL = x: must be True or False\n"
    assert main([str(tmp_path / "missing.yaml")]) == 2


def test_the_command_shows_what_is_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--show", configured(tmp_path, "[cache]\nMAX_METRICS = 7\n")]) == 0
    assert f"  max_metrics: 7{' ' * 42}# {tmp_path}/carbon.conf:3 [cache]\n" in capsys.readouterr().out


def test_a_machine_without_time_zones_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tzdata", None)  # type: ignore[arg-type]  # an import says it is not there
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert check(configured(tmp_path, "[cache]\n[web]\nHTTP_PORT = 0\n")).warnings == ()
        (warning,) = check(configured(tmp_path, "[cache]\n")).warnings
    finally:
        zoneinfo.reset_tzpath()
    assert warning.startswith("this machine has no time zone data, so tz= in queries has no effect")


def test_files_of_the_web_service_must_be_there(tmp_path: Path) -> None:
    path = configured(tmp_path, f"[cache]\n[web]\nHTTP_AUTH_FILE = {tmp_path}/users\n")
    (error,) = check(path).errors
    assert error.startswith(f"{path}:4 [web] HTTP_AUTH_FILE = {tmp_path}/users: there is no file that can be read")
    (tmp_path / "users").write_text("a:b\n")
    assert check(path).errors == ()


def test_a_key_without_its_certificate_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-")
    (error,) = check(configured(tmp_path, f"[cache]\n[web]\nHTTP_TLS_KEY = {tmp_path}/key.pem\n")).errors
    assert "HTTP_TLS_KEY is set without HTTP_TLS_CERTIFICATE" in error


AGGREGATES = "a (10) = sum b\nbad line\nc (10) = mean d\n"


@pytest.mark.parametrize("section", ["cache", "relay", "aggregator"])
def test_rules_of_aggregates_are_looked_at_where_they_are_used(tmp_path: Path, section: str) -> None:
    # `configured` gives a [cache] its directory.
    place = "" if section == "cache" else f"STORAGE_DIR = {tmp_path}\nDESTINATIONS = a:1\n"
    rules = tmp_path / "aggregation-rules.conf"
    rules.write_text(AGGREGATES)
    (tmp_path / "rewrite-rules.conf").write_text("[pre]\n( = a\n")
    path = configured(tmp_path, f"[{section}]\n{place}AGGREGATE = True\n")
    report = check(path, program=section)
    assert [error.split(" ")[0] for error in report.errors] == [f"{rules}:2", f"{rules}:3"]
    assert any(warning.startswith(f"{tmp_path}/rewrite-rules.conf:2 ") for warning in report.warnings)
    rules.unlink()
    (warning,) = [one for one in check(path, program=section).warnings if one.startswith(str(rules))]
    assert "there is no such file, so nothing is aggregated" in warning
    rules.write_text(AGGREGATES)
    assert check(configured(tmp_path, f"[{section}]\n{place}AGGREGATE = False\n"), program=section).errors == ()


def test_the_command_says_what_is_wrong_with_where_a_relay_sends_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, f"[aggregator]\nSTORAGE_DIR = {tmp_path}\nDESTINATIONS = a:1, nowhere\n")
    assert main(["--program", "aggregator", path]) == 2
    assert f"error: {path}:3 [aggregator] DESTINATIONS: " in capsys.readouterr().err
    path = configured(tmp_path, f"[relay]\nSTORAGE_DIR = {tmp_path}\nDESTINATIONS = a:1\nRELAY_METHOD = constant\n")
    assert main(["--program", "relay", path]) == 0
    assert "good, no warnings" in capsys.readouterr().out


@pytest.mark.parametrize("section", ["cache", "relay", "aggregator"])
def test_listeners_are_looked_at_with_their_certificates(tmp_path: Path, section: str) -> None:
    place = "" if section == "cache" else f"STORAGE_DIR = {tmp_path}\nDESTINATIONS = a:1\nRELAY_METHOD = constant\n"

    def errors_of(text: str) -> tuple[str, ...]:
        return check(configured(tmp_path, f"[{section}]\n{place}{text}\n"), program=section).errors

    certificate, key = Authority("test").files(tmp_path, "server", ["localhost"])
    good = f"LISTENERS = line+tls://:2203, line+unix://{tmp_path}/a.sock\nTLS_CERTIFICATE = {certificate}\n"
    assert errors_of(good + f"TLS_KEY = {key}\nTLS_CLIENT_CA = {certificate}") == ()
    (error,) = errors_of(good)
    assert "TLS_CERTIFICATE" in error and "there is no key" in error
    (error,) = errors_of("LISTENERS = pickle+tls://:2203")
    assert "LISTENERS: pickle+tls://0.0.0.0:2203 needs TLS_CERTIFICATE" in error
    (error,) = errors_of("LISTENERS = line+unix:///no/such/place.sock")
    assert "there is no directory /no/such" in error
    (error,) = errors_of("LISTENERS = line+gzip://127.0.0.1:2203, pickle://:2203")
    assert "line+gzip://127.0.0.1:2203 in LISTENERS of instance 'a' and pickle://0.0.0.0:2203 in LISTENERS" in error
    (error,) = errors_of(f"LISTENERS = line+unix://{tmp_path}/a, pickle+unix://{tmp_path}/a")
    assert f"are both socket {tmp_path}/a; give one of them another path" in error
    assert errors_of("LISTENERS = udp://:2203, line://:2203") == ()
    (error,) = errors_of("LISTENERS = line+gzipp://:2203")
    assert "LISTENERS = line+gzipp://:2203: 'line+gzipp://:2203' asks for 'gzipp'" in error
    report = check(configured(tmp_path, f"[{section}]\n{place}TLS_CERTIFICATE = {certificate}\n"), program=section)
    assert report.errors == () and any("TLS_CERTIFICATE is not used" in warning for warning in report.warnings)


def test_a_certificate_of_the_web_service_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("-")
    (error,) = check(configured(tmp_path, f"[cache]\n[web]\nHTTP_TLS_CERTIFICATE = {tmp_path}/cert.pem\n")).errors
    assert "there is no certificate in this file" in error


@pytest.mark.parametrize("section", ["relay", "aggregator"])
def test_how_destinations_are_spoken_to_is_looked_at(tmp_path: Path, section: str) -> None:
    def report_of(text: str) -> tuple[tuple[str, ...], list[str]]:
        place = f"STORAGE_DIR = {tmp_path}\nDESTINATIONS = a:1\nRELAY_METHOD = constant\n"
        report = check(configured(tmp_path, f"[{section}]\n{place}{text}\n"), program=section)
        return report.errors, [warning for warning in report.warnings if "DESTINATION_" in warning]

    ca = Authority("test").file(tmp_path, "ca")
    assert report_of(f"DESTINATION_TRANSPORT = ssl\nDESTINATION_SSL_CA = {ca}") == ((), [])
    assert report_of("DESTINATION_PROTOCOL = line\nDESTINATION_COMPRESSION = lz4") == ((), [])
    (error,), _ = report_of("DESTINATION_TRANSPORT = ssl\nDESTINATION_SSL_CA = /none.pem")
    assert "DESTINATION_TRANSPORT = ssl: /none.pem: it cannot be read" in error
    errors, (warning,) = report_of("DESTINATION_COMPRESSION = gzip")
    assert not errors and "DESTINATION_COMPRESSION = gzip is for lines, so it is not used" in warning
