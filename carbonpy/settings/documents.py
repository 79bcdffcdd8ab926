"""The documents that are made from the table: conf/carbonpy.yaml, conf/carbon.conf.example, docs/settings.rst.

The law: each names every setting once with its default and its sentence, and nothing in them is written by
hand.  ``python -m carbonpy.settings.documents`` in the source tree writes them again; a test compares.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Mapping

from carbonpy.settings.loading import load
from carbonpy.settings.table import SECTIONS, SECTIONS_OF, SETTINGS, Setting
from carbonpy.settings.unsupported import RELAY_UNSUPPORTED, UNSUPPORTED

_YAML_HEAD = """\
# Every setting of carbonpy with its default.  Remove the "# " before a setting to change it.
#
# The file runs as it is: carbonpy cache --config carbonpy.yaml.  Rules files (storage-schemas.conf,
# storage-aggregation.conf, whitelist.conf, blacklist.conf) lie beside it.  "carbonpy check-config FILE"
# says what is wrong with it.  Settings marked (reload) take effect on SIGHUP, others after a restart.
# Addresses with colons need quotes: "::" listens on every IPv4 and IPv6 address.
#
# What is only for one instance (carbonpy cache --instance b) stands below "instances":
#
#   instances:
#     b:
#       cache: {line_receiver_port: 2103, pickle_receiver_port: 2104, cache_query_port: 7102}
#       web: {http_port: 8081}
"""

_INI_HEAD = """\
# Every setting of carbonpy in the spelling of carbon, with its default.  Remove the "# " before a setting to
# change it.
#
# An existing carbon.conf is read as it is; this file shows what may be added to it.  Rules files lie beside it.
# "carbonpy check-config FILE" says what is wrong with it.  Settings marked (reload) take effect on SIGHUP, others
# after a restart.  %(STORAGE_DIR)s in a value is the value of STORAGE_DIR; a percent sign is written %%.
#
# What is only for one instance (carbonpy cache --instance b) stands in sections of its own:
#
#   [cache:b]
#   LINE_RECEIVER_PORT = 2103
#   [web:b]
#   HTTP_PORT = 8081
"""

_RST_HEAD = """\
Settings
========

.. This page is made from the table of settings: python -m carbonpy.settings.documents

Every daemon takes ``--config FILE``, and they may share one file: ``carbonpy cache`` and ``carbonpy web`` read the
sections ``cache`` and ``web``, a relay reads ``relay``, an aggregator ``aggregator``. When the file's name ends in
``.yaml`` or ``.yml`` it is YAML with the mappings ``cache:``, ``web:``, ``relay:`` and ``aggregator:`` and the names
below in lower case; what is only for instance b stands below ``instances: {b: {cache: ..., web: ...}}``. Any other
name is a ``carbon.conf`` with the sections ``[cache]``, ``[web]``, ``[relay]`` and ``[aggregator]``, and ``[cache:b]``
and so on for instance b. An existing ``carbon.conf`` is read as it is. The default instance is ``a``; what is said for
an instance wins over what is said for all, and the command line over both.

``carbonpy check-config FILE`` says what is wrong, with the line; ``carbonpy check-config --show FILE`` prints what is
in force and where each value comes from. A wrong value is an error and the daemon does not start; a name that is not
known is a warning. "On reload" means that the daemon takes a change on when it gets SIGHUP; the others need a restart.

Directories follow carbon's rules: ``$GRAPHITE_ROOT`` (``/opt/graphite`` when unset) holds ``storage`` and ``conf``;
``$GRAPHITE_STORAGE_DIR`` and ``$GRAPHITE_CONF_DIR`` move them; the directory of FILE is CONF_DIR.

"""


def carbonpy_yaml() -> str:
    """The text of conf/carbonpy.yaml."""
    lines = [_YAML_HEAD]
    for section in SECTIONS:
        lines.append(f"{section}:")
        for group, settings in _groups(section):
            lines.append(f"  # --- {group} ---\n")
            for setting in settings:
                lines.extend(_comment(setting, "  # "))
                lines.append(f"  # {setting.key}: {setting.kind.show(_default(setting))}\n")
    return "\n".join(lines).rstrip() + "\n"


def carbon_conf() -> str:
    """The text of conf/carbon.conf.example."""
    lines = [_INI_HEAD]
    for section in SECTIONS:
        lines.append(f"[{section}]")
        for group, settings in _groups(section):
            lines.append(f"# --- {group} ---\n")
            for setting in settings:
                lines.extend(_comment(setting, "# "))
                lines.append(f"# {setting.name} = {setting.kind.show_ini(_default(setting))}".rstrip() + "\n")
    return "\n".join(lines).rstrip() + "\n"


def settings_rst() -> str:
    """The text of docs/settings.rst."""
    lines = [_RST_HEAD]
    for section in SECTIONS:
        for group, settings in _groups(section):
            title = f"{group} [{section}]"
            lines.append(f"{title}\n{'-' * len(title)}\n")
            for setting in settings:
                lines.append(f"``{setting.name}``")
                lines.extend(_wrapped(setting.sentence))
                when = "on reload" if setting.reload else "at start"
                default = setting.default_text.replace("\\", "\\\\")
                lines.append(f"    *{setting.kind.description}; default* ``{default}``\\ *; {when}*\n")
    lines.append("Settings of carbon that carbonpy does not use\n" + "-" * 45 + "\n")
    lines.append("A file with one of these is read all the same, with a warning.\n")
    _unused(lines, UNSUPPORTED)
    lines.append("Settings of carbon's relays and aggregators that carbonpy does not use\n" + "-" * 70 + "\n")
    _unused(lines, {name: advice for name, advice in RELAY_UNSUPPORTED.items() if UNSUPPORTED.get(name) != advice})
    return "\n".join(lines).rstrip() + "\n"


def _unused(lines: list[str], unsupported: Mapping[str, str]) -> None:
    for advice in dict.fromkeys(unsupported.values()):
        names = [name for name, what in unsupported.items() if what == advice]
        lines.extend(textwrap.wrap(", ".join(f"``{name}``" for name in names), 120, break_on_hyphens=False))
        lines.append("")
        lines.extend(_wrapped(f"{advice[0].upper()}{advice[1:]}."))
        lines.append("")


#: Path in the source tree -> what makes its text.
DOCUMENTS = {
    "conf/carbonpy.yaml": carbonpy_yaml,
    "conf/carbon.conf.example": carbon_conf,
    "docs/settings.rst": settings_rst,
}


def _groups(section: str) -> Iterator[tuple[str, list[Setting]]]:
    names = dict.fromkeys(setting.group for setting in SETTINGS if setting.section == section)
    for group in names:
        yield group, [setting for setting in SETTINGS if setting.section == section and setting.group == group]


def _default(setting: Setting) -> object:
    """What the setting is when nothing is configured, neither in a file nor in the environment."""
    program = next(name for name, sections in SECTIONS_OF.items() if setting.section in sections)
    bare = load(None, program=program, environ={})
    if setting.name == "LOG_DIR":
        return bare.log_base
    return bare.value(setting) if setting.derived else setting.default


def _wrapped(sentence: str) -> list[str]:
    indent = "    "
    return textwrap.wrap(sentence, 116, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _comment(setting: Setting, prefix: str) -> list[str]:
    paragraphs = [setting.sentence + (" (reload)" if setting.reload else "")]
    if setting.derived:
        paragraphs.append(f"Default: {setting.derived}.")
    return [
        line
        for paragraph in paragraphs
        for line in textwrap.wrap(
            paragraph, 112, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
        )
    ]


def write(root: str) -> None:
    """Write the documents below `root`, the top of the source tree."""
    for path, make in DOCUMENTS.items():
        with open(os.path.join(root, path), "w", encoding="utf-8") as file:
            file.write(make())


if __name__ == "__main__":
    write(sys.argv[1] if len(sys.argv) > 1 else ".")
