"""What a daemon and the processes that answer its queries say to each other, as parcels.

    daemon -> process                                process -> daemon
    setup    how to make the service    (first)
    rules    texts of the rules files
    query    a Query                                 answer  an Answer without its body, which follows as it is
                                                     piece   (at, size) more of the body of an answer with the
                                                             field ``more``, on a tray
                                                     end     (cost) that was all of it
                                                     broken  the rest cannot be made
    leave    the client has left
    points   cached points of metrics        <-      peek    metrics
    named    done                            <-      names   bring what was noted into the catalogue
    unserved it could not be done
                                                     log     what happened, for the daemon's log

A daemon gives each tray back, see `carbonpy.net.trays`.

The law: what was packed is unpacked equal, and only plain values travel: JSON and columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonpy.net.trays import Place
from carbonpy.web.answer import Answer, Cost, Query
from carbonpy.web.parameters import Parameters
from carbonpy.writing.parcel import Blob, Parcel, pack

#: (timestamps, values) of what is cached of a metric.
Points = tuple[NDArray[np.uint32], NDArray[np.float64]]


def pack_query(query: Query, named: bool = False) -> list[Blob]:
    """The parcel ``query``.  named: whether all names are in the catalogue, so that there is no need to ask."""
    fields = {
        "path": query.path,
        "parameters": query.parameters.pairs(),
        "method": query.method,
        "headers": dict(query.headers),
        "now": query.now,
        "named": named,
    }
    return pack("query", fields, [query.body])


def unpack_query(parcel: Parcel) -> Query:
    """The Query of a parcel."""
    fields = dict(parcel.fields)
    fields.pop("named")
    parameters = Parameters((name, value) for name, value in fields.pop("parameters"))
    return Query(parameters=parameters, body=bytes(parcel.blobs[0]), **fields)


def pack_answer(answer: Answer, last: bool = False) -> list[Blob]:
    """The parcel ``answer``, which does not have the body, and the pieces of that.  last: the process ends after it.

    The `rest` of an answer is to follow in parcels ``piece``.
    """
    fields: dict[str, Any] = {
        "content_type": answer.content_type,
        "status": answer.status,
        "headers": list(answer.headers),
        "kept": answer.kept,
        "cost": answer.cost._asdict(),
        "partial": list(answer.partial),
    }
    if last:
        fields["last"] = True
    if answer.rest is not None:
        fields["more"], fields["rest_size"] = True, answer.rest_size
    return [*pack("answer", {**fields, "size": sum(map(len, answer.chunks))}), *answer.chunks]


def unpack_answer(fields: dict[str, Any], chunks: Sequence[bytes]) -> Answer:
    """The Answer of the fields of its parcel and the pieces of its body."""
    return Answer(
        chunks,
        content_type=fields["content_type"],
        status=fields["status"],
        headers=tuple((name, value) for name, value in fields["headers"]),
        kept=fields["kept"],
        cost=Cost(**fields["cost"]),
        partial=tuple(fields["partial"]),
        rest_size=fields.get("rest_size"),
    )


def pack_piece(place: Place) -> list[Blob]:
    """The parcel ``piece``, which says where it lies."""
    at, size = place
    return pack("piece", {"at": at, "size": size})


def pack_peek(metrics: Iterable[str]) -> list[Blob]:
    """The parcel ``peek``."""
    return pack("peek", {}, ["\n".join(metrics).encode("utf-8", "surrogatepass")])


def unpack_peek(parcel: Parcel) -> list[str]:
    """The metrics of a parcel ``peek``."""
    text = bytes(parcel.blobs[0]).decode("utf-8", "surrogatepass")
    return text.split("\n") if text else []


def pack_points(found: Sequence[Points | None]) -> list[Blob]:
    """The parcel ``points``: for each metric that was asked what is cached of it, None if it is not known at all."""
    counts = np.array([-1 if points is None else len(points[0]) for points in found], np.int64)
    known = [points for points in found if points is not None]
    timestamps = np.concatenate([points[0] for points in known]) if known else np.empty(0, np.uint32)
    values = np.concatenate([points[1] for points in known]) if known else np.empty(0, np.float64)
    return pack("points", {}, [counts.tobytes(), timestamps.astype(np.uint32).tobytes(), values.tobytes()])


def unpack_points(parcel: Parcel) -> list[Points | None]:
    """The points of a parcel ``points``, metric by metric."""
    counts, timestamps, values = (
        np.frombuffer(blob, kind) for blob, kind in zip(parcel.blobs, (np.int64, np.uint32, np.float64))
    )
    ends = np.cumsum(np.maximum(counts, 0)).tolist()
    found: list[Points | None] = []
    start = 0
    for count, end in zip(counts.tolist(), ends):
        found.append(None if count < 0 else (timestamps[start:end], values[start:end]))
        start = end
    return found
