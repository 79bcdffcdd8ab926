"""The outboxes of a relay and the connections that empty them.

The law: an outbox belongs to a destination by its name, ``host:port`` or ``host:port:instance``, and outlives whatever
configuration mentions it: after a reload it is the same one, and one that is mentioned no more is emptied to its old
destination before it goes.  A way to several destinations puts the same chunk into each of their outboxes; a choice is
made when a chunk comes, by who is live at that moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from carbonpy.daemons.speech import connector, speech_of
from carbonpy.net.couriers import Courier
from carbonpy.relaying.outbox import Outbox
from carbonpy.relaying.plan import Choice
from carbonpy.relaying.plans import Way
from carbonpy.relaying.router import Router
from carbonpy.relaying.spool import Spool
from carbonpy.settings import Settings

log = Logger("relay")
#: Characters of a destination's name that may stand in the name of its directory.
_SAFE = ":[]"


class _Box:
    """An outbox, its courier, and the options that the courier was made with."""

    def __init__(
        self, outbox: Outbox, courier: Courier, address: tuple[str, int], options: Mapping[str, Any]
    ) -> None:
        self.outbox = outbox
        self.address = address
        self.courier = courier
        self.options = options
        #: Whether points come only from choices, so that what is queued may go to another one when this one fails.
        self.direct = False
        self.choices: set[Choice] = set()


class Outboxes:
    """All outboxes of one relay.  Reactor thread only.

    on_room: told when a queue has got shorter.
    """

    def __init__(self, reactor: Any, settings: Settings, *, on_room: Callable[[], None]) -> None:
        self._reactor = reactor
        self._settings = settings
        self._on_room = on_room
        self._boxes: dict[str, _Box] = {}
        #: Those of the router in force, by its numbers; and those that only have to be emptied.
        self._numbered: list[_Box] = []
        self._retiring: dict[str, _Box] = {}
        self._started = False

    def __iter__(self) -> Iterator[tuple[str, Courier]]:
        """(name, courier) of every outbox, also of those that are being emptied."""
        for name, box in {**self._retiring, **self._boxes}.items():
            yield name, box.courier

    # ---- which there are

    def use(self, router: Router) -> None:
        """Take the destinations of this router."""
        numbered = []
        for number, where in enumerate(router.destinations):
            name, options = str(where), dict(router.options_of(number))
            box = self._boxes.get(name) or self._retiring.pop(name, None)
            if box is None:
                box = self._make(name, where.host, where.port, options)
                if self._started:
                    box.courier.start()
            elif box.options != options:
                self._speak_otherwise(box, name, where.host, where.port, options)
            self._boxes[name] = box
            box.direct, box.choices = False, set()
            numbered.append(box)
        used = {str(where) for where in router.destinations}
        for name in [name for name in self._boxes if name not in used]:
            box = self._retiring[name] = self._boxes.pop(name)
            log.info(
                "{name} is no destination any more; {points} points still go there",
                name=name, points=_waiting(box.outbox),
            )  # fmt: skip
        self._numbered = numbered

    def _make(self, name: str, host: str, port: int, options: Mapping[str, Any]) -> _Box:
        own = self._settings.own
        outbox: Outbox
        spool = Spool(
            os.path.join(own.spool_dir, quote(name, safe=_SAFE)),
            max_bytes=own.spool_max_size,
            max_age=own.spool_max_age,
            clock=time.time,
            on_trouble=_report,
            on_dropped=lambda reason, points: outbox.count_dropped(reason, points),
        )
        outbox = Outbox(
            spool,
            limit=own.max_queue_size,
            policy=options.get("policy", own.queue_policy),
            spool_after=own.spool_after,
            replay_rate=own.spool_replay_rate,
            on_trouble=_report,
        )
        if spool.points:
            log.info("{name}: {points} points are in the spool", name=name, points=spool.points)
        return _Box(outbox, self._courier(name, host, port, options, outbox), (host, port), options)

    def _courier(
        self, name: str, host: str, port: int, options: Mapping[str, Any], outbox: Outbox
    ) -> Courier:
        own = self._settings.own
        found: list[Courier] = []
        courier = Courier(
            self._reactor,
            name,
            outbox,
            speech_of(own, options, f"{own.hostname or os.uname().nodename}-{self._settings.instance}"),
            connector(self._reactor, host, port, own, options, lambda: found[0]),
            most_failures=own.dynamic_router_max_retries if own.dynamic_router else 1,
            on_failed=self._failed,
            on_room=self._on_room,
        )
        found.append(courier)
        # A peer that acknowledged once is waited for, not taken for one that never answers because it hangs.
        mark = os.path.join(outbox.spool.directory, "acknowledges")
        if own.acknowledge == "auto" and os.path.exists(mark):
            courier.acknowledges = True
        courier.on_welcome = lambda: _touch(mark)
        return courier

    def _speak_otherwise(self, box: _Box, name: str, host: str, port: int, options: Mapping[str, Any]) -> None:
        log.info("{name}: its options have changed; connecting anew", name=name)
        box.courier.stop(0.0)
        box.options = options
        box.outbox.policy = options.get("policy", self._settings.own.queue_policy)
        box.courier = self._courier(name, host, port, options, box.outbox)
        if self._started:
            box.courier.start()

    def reconfigure(self, settings: Settings) -> None:
        """Take other settings."""
        old, own = self._settings.own, settings.own
        self._settings = settings
        again = [key for key in _SPOKEN if getattr(old, key) != getattr(own, key)]
        for name, box in {**self._retiring, **self._boxes}.items():
            outbox = box.outbox
            outbox.limit, outbox.spool_after = own.max_queue_size, own.spool_after
            outbox.policy = box.options.get("policy", own.queue_policy)
            outbox.replay_rate = own.spool_replay_rate
            outbox.spool.max_bytes, outbox.spool.max_age = own.spool_max_size, own.spool_max_age
            if again:
                self._speak_otherwise(box, name, *box.address, box.options)

    # ---- points

    def put(self, way: Way) -> None:
        """A chunk into the outbox of everybody who is to get it."""
        for target in way.targets:
            if isinstance(target, int):
                box = self._numbered[target]
                box.direct = True
                box.outbox.put(way.chunk)
            else:
                for member in self._chosen(target):
                    box = self._numbered[member]
                    box.choices.add(target)
                    box.outbox.put(way.chunk)

    def _chosen(self, choice: Choice) -> list[int]:
        boxes = self._numbered
        return choice.pick(
            lambda number: not boxes[number].courier.failed, lambda number: _waiting(boxes[number].outbox)
        )

    def _failed(self, courier: Courier) -> None:
        """What is queued for one of several that would do goes to another one."""
        box = next((box for box in self._numbered if box.courier is courier), None)
        if box is None or box.direct or any(choice.count != 1 for choice in box.choices):
            return
        others = {
            number for choice in box.choices for number in choice.members
            if not self._numbered[number].courier.failed
        }  # fmt: skip
        if others:
            chunks = box.outbox.surrender()
            other = self._numbered[min(others, key=lambda number: _waiting(self._numbered[number].outbox))]
            for chunk in chunks:
                other.outbox.put(chunk)
            other.courier.pump()

    def pump(self) -> None:
        """Send what can be sent."""
        for box in self._numbered:
            if box.outbox.queued:
                box.courier.pump()

    # ---- what they are like

    @property
    def waiting(self) -> int:
        """Points that are not delivered, over all destinations."""
        return sum(_waiting(courier.outbox) for _, courier in self)

    @property
    def full(self) -> bool:
        """Whether senders should pause."""
        return any(box.outbox.full for box in self._numbered)

    @property
    def have_room(self) -> bool:
        """Whether senders may go on."""
        low = self._settings.own.queue_low_watermark_pct
        return not any(
            box.outbox.policy == "block" and box.outbox.queued > low * box.outbox.limit for box in self._numbered
        )

    def secured_until(self, now: float) -> float:
        """Until when all points that came in are delivered or on disk."""
        times = [courier.outbox.unsecured_since for _, courier in self]
        return min((since for since in times if since is not None), default=now)

    # ---- time

    def start(self) -> None:
        """Connect to all."""
        self._started = True
        for _, courier in self:
            courier.start()
        for name in self._left_behind():
            log.warn(
                "{path}: holds points for {name}, which is no destination any more; make it one again to send them, "
                "or remove the directory",
                path=self._settings.own.spool_dir,
                name=name,
            )

    def _left_behind(self) -> list[str]:
        try:
            found = os.listdir(self._settings.own.spool_dir)
        except OSError:
            return []
        return [unquote(entry) for entry in sorted(found) if ":" in entry and unquote(entry) not in self._boxes]

    def tick(self, now: float) -> None:
        """To be called a few times a second."""
        for box in (*self._boxes.values(), *self._retiring.values()):
            box.courier.tick(now)
            box.outbox.spool.expire(now)
        for name, box in list(self._retiring.items()):
            if not _waiting(box.outbox):
                log.info("{name} has got all of its points", name=name)
                del self._retiring[name]
                box.courier.stop(0.0)
                box.outbox.spool.close()

    def unsynced(self) -> list[Spool]:
        """The spools in which something is not on the disk for certain."""
        return [courier.outbox.spool for _, courier in self if courier.outbox.spool.unsynced]

    def stop(self, patience: float) -> Deferred[Any]:
        """Send what waits for at most `patience` seconds."""
        return DeferredList([courier.stop(patience) for _, courier in self], consumeErrors=True)

    def close(self) -> int:
        """What is left goes to the spools; how many points that are."""
        for _, courier in self:
            courier.outbox.put_away()
        left = sum(courier.outbox.spooled for _, courier in self)
        for _, courier in self:
            courier.outbox.spool.close()
        return left


def force_to_disk(spools: Iterable[Spool]) -> None:
    """Make spools survive a loss of power, as far as the disk lets us.  Safe from any thread."""
    for spool in spools:
        try:
            spool.sync()
        except OSError as error:
            _report(f"{spool.directory}: cannot be forced to the disk: {error}; a loss of power may cost points")


#: Settings that change how destinations are spoken to.
_SPOKEN = (
    "destination_protocol",
    "destination_transport",
    "destination_ssl_ca",
    "destination_tls_certificate",
    "destination_tls_key",
    "destination_compression",
    "destination_connect_timeout",
    "max_datapoints_per_message",
    "acknowledge",
    "acknowledge_timeout",
)


def _waiting(outbox: Outbox) -> int:
    return outbox.queued + outbox.in_flight + outbox.spooled


def _touch(path: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "ab"):
            pass
    except OSError as error:
        _report(f"{path}: cannot be written: {error}; after a restart we do not know that the destination acknowledges")


def _report(sentence: str) -> None:
    log.error("{sentence}", sentence=sentence)
