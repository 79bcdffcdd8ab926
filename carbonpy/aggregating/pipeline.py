"""What a name means for rewriting and aggregation: decided once for each name that is seen.

The law is carbon's pipeline of an aggregator: ``rewrite:pre``, then every aggregation rule that matches takes the
point, then, when FORWARD_ALL is set, ``rewrite:post`` gives the name under which it goes on.  A point whose own name
is one of the outputs that it goes into does not go on.  Aggregates are sent under the name that their rule gave them;
with `rewrite_aggregates` that name goes through ``rewrite:post``, too, which carbon's documentation says and its
code does not do.
"""

from __future__ import annotations

from typing import NamedTuple

from carbonpy.rules.aggregates import AggregateSpec, AggregationRules
from carbonpy.rules.rewriting import RewriteRules


class Course(NamedTuple):
    """Where the points of one name go.  Immutable.

    `sent_as`: the name under which they go on, None when they do not.  `feeds`: (output, spec) for each rule that takes
    them; one output twice when two rules give it, and then it gets them twice, as in carbon.
    """

    sent_as: bytes | None
    feeds: tuple[tuple[bytes, AggregateSpec], ...]


class Pipeline:
    """The rules that are in force, as one decision.  Immutable, safe from any thread."""

    def __init__(
        self,
        rewriting: RewriteRules,
        aggregating: AggregationRules,
        *,
        forward_all: bool = True,
        rewrite_aggregates: bool = False,
    ) -> None:
        self.rewriting = rewriting
        self.aggregating = aggregating
        self.forward_all = forward_all
        self.rewrite_aggregates = rewrite_aggregates

    def of(self, name: bytes) -> Course:
        """Where the points of `name`, a name as it was sent, go."""
        text = self.rewriting.pre(name.decode(errors="surrogateescape"))
        outputs = self.aggregating.outputs(text)
        feeds = []
        for number, output in outputs:
            called = self.rewriting.post(output) if self.rewrite_aggregates else output
            feeds.append((called.encode(errors="surrogateescape"), self.aggregating.rules[number].spec))
        if not self.forward_all or text in [output for _, output in outputs]:
            return Course(None, tuple(feeds))
        return Course(self.rewriting.post(text).encode(errors="surrogateescape"), tuple(feeds))
