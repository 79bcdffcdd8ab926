"""Where a name goes: rewriting, aggregation, forwarding."""

from __future__ import annotations

from carbonpy.aggregating.pipeline import Course, Pipeline
from carbonpy.rules.aggregates import AggregateSpec, AggregationRules
from carbonpy.rules.rewriting import RewriteRules

REWRITING = RewriteRules.parse("[pre]\n^raw\\. = in.\n[post]\n^in\\. = out.\n^agg\\. = sums.\n", "rewrite-rules.conf")
RULES = AggregationRules.parse(
    "agg.<x> (10) = sum in.<x>.*\nagg.<x> (60) = max in.<x>.a\nin.same (10) = sum in.same\n", "aggregation-rules.conf"
)
TEN, MINUTE = AggregateSpec(10, "sum"), AggregateSpec(60, "max")


def test_a_name_is_rewritten_then_aggregated_then_rewritten_again() -> None:
    pipeline = Pipeline(REWRITING, RULES)
    assert pipeline.of(b"raw.h.b") == Course(b"out.h.b", ((b"agg.h", TEN),))
    assert pipeline.of(b"other") == Course(b"other", ())


def test_two_rules_with_one_output_feed_it_twice_as_in_carbon() -> None:
    assert Pipeline(REWRITING, RULES).of(b"in.h.a").feeds == ((b"agg.h", TEN), (b"agg.h", MINUTE))


def test_a_metric_that_is_its_own_aggregate_does_not_go_on_itself() -> None:
    assert Pipeline(REWRITING, RULES).of(b"raw.same") == Course(None, ((b"in.same", TEN),))


def test_without_forward_all_only_aggregates_go_on() -> None:
    pipeline = Pipeline(REWRITING, RULES, forward_all=False)
    assert pipeline.of(b"raw.h.b") == Course(None, ((b"agg.h", TEN),))
    assert pipeline.of(b"other") == Course(None, ())


def test_aggregates_are_rewritten_only_when_that_is_asked_for() -> None:
    assert Pipeline(REWRITING, RULES, rewrite_aggregates=True).of(b"raw.h.b").feeds == ((b"sums.h", TEN),)


def test_a_name_that_is_no_text_passes_as_it_is() -> None:
    rules = AggregationRules.parse("<all>.sum (10) = sum <all>\n", "f")
    assert Pipeline(RewriteRules.default(), rules).of(b"a\xff") == Course(b"a\xff", ((b"a\xff.sum", TEN),))
