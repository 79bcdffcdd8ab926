"""From a file, an instance and the command line to Settings.

The law, weakest first: the default of the table; the section for every instance; the section for this
instance; the command line.  Every value is checked against its kind and every problem is reported at once,
``file:line [section] NAME = value: what is right``, as one ConfigError.  What is not understood is a
warning with its line, never an error, so that an existing carbon.conf is read as it is.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from carbonpy.errors import ConfigError
from carbonpy.rules.ini import shown
from carbonpy.settings import places
from carbonpy.settings.blocks import Entry, Source
from carbonpy.settings.places import RulesFiles
from carbonpy.settings.sources import read_source
from carbonpy.settings.table import BY_NAME, DEFAULTS, SECTION_NAMES, SECTIONS, SECTIONS_OF, SETTINGS, Setting
from carbonpy.settings.unsupported import RELAY_UNSUPPORTED, SATISFIED, UNSATISFIED, UNSUPPORTED

#: What can be configured: ``carbonpy cache`` and its like.
PROGRAMS = tuple(SECTIONS_OF)
#: Settings of [cache] that may also stand in [web], where they are for carbonpy web.
PLACES = frozenset(
    ("STORAGE_DIR", "CONF_DIR", "LOCAL_DATA_DIR", "CATALOG_FILE", "LOG_DIR", "PID_DIR", "USER", "TAG_HASH_FILENAMES")
)
#: Names that the command line may give besides settings: places that carbon has options for.
OPTIONS = ("LOGDIR", "PIDFILE", "WHITELIST", "BLACKLIST")


class Values:
    """The settings of one section by lower-case name: ``values.max_cache_size``.  Immutable, safe from any thread."""

    __slots__ = ("_section", "_values")

    def __init__(self, section: str, values: Mapping[str, object]) -> None:
        object.__setattr__(self, "_section", section)
        object.__setattr__(self, "_values", dict(values))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"there is no setting {name.upper()} in [{self._section}]") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("settings are not changed; load them again")

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._values.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and other._values == self._values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Values({self._section!r}, {self._values!r})"


@dataclass(frozen=True)
class Settings:
    """Everything that is configured for one instance of one program.  Immutable, safe from any thread.

    `cache.log_dir` is the directory of this instance; `log_base` the LOG_DIR it lies in.  `origins` says for
    each (section, NAME) that is not a default where it comes from.  `warnings` are for the log.
    """

    program: str
    instance: str
    path: str | None
    cache: Values
    web: Values
    relay: Values
    aggregator: Values
    files: RulesFiles
    pidfile: str
    log_base: str
    warnings: list[str]
    origins: Mapping[tuple[str, str], str]

    @property
    def own(self) -> Values:
        """The section with this program's directories, its user, its receivers and its log."""
        values: Values = getattr(self, SECTIONS_OF[self.program][0])
        return values

    @property
    def http(self) -> Values:
        """The section with this program's HTTP_INTERFACE and HTTP_PORT."""
        return self.web if "web" in SECTIONS_OF[self.program] else self.own

    @property
    def rows(self) -> tuple[Setting, ...]:
        """The rows of the table that this program reads."""
        return rows_of(self.program)

    def value(self, setting: Setting) -> Any:
        """The value of one row of the table."""
        return getattr(getattr(self, setting.section), setting.key)

    def describe(self) -> str:
        """The effective settings as a YAML file that says where each value comes from."""
        lines = [f"# carbon-{self.program}, instance {self.instance or '(none)'}, from {self.path or 'the defaults'}"]
        for section in SECTIONS_OF[self.program]:
            lines.append(f"{SECTION_NAMES.get(self.program, {}).get(section, section)}:")
            for setting in self.rows:
                if setting.section == section:
                    value = self.log_base if setting.name == "LOG_DIR" else self.value(setting)
                    text = f"  {setting.key}: {setting.kind.show(value)}"
                    lines.append(f"{text:<57} # {self.origins.get((section, setting.name), 'default')}")
        return "\n".join(lines) + "\n"


def rows_of(program: str) -> tuple[Setting, ...]:
    """The rows of the table that `program` reads, in the order of documents."""
    return tuple(setting for setting in SETTINGS if setting.section in SECTIONS_OF[program])


class Change(NamedTuple):
    """One setting that differs."""

    setting: Setting
    old: object
    new: object

    def __str__(self) -> str:
        show = self.setting.kind.show
        return f"[{self.setting.section}] {self.setting.name} = {show(self.new)} (was {show(self.old)})"


class Changes(NamedTuple):
    """What differs between two Settings: what takes effect on reload, and what needs a restart."""

    reload: tuple[Change, ...]
    restart: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.reload or self.restart)


def compare(old: Settings, new: Settings) -> Changes:
    """Which settings differ in `new`, by whether a running daemon can take them on."""
    changes = [
        Change(setting, old.value(setting), new.value(setting))
        for setting in new.rows
        if old.value(setting) != new.value(setting)
    ]
    return Changes(
        tuple(change for change in changes if change.setting.reload),
        tuple(change for change in changes if not change.setting.reload),
    )


def reloaded(running: Settings, new: Settings) -> Settings:
    """What is in force in a running daemon that was told to take `new`: what needs a restart stays as it was."""

    def section(name: str, values: Values) -> Values:
        rows = {
            setting.key: (new if setting.reload else running).value(setting)
            for setting in running.rows
            if setting.section == name
        }
        return Values(name, {**dict(values), **rows})

    changed: dict[str, Any] = {
        name: section(name, getattr(running, name)) for name in SECTIONS_OF[running.program]
    }
    return replace(running, **changed)


def read_text(path: str) -> str:
    """The text of a configuration or rules file.  Raises ConfigError when there is none that can be read."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from None


def open_source(
    path: str | None, environ: Mapping[str, str], program: str = "cache"
) -> tuple[Source, places.Surroundings]:
    """What `program` reads of the file `path` (nothing at all for None) and what surrounds it.  Raises ConfigError."""
    surrounding = places.surroundings(path, environ)
    if path is None:
        return Source((), ()), surrounding
    called = SECTION_NAMES.get(program, {})
    wanted = [called.get(section, section) for section in SECTIONS_OF[program]]
    source = read_source(read_text(path), path, wanted, surrounding.variables)
    meant = {name: section for section, name in called.items()}
    blocks = [block._replace(section=meant.get(block.section, block.section)) for block in source.blocks]
    return source._replace(blocks=tuple(blocks)), surrounding


def load(
    path: str | None = None,
    *,
    instance: str = "a",
    program: str = "cache",
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of `instance` as the file `path` has them; the embedded defaults for None.

    `overrides` is the command line: names of settings in either case, or one of `OPTIONS` (logdir, pidfile,
    whitelist, blacklist), to values.  `environ` replaces ``os.environ``.  Raises ConfigError whose message has one
    line for each problem.
    """
    if program not in PROGRAMS:
        raise ConfigError(f"there are no settings for carbon-{program}; the programs are {', '.join(PROGRAMS)}")
    if "/" in instance or "\0" in instance or instance in (".", ".."):
        raise ConfigError(f"instance {instance!r} cannot be part of a file's name; use letters and digits")
    source, surrounding = open_source(path, os.environ if environ is None else environ, program)
    reading = _Reading(instance, program)
    mine = [block for block in source.blocks if block.instance in (None, instance)]
    # Places under [web] are those of [cache] for carbonpy web, so they come last there and win.
    for block in sorted(mine, key=lambda block: block.section == "web"):
        for entry in block.entries:
            reading.entry(block.section, entry, reading.common if block.instance is None else reading.own)
    options = reading.command_line(overrides or {})
    if reading.problems:
        raise ConfigError("\n".join(reading.problems))
    return _settled(reading, source, surrounding, options, program, path)


class _Reading:
    """Values as they are read: for every instance, for this one, and the problems."""

    def __init__(self, instance: str, program: str) -> None:
        self.instance = instance
        self.program = program
        self.common: dict[tuple[str, str], object] = {}
        self.own: dict[tuple[str, str], object] = {}
        self.origins: dict[tuple[str, str], str] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._warned: set[tuple[str, int]] = set()

    def entry(self, section: str, entry: Entry, into: dict[tuple[str, str], object]) -> None:
        """Take in one entry of a file."""
        if section == "web" and self.program == "web" and entry.name in PLACES:
            section = "cache"
        setting = BY_NAME.get((section, entry.name))
        if setting is None:
            advice = _advice(section, entry.name, str(entry.raw))
            if advice is not None and (entry.name, entry.line) not in self._warned:
                self._warned.add((entry.name, entry.line))
                self.warnings.append(f"{entry.place} {shown(entry.name)}: {advice}")
            return
        try:
            into[section, entry.name] = setting.kind.read(entry.raw)
        except ValueError as error:
            sentence = f"{entry.place} {entry.statement}: {error}"
            if sentence not in self.problems:
                self.problems.append(sentence)
            return
        self.origins[section, entry.name] = entry.place

    def command_line(self, overrides: Mapping[str, object]) -> dict[str, str]:
        """Take in the command line; the `OPTIONS` among it."""
        options = {}
        for name, raw in overrides.items():
            upper = name.upper()
            if upper in OPTIONS:
                options[upper] = places.clean(str(raw))
                continue
            mine = SECTIONS_OF[self.program]
            section = next((section for section in mine if (section, upper) in BY_NAME), None)
            if section is None:
                self.problems.append(f"command line: {upper}: {_advice(mine[0], upper, str(raw)) or 'remove it'}")
                continue
            try:
                value = BY_NAME[section, upper].kind.read(raw)
            except ValueError as error:
                self.problems.append(f"command line: {upper} = {raw}: {error}")
                continue
            self.common[section, upper] = self.own[section, upper] = value
            self.origins[section, upper] = "command line"
        return options


def _advice(section: str, name: str, value: str) -> str | None:
    """What to do about a name that is not in the table; None when there is nothing to do."""
    if name in SATISFIED:
        return None if value.strip().lower() in SATISFIED[name] else UNSATISFIED[name]
    advice = (UNSUPPORTED if section in ("cache", "web") else RELAY_UNSUPPORTED).get(name)
    if advice is not None:
        return f"not supported: {advice}"
    if section == "web" and name in PLACES:
        return "only carbonpy web uses it here; carbonpy cache takes that of [cache]"
    for other in SECTIONS:
        if (other, name) in BY_NAME:
            return f"not a setting of [{section}], so it is not used; move it to [{other}]"
    close = difflib.get_close_matches(name, [setting.name for setting in SETTINGS], n=1, cutoff=0.8)
    return "unknown, so it is not used; " + (
        f"did you mean {close[0]}?" if close else "remove it or check its spelling"
    )


def _settled(
    reading: _Reading,
    source: Source,
    surrounding: places.Surroundings,
    options: Mapping[str, str],
    program: str,
    path: str | None,
) -> Settings:
    instance = reading.instance
    common = {name: str(reading.common[s, name]) for s, name in reading.common if BY_NAME[s, name].derived}
    own = {name: str(reading.own[s, name]) for s, name in reading.own if BY_NAME[s, name].derived}
    directories = places.derived(surrounding, common, own, program, instance)
    values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    warnings = [*source.warnings, *reading.warnings]
    for setting in rows_of(program):
        key = setting.section, setting.name
        if setting.derived:
            value: object = directories[setting.name]
        else:
            default = DEFAULTS.get(program, {}).get(setting.name, setting.default)
            value = reading.own.get(key, reading.common.get(key, setting.kind.read(default)))
        values[setting.section][setting.key] = value
    home, http = SECTIONS_OF[program][0], SECTIONS_OF[program][-1]
    if program != "web" and instance != "a" and (http, "HTTP_PORT") not in reading.origins:
        values[http]["http_port"] = 0
        warnings.append(
            f"instance {instance!r} has no HTTP_PORT of its own, so it does not answer over HTTP; "
            f"set HTTP_PORT for it ([{http}:{instance}] in carbon.conf, instances: {instance}: {http}: in YAML)"
        )
    log_base = directories["LOG_DIR"]
    values[home]["log_dir"] = options.get("LOGDIR") or places.log_directory(log_base, program, instance)
    files = places.rules_files(directories["CONF_DIR"])
    files = files._replace(
        whitelist=options.get("WHITELIST", files.whitelist), blacklist=options.get("BLACKLIST", files.blacklist)
    )
    return Settings(
        program=program,
        instance=instance,
        path=path,
        cache=Values("cache", values["cache"]),
        web=Values("web", values["web"]),
        relay=Values("relay", values["relay"]),
        aggregator=Values("aggregator", values["aggregator"]),
        files=files,
        pidfile=options.get("PIDFILE") or places.pidfile(directories["PID_DIR"], program, instance),
        log_base=log_base,
        warnings=warnings,
        origins=reading.origins,
    )
