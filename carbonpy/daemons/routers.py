"""The router that the settings of a relay ask for.

The law: CLUSTERS and ROUTES, or DESTINATIONS and RELAY_METHOD; what is wrong with either is a ConfigError that says
where.
"""

from __future__ import annotations

from carbonpy.errors import ConfigError
from carbonpy.hashing.destination import parse_destinations
from carbonpy.relaying.router import Router, carbon_router
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.relaying import RelayRules
from carbonpy.settings import Settings


def make_router(settings: Settings, relay_rules: RelayRules, aggregation_rules: AggregationRules) -> Router:
    """The router for the relay or aggregator of `settings`.  Raises ConfigError."""
    own, section = settings.own, settings.program
    if own.relay_method == "rules" and not relay_rules.rules:
        raise ConfigError(
            f"{own.relay_rules}: RELAY_METHOD = rules needs rules, and there are none; write some, "
            "or choose RELAY_METHOD = consistent-hashing"
        )
    try:
        return carbon_router(
            own.relay_method,
            parse_destinations(own.destinations),
            own.router_hash_type,
            own.replication_factor,
            own.diverse_replicas,
            relay_rules,
            aggregation_rules,
            own.dynamic_router,
            own.tag_relay_normalized,
        )
    except ConfigError as error:
        where = settings.origins.get((section, "DESTINATIONS"), f"[{section}]")
        raise ConfigError(f"{where}: {error}") from None
