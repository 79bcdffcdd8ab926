"""What carbon knows in carbon.conf and carbonpy does not use: a word on what to do instead.

The law: a setting is either in the table or here, never in both; a file with one of these is read all the
same, with one warning that names it.
"""

from __future__ import annotations

_AMQP = "AMQP is not built in; let a bridge such as telegraf read the queue and send lines to LINE_RECEIVER_PORT"
_MANHOLE = "there is no shell inside the daemon; /health and /metrics at HTTP_PORT show its state"
_CERES = "only whisper files are written; remove the line"
_TAGS = "names and tags go into CATALOG_FILE and are not posted to graphite-web; remove the line"
_RELAY = "the cache sends nothing on; carbonpy's own metrics stay in its own cache, so remove the line"

#: NAME -> what to do instead, for [cache] and [web].
UNSUPPORTED = {
    "MIN_TIMESTAMP_LAG": "a sweep carries all points of a metric; raise SWEEP_INTERVAL to write later and more at once",
    "WHITELISTS_DIR": "carbon never read it either; the lists are whitelist.conf and blacklist.conf in CONF_DIR",
    "RAVEN_DSN": "errors are not sent to Sentry; they are in the log and counted at /metrics",
    "GRAPHITE_URL": _TAGS,
    "ENABLE_TAGS": _TAGS,
    "SKIP_TAGS_FOR_NONTAGGED": _TAGS,
    "TAG_UPDATE_INTERVAL": _TAGS,
    "TAG_BATCH_SIZE": _TAGS,
    "TAG_QUEUE_SIZE": _TAGS,
    "TAG_RELAY_NORMALIZED": "it is for relays; the cache always normalises tags, so remove the line",
    "ENABLE_AMQP": _AMQP,
    "AMQP_VERBOSE": _AMQP,
    "AMQP_HOST": _AMQP,
    "AMQP_PORT": _AMQP,
    "AMQP_VHOST": _AMQP,
    "AMQP_USER": _AMQP,
    "AMQP_PASSWORD": _AMQP,
    "AMQP_EXCHANGE": _AMQP,
    "AMQP_METRIC_NAME_IN_BODY": _AMQP,
    "AMQP_SPEC": _AMQP,
    "BIND_PATTERNS": _AMQP,
    "ENABLE_MANHOLE": _MANHOLE,
    "MANHOLE_INTERFACE": _MANHOLE,
    "MANHOLE_PORT": _MANHOLE,
    "MANHOLE_USER": _MANHOLE,
    "MANHOLE_PUBLIC_KEY": _MANHOLE,
    "MANHOLE_HOST_KEY_DIR": _MANHOLE,
    "CERES_MAX_SLICE_GAP": _CERES,
    "CERES_NODE_CACHING_BEHAVIOR": _CERES,
    "CERES_SLICE_CACHING_BEHAVIOR": _CERES,
    "CERES_LOCK_WRITES": _CERES,
    "RELAY_CACHE_METRICS": _RELAY,
    "RELAY_METHOD": _RELAY,
    "DESTINATIONS": _RELAY,
    "DESTINATION_PROTOCOL": _RELAY,
    "DESTINATION_TRANSPORT": _RELAY,
    "DESTINATION_SSL_CA": _RELAY,
    "DESTINATION_POOL_REPLICAS": _RELAY,
    "DESTINATIONS_POOL_REPLICAS": _RELAY,
    "REPLICATION_FACTOR": _RELAY,
    "DIVERSE_REPLICAS": _RELAY,
    "DYNAMIC_ROUTER": _RELAY,
    "DYNAMIC_ROUTER_MAX_RETRIES": _RELAY,
    "ROUTER_HASH_TYPE": _RELAY,
    "MAX_DATAPOINTS_PER_MESSAGE": _RELAY,
    "MAX_QUEUE_SIZE": _RELAY,
    "QUEUE_LOW_WATERMARK_PCT": _RELAY,
    "TIME_TO_DEFER_SENDING": _RELAY,
    "USE_RATIO_RESET": _RELAY,
    "MIN_RESET_STAT_FLOW": _RELAY,
    "MIN_RESET_RATIO": _RELAY,
    "MIN_RESET_INTERVAL": _RELAY,
    "RELAY_RULES": "it is for relays; remove the line",
    "LOG_AGGREGATOR_MISSES": "it is for aggregators; remove the line",
    "CACHE_METRIC_NAMES_MAX": "it is for aggregators; MAX_METRICS bounds the names that the cache knows",
    "CACHE_METRIC_NAMES_TTL": "it is for aggregators; MAX_METRICS bounds the names that the cache knows",
}
_QUEUE = "QUEUE_POLICY says what happens when a destination takes less than comes; remove the line"
_BATCH = "what has been gathered is sent at once; remove the line"
_RESET = "ACKNOWLEDGE_TIMEOUT ends connections that do not deliver; remove the line"
_FILES = "it is for caches; remove the line"

#: The same for [relay] and [aggregator].
RELAY_UNSUPPORTED = {
    **{
        name: advice
        for name, advice in UNSUPPORTED.items()
        if advice in (_AMQP, _MANHOLE, _CERES, _TAGS) or name in ("WHITELISTS_DIR", "RAVEN_DSN")
    },
    "USE_FLOW_CONTROL": _QUEUE,
    "MAX_QUEUE_SIZE_HARD_PCT": _QUEUE,
    "TIME_TO_DEFER_SENDING": _BATCH,
    "USE_RATIO_RESET": _RESET,
    "MIN_RESET_STAT_FLOW": _RESET,
    "MIN_RESET_RATIO": _RESET,
    "MIN_RESET_INTERVAL": _RESET,
    "DESTINATION_POOL_REPLICAS": "name the members in CLUSTERS, in a cluster of type lb",
    "DESTINATIONS_POOL_REPLICAS": "carbon never read it either; remove the line",
    "LOG_AGGREGATOR_MISSES": "what no rule matches is counted, not logged; remove the line",
    "CACHE_METRIC_NAMES_MAX": "MAX_METRICS bounds the names that are known; remove the line",
    "CACHE_METRIC_NAMES_TTL": "MAX_METRICS bounds the names that are known; remove the line",
    "RELAY_CACHE_METRICS": _FILES,
    "LOCAL_DATA_DIR": _FILES,
    "MAX_CACHE_SIZE": _FILES,
    "MAX_UPDATES_PER_SECOND": _FILES,
    "DATABASE": _FILES,
}
#: Settings that ask for nothing when they say this: they are satisfied, without a word.
SATISFIED = {"USE_INSECURE_UNPICKLER": ("false", "no", "off", "0")}
#: What to do instead when they say something else.
UNSATISFIED = {
    "USE_INSECURE_UNPICKLER": "pickles are never executed, and need not be: the pickle port reads what senders send"
}
