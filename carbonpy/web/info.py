"""/info and /_internal/capabilities: how metrics are stored, and which protocols this server speaks.

The law: the shapes are go-carbon's, which carbonapi reads: json, and protobuf of both versions.  A
metric that is not known is left out; when none is known the answer is 404.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from carbonpy.errors import QueryError, WireError
from carbonpy.reading.store import Info
from carbonpy.web.answer import UNCACHED, Answer, Query, json_answer, sentence
from carbonpy.web.limits import Budget, Limits
from carbonpy.web.render import CONTENT_TYPES, format_of
from carbonpy.wire import protobuf

#: Best first: carbonapi takes the first that it knows.
PROTOCOLS = (
    "carbonapi_v3_pb",
    "carbonapi_v2_pb",
    "graphite-web-pickle",
    "graphite-web-pickle-1.1",
    "carbonapi_v2_json",
)
_FORMATS = dict.fromkeys(("json", "protobuf", "carbonapi_v3_pb"))


class Informed(Protocol):
    """The store, as far as these answers need it."""

    def info(self, metrics: Sequence[str]) -> Mapping[str, Info]:
        """How the files of metrics are made, for those that are known."""


class Infos(NamedTuple):
    """Answers /info and /_internal/capabilities.  Safe from any thread if the store is."""

    store: Informed
    limits: Limits

    def info(self, query: Query, budget: Budget) -> Answer:
        """How the metrics named by ``target`` (or in a body of protocol 3) are stored.  Raises QueryError."""
        form = format_of(query, _FORMATS, "json")
        names = self._names(query, form)
        if len(names) > self.limits.targets:
            raise QueryError(f"{len(names)} metrics in one request; ask for at most {self.limits.targets}")
        known = self.store.info(names)
        budget(0)
        found = [_response(name, known[name]) for name in names if name in known]
        if not found:
            return sentence("no such metric is known", 404)
        if form == "carbonapi_v3_pb":
            data = protobuf.encode(protobuf.MultiMetricsInfoResponse(tuple(found)))
        elif form == "protobuf":
            data = protobuf.encode(found[0])
        else:
            documents = [_document(one) for one in found]
            return json_answer(query, documents[0] if len(names) == 1 else documents)
        return Answer([data], CONTENT_TYPES[form], headers=UNCACHED)

    def capabilities(self, query: Query, budget: Budget) -> Answer:
        """What carbonapi asks at its start."""
        able = protobuf.CapabilityResponse(PROTOCOLS, socket.gethostname(), like_splitted_requests=True)
        if format_of(query, _FORMATS, "json") != "json":
            return Answer([protobuf.encode(able)], CONTENT_TYPES["carbonapi_v3_pb"], headers=UNCACHED)
        document = {
            "supportedProtocols": list(able.supported_protocols),
            "name": able.name,
            "highPrecisionTimestamps": able.high_precision_timestamps,
            "supportFilteringFunctions": able.support_filtering_functions,
            "likeSplittedRequests": able.like_splitted_requests,
            "supportStreaming": able.support_streaming,
        }
        return json_answer(query, document)

    def _names(self, query: Query, form: str) -> list[str]:
        if form == "carbonapi_v3_pb" and query.body:
            try:
                asked = protobuf.decode(protobuf.MultiMetricsInfoRequest, query.body, most=100 * self.limits.targets)
            except WireError as error:
                raise QueryError(f"the body cannot be read: {error}") from None
            return list(dict.fromkeys(asked.names))
        names = [name for name in dict.fromkeys(query.parameters.all("target")) if name]
        if not names:
            raise QueryError("missing required parameter 'target'; write the name of a metric")
        return names


def _response(name: str, info: Info) -> protobuf.MetricsInfoResponse:
    retentions = tuple(protobuf.Retention(archive.step, archive.points) for archive in info.archives)
    return protobuf.MetricsInfoResponse(name, info.method, info.max_retention, info.xff, retentions)


def _document(info: protobuf.MetricsInfoResponse) -> dict[str, Any]:
    return {
        "name": info.name,
        "aggregationMethod": info.consolidation_func,
        "maxRetention": info.max_retention,
        "xFilesFactor": info.x_files_factor,
        "retentions": [
            {"secondsPerPoint": one.seconds_per_point, "numberOfPoints": one.number_of_points}
            for one in info.retentions
        ],
    }
