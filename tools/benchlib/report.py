"""The tables: medians over the runs, and carbon / carbonpy as a ratio."""

from __future__ import annotations

import statistics
from typing import Any

from benchlib.runs import SCENARIOS, Outcome

HEADS = ("scenario", "what", "carbon", "carbonpy", "ratio")


def rows(outcomes: list[Outcome]) -> list[tuple[str, ...]]:
    """One row per scenario and quantity; a ratio above 1 is in carbonpy's favour."""
    table: list[tuple[str, ...]] = []
    for scenario in SCENARIOS.values():
        mine = [outcome for outcome in outcomes if outcome.scenario == scenario.key]
        if not mine:
            continue
        title = f"({scenario.key}) {scenario.title}"
        for what, pick, form, more_is_better in (
            ("CPU s per million points", lambda o: o.cpu_per_million, "{:.2f}", False),
            ("wall time, s", lambda o: o.wall, "{:.2f}", False),
            ("received, points/s", lambda o: o.receive_rate, "{:,.0f}", True),
            ("peak memory (PSS), MB", lambda o: o.peak_pss / 1e6, "{:.0f}", False),
            ("peak memory (RSS), MB", lambda o: o.peak_rss / 1e6, "{:.0f}", False),
        ):
            values = {
                name: statistics.median(pick(outcome) for outcome in mine if outcome.daemon == name)
                for name in ("carbon", "carbonpy")
                if any(outcome.daemon == name for outcome in mine)
            }
            carbon, own = values.get("carbon"), values.get("carbonpy")
            ratio = "" if carbon is None or not own else f"{own / carbon if more_is_better else carbon / own:.1f}"
            table.append((title, what, *("" if each is None else form.format(each) for each in (carbon, own)), ratio))
            title = ""
    return table


def sustained_rows(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """(what, figure) pairs of the sustained scenario."""
    return [
        ("offered, points/s",
         f"{figures['rate']:,.0f} over {figures['metrics']:,} metrics, {figures['seconds']:.0f} s"),
        ("taken, points/s", f"{figures['taken_rate']:,.0f}"),
        ("written, points/s", f"{figures['written_rate']:,.0f}"),
        ("largest cache, points",
         f"{figures['cached_max']:,} (middle third of the time {figures['cached_middle_third']:,}, "
         f"last third {figures['cached_last_third']:,})"),
        ("on disk after the load ended, s", f"{figures['drain_seconds']:.1f}"),
        ("cores used", f"{figures['cores']:.2f}"),
        ("peak memory, MB", f"PSS {figures['peak_pss'] / 1e6:.0f}, RSS {figures['peak_rss'] / 1e6:.0f}"),
        ("one metric by /render, ms", ", ".join(f"{name} {figures['query_ms_' + name]:.1f}" for name in
                                                ("p50", "p99", "max"))
         + f" ({figures['queries']:,} queries)"),
        ("the same from the moment due, ms", ", ".join(f"{name} {figures['query_ms_due_' + name]:.1f}" for name in
                                                       ("p50", "p99", "max"))),
        ("age of the newest point seen, p99, s", f"{figures['newest_point_age_p99']:.2f}"),
    ]


def as_text(table: list[tuple[str, ...]], heads: tuple[str, ...]) -> str:
    """A plain table for a terminal."""
    widths = [max(len(row[column]) for row in (heads, *table)) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (heads, *table)]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def as_rst(table: list[tuple[str, ...]], heads: tuple[str, ...]) -> str:
    """The same as a reStructuredText list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (heads, *table):
        lines += [f"   {'* -' if column == 0 else '  -'} {cell}".rstrip() for column, cell in enumerate(row)]
    return "\n".join(lines)
