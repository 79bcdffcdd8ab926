"""``carbonpy ring``: where names belong, what a ring looks like, and what a change would move.

The law: nothing is changed and nothing is asked over the network.  Answers go to standard output, with ``--json`` one
object a line; warnings about traps go to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence

from carbonpy.cli.placing import (
    add_ring_options,
    add_source,
    chosen,
    from_settings,
    made_up_names,
    names_from,
    ring_router,
    shown_destinations,
    tell,
)
from carbonpy.errors import ConfigError
from carbonpy.relaying.router import Placement, Router
from carbonpy.settings import load

_EPILOG = """\
examples:
  carbonpy ring where --config /etc/carbon/carbon.conf servers.web01.cpu.user
  carbonpy ring where --destinations 10.0.0.1:2004:a,10.0.0.2:2004:b --replication 2 --json - < names
  carbonpy ring show --config /etc/carbon/carbon.conf
  carbonpy ring diff old/carbon.conf new/carbon.conf
  carbonpy ring diff --type jump_fnv1a_ch A:2003:1,B:2003:2 A:2003:1,B:2003:2,C:2003:3
  carbonpy ring balance --config /etc/carbon/carbon.conf - < names

"carbonpy ring where --help" explains one of them.
"""
#: Names that are made up where none are given, and the width of a bar of 100 %.
NAMES, BAR = 20_000, 60


def parser() -> argparse.ArgumentParser:
    """The options of ``carbonpy ring``."""
    options = argparse.ArgumentParser(
        prog="carbonpy ring",
        description="Say where names belong on a ring, how it is balanced, and what a change would move.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = options.add_subparsers(dest="action", required=True, metavar="where|show|diff|balance")
    where = actions.add_parser("where", help="the destinations of names, the primary first")
    add_source(where)
    where.add_argument("names", nargs="+", metavar="NAME", help="names; - for those of standard input, one a line")
    show = actions.add_parser("show", help="the rings, their destinations and their shares")
    add_source(show)
    show.add_argument("--points", action="store_true", help="every point of the ring as well")
    diff = actions.add_parser("diff", help="what would move from an old ring to a new one")
    diff.add_argument(
        "sides", nargs="*", metavar="OLD NEW", help="two configuration files, or destinations with commas"
    )
    for option, metavar in (("--config", "FILE"), ("--destinations", "A,B,...")):
        diff.add_argument(option, metavar=metavar, dest="given", action="append", default=[], help="OLD, then NEW")
    add_ring_options(diff)
    diff.add_argument("--new-type", metavar="TYPE", help="the type of the new ring, if it is another one")
    diff.add_argument("--new-replication", metavar="N", type=int, help="copies on the new ring, if they are others")
    diff.add_argument(
        "--names", metavar="FILE", help=f"names, one a line; - for standard input (default: {NAMES} made up)"
    )
    balance = actions.add_parser("balance", help="how many names each destination gets")
    add_source(balance)
    balance.add_argument("names", nargs="*", metavar="NAME", help=f"- for standard input (default: {NAMES} made up)")
    for action in (where, show, diff, balance):
        action.add_argument("--json", action="store_true", help="one JSON object a line")
    return options


def main(argv: Sequence[str]) -> int:
    """Run ``carbonpy ring`` with these arguments; its exit code."""
    options = parser().parse_args(argv)
    if options.action == "diff":
        return _diff(options)
    router = chosen(options)
    tell(f"ring {options.action}", router.warnings)
    return {"where": _where, "show": _show, "balance": _balance}[options.action](options, router)


def _where(options: argparse.Namespace, router: Router) -> int:
    for name in names_from(options.names):
        destinations = shown_destinations(router, router.plan(_sent(name)))
        if options.json:
            print(json.dumps({"metric": name, "destinations": destinations}))
        else:
            print(f"{name}  {' '.join(destinations) or '(nowhere)'}")
    return 0


def _show(options: argparse.Namespace, router: Router) -> int:
    if not router.rings:
        raise ConfigError("there is no ring in this configuration; see carbonpy relay test for where names go")
    for label, placement in router.rings.items():
        points, shares = placement.ring.points(), placement.ring.shares()
        counts = Counter(number for _, number in points)
        destinations = [str(destination) for destination in placement.ring.destinations]
        if options.json:
            print(json.dumps({
                "ring": label, "type": placement.ring.kind, "replication": placement.replication,
                "diverse": placement.diverse, "dynamic": placement.dynamic,
                "destinations": [
                    {"destination": destination, "points": counts[number], "share": share}
                    for number, (destination, share) in enumerate(zip(destinations, shares, strict=True))
                ],
                **({"points": [[position, destinations[n]] for position, n in points]} if options.points else {}),
            }))  # fmt: skip
            continue
        print(f"{label}: {_description(placement)}")
        _bars(
            destinations, placement.ring.shares(), [f"{counts[number]} points" for number in range(len(destinations))]
        )
        if options.points:
            for position, number in points:
                print(f"{position:>11}  {destinations[number]}")
    return 0


def _description(placement: Placement) -> str:
    copies = f"{placement.replication} copies" if placement.replication > 1 else "1 copy"
    hosts = ", on different hosts" if placement.diverse and placement.replication > 1 else ""
    return f"{placement.ring.kind}, {copies}{hosts}{', dynamic' if placement.dynamic else ''}"


def _balance(options: argparse.Namespace, router: Router) -> int:
    names = list(names_from(options.names)) if options.names else made_up_names(NAMES)
    if not names:
        raise ConfigError("there are no names on standard input; write one a line")
    primary: Counter[int] = Counter()
    copies: Counter[int] = Counter()
    nowhere = 0
    for name in names:
        numbers = list(router.plan(_sent(name)).numbers())
        copies.update(numbers)
        primary.update(numbers[:1])
        nowhere += not numbers
    destinations = [str(destination) for destination in router.destinations]
    total = len(names)
    if options.json:
        for number, destination in enumerate(destinations):
            print(json.dumps({
                "destination": destination, "names": copies[number], "share": copies[number] / total,
                "primary": primary[number] / total,
            }))  # fmt: skip
        return 0
    made_up = "" if options.names else " (made up; give your own with -)"
    print(f"{total} names{made_up}, {sum(copies.values()) / total:.3g} destinations each; what part of them each gets:")
    _bars(
        destinations,
        [copies[number] / total for number in range(len(destinations))],
        [f"{copies[number]} names, primary of {primary[number] / total:.1%}" for number in range(len(destinations))],
    )
    if nowhere:
        print(f"{nowhere} names ({nowhere / total:.1%}) go nowhere")
    return 0


def _diff(options: argparse.Namespace) -> int:
    sides = [*options.given, *options.sides]
    if len(sides) != 2:
        raise ConfigError(f"diff compares two, an old and a new one, and {len(sides)} are given")
    old = _one_side(sides[0], options, options.type, options.replication)
    new = _one_side(
        sides[1], options, options.new_type or options.type, options.new_replication or options.replication
    )
    tell("ring diff", (*(f"old: {one}" for one in old.warnings), *(f"new: {one}" for one in new.warnings)))
    names = _names_of(options.names)
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    gained: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    touched = 0
    for name in names:
        was = set(shown_destinations(old, old.plan(_sent(name))))
        now = set(shown_destinations(new, new.plan(_sent(name))))
        before.update(was)
        after.update(now)
        gained.update(now - was)
        lost.update(was - now)
        touched += was != now
    everybody = dict.fromkeys(str(one) for one in (*old.destinations, *new.destinations))
    total, placed = len(names), sum(after.values())
    moved = sum(gained.values()) / placed if placed else 0.0
    if options.json:
        print(json.dumps({
            "names": total, "moved": moved, "names_touched": touched / total,
            "destinations": [
                {"destination": one, "before": before[one] / total, "after": after[one] / total,
                 "gained": gained[one] / total, "lost": lost[one] / total}
                for one in everybody
            ],
        }))  # fmt: skip
        return 0
    made_up = "" if options.names else " (made up; give your own with --names)"
    print(
        f"of {total} names{made_up} {touched / total:.1%} are placed otherwise; {moved:.1%} of all copies have to move"
    )
    width = max(map(len, everybody))
    print(f"{'':{width}}   before    after   gained     lost")
    for one in everybody:
        figures = (before[one], after[one], gained[one], lost[one])
        print(f"{one:{width}} " + " ".join(f"{figure / total:>8.1%}" for figure in figures))
    return 0


def _one_side(text: str, options: argparse.Namespace, kind: str | None, replication: int | None) -> Router:
    """A configuration file when there is one of that name, else destinations."""
    if os.path.exists(text):
        return from_settings(load(text, program="relay"))
    if "/" in text:
        raise ConfigError(f"{text}: there is no such file; give a configuration, or destinations with commas")
    return ring_router(text, kind, replication, options.diverse_replicas)


def _names_of(path: str | None) -> list[str]:
    if path is None:
        return made_up_names(NAMES)
    if path == "-":
        names = list(names_from(["-"]))
    else:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                names = [fields[0] for line in file if (fields := line.split())]
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    if not names:
        raise ConfigError(f"{'standard input' if path == '-' else path}: there are no names; write one a line")
    return names


def _bars(labels: Sequence[str], shares: Sequence[float], remarks: Sequence[str]) -> None:
    """A line with a bar for each label."""
    width = max(map(len, labels))
    for label, share, remark in zip(labels, shares, remarks, strict=True):
        sys.stdout.write(f"{label:{width}} {share:>7.2%} {'#' * round(share * BAR)} {remark}\n")


def _sent(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
