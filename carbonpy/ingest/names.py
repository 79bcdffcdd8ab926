"""The name table: raw names as they came over the wire to small integers, decided once.

The law.  `ids` maps a raw name either to the id of its metric (FIRST_ID and up) or to a verdict
below FIRST_ID that says why the name is refused.  Two raw names with the same canonical form have
the same id.  An id never changes its metric, but a metric that was deleted comes back with a new
one.  When the lists of allowed and denied names change, `judge_again` recomputes the mapping, not
the datapoints.  Where names are rewritten as they come in, a raw name leads to the metric that it is
rewritten to, and `identify` to the metric that has exactly this name.

The table is bounded: with `max_names` raw names of metrics new ones get the verdict FULL and are
not remembered, so a flood of random names costs time but no memory.  Of refused names only some are
remembered, and they take no place from others: junk that a list denies never fills the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from carbonpy.errors import MetricError
from carbonpy.metric import MAX_NAME_BYTES, MAX_NODE_BYTES, canonical

#: Verdicts: why a name is refused.  The words are the ledger's reasons.
VERDICTS = ("", "blacklisted", "not_whitelisted", "invalid_name", "too_many_names", "not_forwarded")
DENIED, NOT_ALLOWED, INVALID, FULL, NOT_FORWARDED = 1, 2, 3, 4, 5
#: The first id of a metric; smaller numbers are verdicts.
FIRST_ID = 16

#: So many refused names are remembered; when there are more, all are forgotten and decided anew as they come.
MAX_REFUSALS = 65536
#: Names that are their own canonical form beyond doubt: printable ASCII, no tags, no slash, no empty node.
_PLAIN = re.compile(rb"[^\x00-\x20./;~}\x7f-\xff]+(?:\.[^\x00-\x20./;~}\x7f-\xff]+)*\Z").match
#: The bytes of such names.
_PLAIN_BYTES = bytes(code for code in range(0x21, 0x7F) if code not in b"/;~}")

#: Decides whether a raw name may pass: 0, DENIED or NOT_ALLOWED.
Judge = Callable[[str], int]
#: What a raw name means, of at most so many bytes: its canonical name.  Raises MetricError.
Form = Callable[[str, int], str]
#: What a raw name is rewritten to; None when its points go into aggregates only.
Rename = Callable[[bytes], "bytes | None"]


def judge_by_lists(denied: Callable[[str], bool] | None, allowed: Callable[[str], bool] | None) -> Judge:
    """A Judge from the matchers of blacklist.conf and whitelist.conf (None: no such list, or an empty one)."""

    def judge(name: str) -> int:
        if denied is not None and denied(name):
            return DENIED
        if allowed is not None and not allowed(name):
            return NOT_ALLOWED
        return 0

    return judge


def let_all_pass(name: str) -> int:
    """The Judge without lists."""
    return 0


def _are_plain(names: Sequence[bytes], most_bytes: int) -> bool:
    """Whether all names are their own canonical forms beyond doubt, as `_PLAIN` has it."""
    text = b"\n%b\n" % b"\n".join(names)
    if len(max(names, key=len)) > most_bytes or text.translate(None, _PLAIN_BYTES) != b"\n" * (len(names) + 1):
        return False
    return not any(wrong in text for wrong in (b"..", b"\n.", b".\n", b"\n\n"))


class NameTable:
    """Raw names to ids.  One thread interns (the reactor's); looking up a metric is safe from any thread."""

    def __init__(
        self,
        judge: Judge = let_all_pass,
        max_names: int = 4_000_000,
        max_name_bytes: int = MAX_NAME_BYTES,
        form: Form = canonical,
        rename: Rename | None = None,
    ) -> None:
        self.ids: dict[bytes, int] = {}
        self.max_names = max_names
        self.max_name_bytes = max_name_bytes
        self._plain_bytes = min(MAX_NODE_BYTES, max_name_bytes)
        self._judge = judge
        self._form = form
        self._rename = rename
        self._metrics: list[bytes] = [b""] * FIRST_ID
        self._refused: list[bytes] = []
        #: Ids that no name leads to any more.
        self._forgotten: set[int] = set()
        #: Metrics that were never seen under their canonical name, only under another raw one; all when names are
        #: rewritten, for then a canonical name in `ids` may lead elsewhere.
        self._elsewhere: dict[bytes, int] = {}
        #: Called with canonical names (UTF-8) that are seen for the first time and the id of the first of them; the
        #: others have the ids behind it.
        self.on_new: list[Callable[[int, Sequence[bytes]], None]] = []

    def __len__(self) -> int:
        """How many metrics have had an id."""
        return len(self._metrics) - FIRST_ID

    @property
    def next_id(self) -> int:
        """The id that the next new metric will get."""
        return len(self._metrics)

    def intern(self, raw: bytes) -> int:
        """The id or verdict of `raw`, decided now if the name is new."""
        known = self.ids.get(raw)
        if known is not None:
            return known
        if len(self.ids) - len(self._refused) >= self.max_names:
            return FULL
        verdict = 0
        if self._judge is let_all_pass and self._rename is None and len(raw) <= self._plain_bytes and _PLAIN(raw):
            metric = raw
        else:
            try:
                name = raw.decode()
                verdict = self._judge(name)
                if self._rename is not None and not verdict:
                    renamed = self._rename(raw)
                    if renamed is None:
                        self.ids[raw] = NOT_FORWARDED
                        return NOT_FORWARDED
                    name = renamed.decode()
                metric = b"" if verdict else self._form(name, self.max_name_bytes).encode()
            except (UnicodeDecodeError, MetricError):
                verdict = INVALID
        if verdict:
            self._remember_refusal(raw, verdict)
            return verdict
        identity = self._look_up(metric)
        if identity is None:
            identity = self._meet(metric, raw)
        self.ids[raw] = identity
        return identity

    def intern_all(self, raws: Sequence[bytes]) -> list[int]:
        """The ids or verdicts of `raws`.  New names are decided together if all of them are plain."""
        known = self.ids
        new = [raw for raw in dict.fromkeys(raws) if raw not in known]
        if (
            len(new) > 1
            and self._judge is let_all_pass
            and self._rename is None
            and len(known) - len(self._refused) + len(new) <= self.max_names
            and self._elsewhere.keys().isdisjoint(new)
            and _are_plain(new, self._plain_bytes)
        ):
            first = len(self._metrics)
            known.update(zip(new, range(first, first + len(new))))
            self._metrics += new
            for tell in self.on_new:
                tell(first, new)
        return list(map(self.intern, raws))

    def _meet(self, metric: bytes, raw: bytes) -> int:
        """The id of a metric that is new, and was seen as `raw`."""
        identity = len(self._metrics)
        if metric == raw:
            metric = raw
        if metric != raw or self._rename is not None:
            self._elsewhere[metric] = identity
        self._metrics.append(metric)
        for tell in self.on_new:
            tell(identity, [metric])
        return identity

    def identify(self, name: bytes) -> int:
        """The id of the metric that `name` itself is, however raw names are rewritten; or a verdict.

        For what comes from within: aggregates, the journal.  Where no names are rewritten, the same as `intern`.
        """
        if self._rename is None:
            return self.intern(name)
        identity = self._elsewhere.get(name)
        if identity is not None:
            return identity
        try:
            metric = self._form(name.decode(), self.max_name_bytes).encode()
        except (UnicodeDecodeError, MetricError):
            return INVALID
        identity = self._elsewhere.get(metric)
        if identity is None:
            if len(self._elsewhere) >= self.max_names:
                return FULL
            identity = self._meet(metric, name)
        return identity

    def _remember_refusal(self, raw: bytes, verdict: int) -> None:
        if len(raw) > 256:
            return
        if len(self._refused) >= MAX_REFUSALS:
            for name in self._refused:
                del self.ids[name]
            self._refused.clear()
        self._refused.append(raw)
        self.ids[raw] = verdict

    def _look_up(self, metric: bytes) -> int | None:
        # `canonical` is idempotent, so a canonical name in `ids` maps to itself, unless a list refuses it.
        identity = self.ids.get(metric, 0) if self._rename is None else 0
        return identity if identity >= FIRST_ID else self._elsewhere.get(metric)

    def forget(self, identities: Collection[int]) -> None:
        """These metrics are gone: their names get new ids when they come again.

        Takes a look at every raw name if any metric has a raw name that is not its own, else only at theirs.
        """
        gone = set(identities)
        aliases = len(self.ids) - len(self._refused) != len(self) - len(self._forgotten) or bool(self._elsewhere)
        raws = [raw for raw, identity in self.ids.items() if identity in gone] if aliases else self.metrics(gone)
        for raw in raws:
            if self.ids.get(raw) in gone:
                del self.ids[raw]
        for metric in self.metrics(gone):
            if self._elsewhere.get(metric) in gone:
                del self._elsewhere[metric]
        self._forgotten |= gone

    def id_of(self, metric: str) -> int | None:
        """The id of a canonical name, None if it was never seen (or is refused).  Safe from any thread."""
        key = metric.encode()
        identity = self._look_up(key)
        return identity if identity is not None and self._metrics[identity] == key else None

    def metric(self, identity: int) -> str:
        """The canonical name of an id.  Safe from any thread."""
        return self._metrics[identity].decode()

    def metrics(self, identities: Iterable[int]) -> list[bytes]:
        """Canonical names (UTF-8) of many ids."""
        names = self._metrics
        return [names[identity] for identity in identities]

    def __iter__(self) -> Iterator[str]:
        """All canonical names in the order of their ids."""
        for metric in self._metrics[FIRST_ID:]:
            yield metric.decode()

    def judge_again(self, judge: Judge) -> int:
        """Take a new Judge and decide every raw name anew; how many verdicts changed."""
        self._judge = judge
        raws = self.ids
        numbered = enumerate(self._metrics[FIRST_ID:], FIRST_ID)
        self._elsewhere = {metric: number for number, metric in numbered if number not in self._forgotten}
        self.ids = {}
        self._refused = []
        changed = 0
        for raw, before in raws.items():
            if before < FIRST_ID:
                after = self.intern(raw)
                changed += after != before
            elif verdict := judge(raw.decode()):
                self._remember_refusal(raw, verdict)
                changed += 1
            else:  # a name that was good keeps its id: its canonical form need not be found again
                self.ids[raw] = before
        if self._rename is None:
            self._elsewhere = {m: number for m, number in self._elsewhere.items() if self.ids.get(m) != number}
        return changed

    def rename_again(self, rename: Rename | None) -> None:
        """Rewrite raw names in another way from now on: each is decided anew when it comes."""
        self._rename = rename
        self.ids = {}
        self._refused = []
        self._elsewhere = {metric: number for number, metric in enumerate(self._metrics) if number >= FIRST_ID}
