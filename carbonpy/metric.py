"""Names and tags: the one rule for what a metric is called and where its file lies.

The law.  A raw name has exactly one canonical form, its *metric*, and `canonical` is idempotent:

* A tagged name is ``name;tag=value;...`` with the strings ``;tag=value`` sorted, duplicate tags
  resolved to the last one and a tag called ``name`` discarded.  OpenMetrics' ``name{tag="value"}``
  is the same thing in other clothes.  Leading ``~`` of the name are dropped, tagged or not.
* A name with a ``;`` whose tags do not parse is kept as it came, as carbon keeps it.
* In an untagged name ``/`` is ``.`` and empty nodes vanish: ``a..b``, ``.a.b``, ``a.b.`` and
  ``a/b`` are all ``a.b``.  Carbon gives them all the same file (or, for ``a.b.``, a hidden one that
  nobody can query); here they are one metric.
* Control characters and text that is no UTF-8 (lone surrogates) are refused, as is a node that
  cannot be a file name and a name that is empty or longer than the limit.

The rules of tags are those of carbon's ``TaggedSeries`` (carbon 1.1, ``util.py``); the layout of
tagged files is ``_tagged/<h[0:3]>/<h[3:6]>/<h>.wsp`` with h the SHA-256 of the canonical name.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import NamedTuple

from carbonpy.errors import MetricError

#: Longest node of an untagged name in bytes: 255 for a file name, less ``.wsp`` and the ``.gz`` or
#: ``.tmp`` that tools append to it.
MAX_NODE_BYTES = 247
#: Default longest name in bytes; a setting may lower or raise it (MAX_NAME_LENGTH).
MAX_NAME_BYTES = 2048

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_EMPTY_NODES = re.compile(r"\.\.+")
_OPENMETRICS_TAG = re.compile(r'([^=]+)="((?:[\\]["\\]|[^"\\])+)"(:?,|$)')
_FORBIDDEN_IN_TAG = ";!^="


class Node(NamedTuple):
    """One place in the tree of dotted names: a metric (leaf), or a prefix of metrics (branch).

    A path can be both, as two nodes.
    """

    path: str
    is_leaf: bool


def canonical(raw: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """The metric that the name `raw` means.  Raises MetricError when it cannot be one."""
    if not raw:
        raise MetricError("empty metric name; give the metric a name")
    if not raw.isascii() and _SURROGATE.search(raw):
        raise MetricError(f"metric name {raw[:60]!r} is not text; send names in UTF-8")
    if len(raw) > max_bytes or (not raw.isascii() and len(raw.encode()) > max_bytes):
        raise MetricError(f"metric name {raw[:60]!r}... is longer than {max_bytes} bytes; shorten it")
    if _CONTROL.search(raw):
        raise MetricError(f"metric name {raw[:60]!r} has a control character; remove it")
    name = raw
    if ";" in raw or raw.endswith('"}'):
        try:
            name, tags = parse_tags(raw)
        except MetricError:
            if ";" in raw:
                return raw
        else:
            if tags:
                return name + "".join(sorted(f";{tag}={value}" for tag, value in tags.items()))
    name = name.replace("/", ".")
    if ".." in name:
        name = _EMPTY_NODES.sub(".", name)
    name = name.lstrip("~.").rstrip(".")
    if name.endswith('"}') and name != raw:
        # What was taken away hid the OpenMetrics form, as in `a{b="c"}.` or `a{b="c"};name=a`.
        return canonical(name, max_bytes)
    if not name:
        raise MetricError(f"metric name {raw[:60]!r} has no node with a name; give it one")
    if len(name) > MAX_NODE_BYTES or not name.isascii():
        for node in name.split("."):
            if len(node.encode()) > MAX_NODE_BYTES:
                raise MetricError(
                    f"node {node[:60]!r}... of a metric name is longer than {MAX_NODE_BYTES} bytes; shorten it"
                )
    return name


def as_it_came(raw: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """`raw` itself, for whoever only passes names on.  Raises MetricError when a line could not carry it."""
    if not raw or len(raw.encode()) > max_bytes:
        raise MetricError(f"metric name {raw[:60]!r} is empty or longer than {max_bytes} bytes")
    if not raw.isprintable() and _CONTROL.search(raw):
        raise MetricError(f"metric name {raw[:60]!r} has a control character; remove it")
    if len(raw.split(None, 1)) != 1 or raw[0].isspace() or raw[-1].isspace():
        raise MetricError(f"metric name {raw[:60]!r} has white space; a line cannot carry it")
    return raw


def is_tagged(metric: str) -> bool:
    """Whether the canonical name `metric` carries tags (and so lives below ``_tagged``)."""
    return ";" in metric


def parse_tags(path: str) -> tuple[str, dict[str, str]]:
    """(name without leading ``~``, tags without ``name``) of either tagged form.

    Raises MetricError naming the segment that is wrong.
    """
    name, *segments = path.split(";")
    if path.endswith('"}') and "{" in name:
        return _parse_openmetrics(path)
    tags: dict[str, str] = {}
    for segment in segments:
        tag, equals, value = segment.partition("=")
        if not equals or not tag:
            raise MetricError(f"cannot parse path {path}, invalid segment {segment!r}; write tag=value")
        tags[tag] = _checked(tag, value)
    tags.pop("name", None)
    return _name_as_tag(path, name), tags


def _parse_openmetrics(path: str) -> tuple[str, dict[str, str]]:
    name, _, rest = path[:-1].partition("{")
    if "{" in rest:
        # Carbon takes such a name as it is, and its file must be found.
        raise MetricError(f"cannot parse path {path}, more than one '{{'; write one before the tags")
    tags: dict[str, str] = {}
    while rest:
        match = _OPENMETRICS_TAG.match(rest)
        if match is None:
            raise MetricError(f'cannot parse path {path}, invalid segment {rest!r}; write tag="value"')
        tag, value = match.group(1), match.group(2).replace('\\"', '"').replace("\\\\", "\\")
        tags[tag] = _checked(tag, value)
        rest = rest[match.end() :]
    tags.pop("name", None)
    return _name_as_tag(path, name), tags


def _checked(tag: str, value: str) -> str:
    if not tag:
        raise MetricError("a tag may not be empty; name it")
    if not value:
        raise MetricError(f"value for tag {tag!r} may not be empty; give it one or leave the tag out")
    for character in _FORBIDDEN_IN_TAG:
        if character in tag:
            raise MetricError(f"character {character!r} is not allowed in tag {tag!r}; remove it")
    if ";" in value:
        raise MetricError(f"character ';' is not allowed in value {value!r} of tag {tag!r}; remove it")
    if value[0] == "~":
        raise MetricError(f"the value of tag {tag!r} may not start with '~'; remove it")
    return value


def _name_as_tag(path: str, name: str) -> str:
    stripped = name.lstrip("~")
    if not stripped:
        raise MetricError(f"cannot parse path {path}, no metric found before the tags; name the metric")
    return stripped


def tags_of(metric: str) -> dict[str, str]:
    """The tags of a canonical metric including ``name``, as the query side and the tag index see them."""
    try:
        name, tags = parse_tags(metric)
    except MetricError:
        return {"name": metric}
    return {"name": name, **tags}


def encoded(metric: str, hash_only: bool = True) -> str:
    """The dotted path under which `metric` is stored: itself, or ``_tagged.abc.def.<leaf>``."""
    if ";" not in metric:
        return metric
    digest = sha256(metric.encode()).hexdigest()
    leaf = digest
    if not hash_only and "/" not in metric:
        readable = metric.replace(".", "_DOT_")
        if len(readable.encode()) <= MAX_NODE_BYTES:
            leaf = readable
    return f"_tagged.{digest[:3]}.{digest[3:6]}.{leaf}"


def relative_path(metric: str, hash_only: bool = True) -> str:
    """Path of the metric's file below the data directory, ``a/b.wsp`` for ``a.b``.

    With `hash_only` false the leaf of a tagged metric is readable (TAG_HASH_FILENAMES = False)
    unless it would be too long or hold a ``/``.
    """
    return encoded(metric, hash_only).replace(".", "/") + ".wsp"
