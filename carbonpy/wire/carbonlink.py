"""CarbonLink: the questions graphite-web asks a cache, and the answers, as pickles of plain dicts.

The law: a request is one of four questions or `Unknown`; whatever the bytes, `decode_request` gives one of these or
raises WireError, whose text can be sent back as an error.  Replies are protocol 2 pickles of dicts, lists, tuples,
text and numbers, which the restricted unpicklers of all graphite-web versions read::

    {'type': 'cache-query', 'metric': m}                     {'datapoints': [(timestamp, value), ...]}
    {'type': 'cache-query-bulk', 'metrics': [m, ...]}        {'datapointsByMetric': {m: [(timestamp, value), ...]}}
    {'type': 'get-metadata', 'metric': m, 'key': k}          {'value': v}
    {'type': 'set-metadata', 'metric': m, 'key': k,
                             'value': v}                     {'old_value': v, 'new_value': v}
    anything else                                            {'error': 'Invalid request type "X"'}

A frame of either direction is one such pickle behind its length (see `framing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from carbonpy.errors import WireError
from carbonpy.wire.pickled import decode_plain, encode_plain

#: (timestamp, value) pairs in the order in which a reader may lay one over the other: the last one wins.
Datapoints = Sequence[tuple[float, float]]


_MAX_ECHO = 400  # characters of an unknown type that we say back


class CacheQuery(NamedTuple):
    """Which points of one metric are not on disk yet?  `metric` is as it was asked, not made canonical."""

    metric: str


class BulkQuery(NamedTuple):
    """The same for several metrics."""

    metrics: tuple[str, ...]


class GetMetadata(NamedTuple):
    """What is `key` (``aggregationMethod``) of the metric's file?"""

    metric: str
    key: str


class SetMetadata(NamedTuple):
    """Make `key` of the metric's file `value`."""

    metric: str
    key: str
    value: Any


class Unknown(NamedTuple):
    """A request of a type that CarbonLink does not have."""

    type: str


Request = CacheQuery | BulkQuery | GetMetadata | SetMetadata | Unknown


def decode_request(frame: bytes) -> Request:
    """The question in one frame.  Raises WireError with a sentence for the asker.  Safe from any thread."""
    asked = decode_plain(frame)
    if not isinstance(asked, dict):
        raise WireError(f"a CarbonLink request is a dict, not a {type(asked).__name__}; send one with a 'type'")
    request = {_text(key, "a key"): value for key, value in asked.items()}
    if "type" not in request:
        raise WireError("the CarbonLink request has no 'type'; send for example 'cache-query'")
    kind = request["type"]
    if kind in ("cache-query", b"cache-query"):
        return CacheQuery(_text(_field(request, "metric"), "metric"))
    if kind in ("cache-query-bulk", b"cache-query-bulk"):
        metrics = _field(request, "metrics")
        if not isinstance(metrics, (list, tuple, set, frozenset)):
            raise WireError("'metrics' of a CarbonLink request is a list of names; send a list")
        return BulkQuery(tuple(_text(metric, "each of 'metrics'") for metric in metrics))
    if kind in ("get-metadata", b"get-metadata"):
        return GetMetadata(_text(_field(request, "metric"), "metric"), _text(_field(request, "key"), "key"))
    if kind in ("set-metadata", b"set-metadata"):
        metric, key = _text(_field(request, "metric"), "metric"), _text(_field(request, "key"), "key")
        value = _field(request, "value")
        return SetMetadata(metric, key, _text(value, "value") if isinstance(value, bytes) else value)
    if not isinstance(kind, (str, bytes, int, float, bool)) and kind is not None:
        raise WireError(f"the type of a CarbonLink request is text, not a {type(kind).__name__}; send 'cache-query'")
    text = kind.decode("utf-8", "replace") if isinstance(kind, bytes) else str(kind)
    return Unknown(text[:_MAX_ECHO])


def encode_datapoints(datapoints: Datapoints) -> bytes:
    """The answer to a CacheQuery."""
    return encode_plain({"datapoints": list(datapoints)})


def encode_bulk(by_metric: Mapping[str, Datapoints]) -> bytes:
    """The answer to a BulkQuery: every metric that was asked, with [] for one that is not cached."""
    return encode_plain({"datapointsByMetric": {metric: list(points) for metric, points in by_metric.items()}})


def encode_metadata(value: Any) -> bytes:
    """The answer to GetMetadata."""
    return encode_plain({"value": value})


def encode_metadata_set(old: Any, new: Any) -> bytes:
    """The answer to SetMetadata."""
    return encode_plain({"old_value": old, "new_value": new})


def encode_error(text: str) -> bytes:
    """The answer to a request that cannot be answered."""
    return encode_plain({"error": text})


def encode_unknown(request: Unknown) -> bytes:
    """The answer to a request of a type that there is not."""
    return encode_error(f'Invalid request type "{request.type}"')


def _field(request: dict[str, Any], name: str) -> Any:
    try:
        return request[name]
    except KeyError:
        raise WireError(f"the CarbonLink request {request['type']!r:.60} has no {name!r}; send it too") from None


def _text(value: Any, what: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise WireError(f"{what} of a CarbonLink request is not UTF-8; send text") from None
    if not isinstance(value, str):
        raise WireError(f"{what} of a CarbonLink request is text, not a {type(value).__name__}; send text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WireError(f"{what} of a CarbonLink request has half a character (a lone surrogate); send text") from None
    return value
