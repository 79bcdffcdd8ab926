"""The router that the settings of a relay ask for.

The law: CLUSTERS and ROUTES, or DESTINATIONS and RELAY_METHOD; what is wrong with either is a ConfigError that says
where.
"""

from __future__ import annotations

from carbonpy.errors import ConfigError
from carbonpy.hashing.destination import parse_destinations
from carbonpy.relaying.router import RULES, Router, carbon_router
from carbonpy.relaying.routing import routes_router
from carbonpy.rules.aggregates import AggregationRules
from carbonpy.rules.relaying import RelayRules
from carbonpy.rules.routes import RouteBook
from carbonpy.settings import Settings


def make_router(settings: Settings, relay_rules: RelayRules, aggregation_rules: AggregationRules) -> Router:
    """The router for the relay or aggregator of `settings`.  Raises ConfigError."""
    own, section = settings.own, settings.program
    if own.clusters is not None or own.routes is not None:
        path = settings.path or "the defaults"
        book = RouteBook.parse(own.clusters, own.routes, path, section)
        router = routes_router(book, own.tag_relay_normalized)
        if own.destinations:
            where = settings.origins.get((section, "DESTINATIONS"), f"[{section}]")
            return router.warned(f"{where} DESTINATIONS are not used, since there are CLUSTERS and ROUTES; remove one")
        return router
    where = settings.origins.get((section, "DESTINATIONS"), f"[{section}]")
    if own.relay_method == RULES and not relay_rules.rules:
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
            # A ring of carbon-c-relay does not know hosts: it is diverse only when that was asked for.
            own.diverse_replicas if (section, "DIVERSE_REPLICAS") in settings.origins else None,
            relay_rules,
            aggregation_rules,
            own.dynamic_router,
            own.tag_relay_normalized,
        )
    except ConfigError as error:
        raise ConfigError("\n".join(f"{where} DESTINATIONS: {line}" for line in str(error).split("\n"))) from None
