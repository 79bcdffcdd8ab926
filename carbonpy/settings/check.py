"""What ``carbonpy check-config`` finds: a configuration as the daemon would meet it, without starting one.

The law: what would keep the daemon from starting is an error; what it would start with, though hardly as
meant, is a warning.  Nothing is written, no port is opened.  Every instance that the file names is
looked at for clashes; rules files and directories only for the instance asked for.
"""

from __future__ import annotations

import os
import pwd
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from carbonpy.errors import ConfigError
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.aggregation import AggregationBook
from carbonpy.rules.filters import FilterBook
from carbonpy.rules.relaying import RelayRules
from carbonpy.rules.reload import Book
from carbonpy.rules.rewriting import RewriteRules
from carbonpy.rules.schemas import SchemaBook
from carbonpy.settings.loading import Settings, load, open_source, read_text
from carbonpy.settings.places import existing_parent
from carbonpy.settings.table import CACHES

#: (protocol, NAME of interface, NAME of port) of everything that listens.
_LISTENERS = (
    ("TCP", "LINE_RECEIVER_INTERFACE", "LINE_RECEIVER_PORT"),
    ("UDP", "UDP_RECEIVER_INTERFACE", "UDP_RECEIVER_PORT"),
    ("TCP", "PICKLE_RECEIVER_INTERFACE", "PICKLE_RECEIVER_PORT"),
    ("TCP", "PROTOBUF_RECEIVER_INTERFACE", "PROTOBUF_RECEIVER_PORT"),
    ("TCP", "CACHE_QUERY_INTERFACE", "CACHE_QUERY_PORT"),
    ("TCP", "HTTP_INTERFACE", "HTTP_PORT"),
)
#: NAMEs of files of the web service, besides certificates, that must be readable if they are set.
_WEB_FILES = ("HTTP_AUTH_FILE",)
_DIRECTORIES = ("STORAGE_DIR", "LOCAL_DATA_DIR", "JOURNAL_DIR", "SPOOL_DIR", "CATALOG_FILE", "LOG_DIR", "PID_DIR")


class Report(NamedTuple):
    """Sentences that keep the daemon from starting, sentences to think about, and what would be in force.

    `effective` is None when there are errors in the configuration file itself.
    """

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    effective: Settings | None


def check(
    path: str | None, instance: str = "a", environ: Mapping[str, str] | None = None, program: str = "cache"
) -> Report:
    """Look at the configuration file `path` (the embedded defaults for None) and at what `program` would read."""
    environment = os.environ if environ is None else environ
    try:
        settings = load(path, instance=instance, program=program, environ=environment)
        named = open_source(path, environment, program)[0].instances
    except ConfigError as error:
        return Report(tuple(str(error).splitlines()), (), None)
    errors: list[str] = []
    warnings = list(settings.warnings)
    _rules(settings, errors, warnings)
    others = [settings]
    for other in named:
        if other != instance:
            try:
                others.append(load(path, instance=other, program=program, environ=environment))
            except ConfigError as error:
                errors.extend(line for line in str(error).splitlines() if line not in errors)
    errors.extend(_clashes(settings))
    warnings.extend(clash for clash in _clashes(*others) if clash not in errors)
    _owner(settings, errors)
    if program in (*CACHES, "web"):
        errors.extend(_web_files(settings))
    if program != "web":
        _listening(settings, errors, warnings)
    if program in ("relay", "aggregator"):
        _sending(settings, errors, warnings)
    warnings.extend(_directories(settings))
    warnings.extend(_zones(settings))
    return Report(tuple(errors), tuple(warnings), settings)


def _books(settings: Settings) -> Iterator[tuple[str, Callable[[str, str], Book], str]]:
    """(path, its parser, what to say when there is no such file, "" for nothing) of the rules files that are read."""
    files, own = settings.files, settings.own
    if settings.program in (*CACHES, "web"):
        missing = "so every new metric is kept 60s:7d; copy conf/storage-schemas.conf there and say what to keep"
        yield files.schemas, SchemaBook.parse, missing
        yield files.aggregation, AggregationBook.parse, ""
    elif own.relay_method == "rules" and own.clusters is None and own.routes is None:
        yield own.relay_rules, RelayRules.parse, "so no point goes anywhere; write it, or choose a RELAY_METHOD"
    if own.aggregate or "aggregated" in getattr(own, "relay_method", ""):
        yield (
            own.aggregation_rules,
            AggregationRules.parse,
            "so nothing is aggregated; write rules, or set AGGREGATE = False",
        )
        yield own.rewrite_rules, RewriteRules.parse, ""
    if own.use_whitelist:
        yield files.whitelist, FilterBook.parse, ""
        yield files.blacklist, FilterBook.parse, ""


def _rules(settings: Settings, errors: list[str], warnings: list[str]) -> None:
    for path, parse, missing in _books(settings):
        if not os.path.lexists(path):
            if missing:
                warnings.append(f"{path}: there is no such file, {missing}")
            continue
        try:
            warnings.extend(parse(read_text(path), path).warnings)
        except ConfigError as error:
            errors.extend(str(error).splitlines())


class _Listener(NamedTuple):
    """`interface` of a UNIX socket is its path, and its port 0."""

    instance: str
    protocol: str
    interface: str
    port: int
    name: str

    @property
    def place(self) -> str:
        """What two cannot have."""
        return f"{self.protocol} port {self.port} of {self.interface}" if self.port else f"socket {self.interface}"


def _listeners(settings: Settings) -> Iterator[_Listener]:
    for protocol, interface_name, port_name in _LISTENERS:
        values = settings.http if port_name.startswith("HTTP") else settings.own
        if protocol == "UDP" and not settings.own.enable_udp_listener:
            continue
        port = getattr(values, port_name.lower(), 0)
        if port:
            yield _Listener(settings.instance, protocol, getattr(values, interface_name.lower()), port, port_name)
    for one in getattr(settings.own, "listeners", ()) if settings.program != "web" else ():
        protocol = "UNIX" if one.path else "UDP" if one.protocol == "udp" else "TCP"
        yield _Listener(settings.instance, protocol, one.path or one.host, one.port, f"{one} in LISTENERS")


def _listening(settings: Settings, errors: list[str], warnings: list[str]) -> None:
    """What is wrong with LISTENERS and the certificates they need."""
    own, section = settings.own, settings.rows[0].section

    def where(name: str) -> str:
        return f"{settings.origins.get((section, name), name)} {name}"

    for one in own.listeners:
        if one.path and not os.path.isdir(os.path.dirname(one.path)):
            errors.append(f"{where('LISTENERS')}: {one}: there is no directory {os.path.dirname(one.path)}; make it")
    secure = [one for one in own.listeners if one.tls]
    if secure and not own.tls_certificate:
        errors.append(f"{where('LISTENERS')}: {secure[0]} needs TLS_CERTIFICATE; set it, or leave tls out")
    elif secure:
        errors.extend(_certificates(where("TLS_CERTIFICATE"), own.tls_certificate, own.tls_key, own.tls_client_ca))
    elif own.tls_certificate or own.tls_key or own.tls_client_ca:
        name = "TLS_CERTIFICATE" if own.tls_certificate else "TLS_KEY" if own.tls_key else "TLS_CLIENT_CA"
        warnings.append(f"{where(name)} is not used; add a listener like line+tls://0.0.0.0:2203 to LISTENERS")


def _sending(settings: Settings, errors: list[str], warnings: list[str]) -> None:
    """What is wrong with the way in which destinations are spoken to."""
    own, section = settings.own, settings.rows[0].section

    def where(name: str) -> str:
        return f"{settings.origins.get((section, name), name)} {name}"

    if own.destination_compression != "none" and own.destination_protocol != "line" and not own.clusters:
        warnings.append(
            f"{where('DESTINATION_COMPRESSION')} = {own.destination_compression} is for lines, so it is not used; "
            "add DESTINATION_PROTOCOL = line, or remove it"
        )
    if own.destination_transport == "ssl" and own.destination_protocol != "udp":
        from carbonpy.net.tls import ClientTls  # brings Twisted in, which nothing else here needs

        files = {"ca": own.destination_ssl_ca, "certificate": own.destination_tls_certificate}
        try:
            ClientTls("localhost", **files, key=own.destination_tls_key)
        except ConfigError as error:
            errors.append(f"{where('DESTINATION_TRANSPORT')} = ssl: {error}")


def _certificates(where: str, certificate: str, key: str, client_ca: str = "") -> Iterator[str]:
    from carbonpy.net.tls import ServerTls  # brings Twisted in, which nothing else here needs

    try:
        ServerTls(certificate, key, client_ca)
    except ConfigError as error:
        yield f"{where} = {certificate}: {error}"


def _overlap(one: str, other: str) -> bool:
    wild = ("::", "0.0.0.0")
    if one == other or "::" in (one, other):
        return True
    return (one in wild or other in wild) and (":" in one) == (":" in other)


def _clashes(*instances: Settings) -> list[str]:
    """A sentence for each two listeners that want the same port of the same address."""
    listeners = [listener for settings in instances for listener in _listeners(settings)]
    sentences = []
    for index, one in enumerate(listeners):
        for other in listeners[index + 1 :]:
            same = one.protocol == other.protocol and one.port == other.port
            if same and _overlap(one.interface, other.interface):
                sentences.append(
                    f"{one.name} of instance {one.instance!r} and {other.name} of instance {other.instance!r} "
                    f"are both {one.place}; give one of them another {'port' if one.port else 'path'}"
                )
    return sentences


def _owner(settings: Settings, errors: list[str]) -> None:
    user = settings.own.user
    if user:
        try:
            pwd.getpwnam(user)
        except KeyError:
            section = next(setting.section for setting in settings.rows if setting.name == "USER")
            errors.append(
                f"{settings.origins.get((section, 'USER'), 'USER')} USER = {user}: "
                "there is no such user on this machine; create it or leave USER empty"
            )


def _web_files(settings: Settings) -> Iterator[str]:
    for name in _WEB_FILES:
        path = getattr(settings.web, name.lower())
        if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            where = settings.origins.get(("web", name), name)
            yield f"{where} {name} = {path}: there is no file that can be read; make it or remove the line"
    if settings.web.http_tls_key and not settings.web.http_tls_certificate:
        where = settings.origins.get(("web", "HTTP_TLS_KEY"), "HTTP_TLS_KEY")
        yield f"{where} HTTP_TLS_KEY is set without HTTP_TLS_CERTIFICATE; set both, or neither for HTTP"
    if settings.web.http_tls_certificate:
        where = settings.origins.get(("web", "HTTP_TLS_CERTIFICATE"), "HTTP_TLS_CERTIFICATE")
        yield from _certificates(where, settings.web.http_tls_certificate, settings.web.http_tls_key)


def _directories(settings: Settings) -> Iterator[str]:
    for name in _DIRECTORIES:
        place = getattr(settings.own, name.lower(), None)
        if place is None or (name == "JOURNAL_DIR" and not settings.own.journal):
            continue
        wanted = os.path.dirname(place) if name == "CATALOG_FILE" else place
        found = existing_parent(wanted)
        if not os.path.isdir(found):
            yield f"{name} = {place}: {found} is not a directory; move it or choose another place"
        elif not os.access(found, os.W_OK | os.X_OK):
            who = pwd.getpwuid(os.geteuid()).pw_name
            yield f"{name} = {place}: {found} is not writable for {who}; let the daemon's user write there"


def _zones(settings: Settings) -> Iterator[str]:
    """Slim images have no time zones; queries then fall back without a word, as graphite-web's do."""
    try:
        zoneinfo.ZoneInfo("Europe/London")
    except zoneinfo.ZoneInfoNotFoundError:
        if settings.program in (*CACHES, "web") and settings.web.http_port:
            yield (
                "this machine has no time zone data, so tz= in queries has no effect; "
                "install the system's tzdata package, or tzdata from PyPI"
            )
