"""What can go wrong, as classes whose messages are sentences a person can act on.

The law: an error names *where*, *what* and *what to do*.  Every error that carbonpy raises on
purpose derives from `CarbonError`; anything else that escapes is a defect.
"""


class CarbonError(Exception):
    """Something is wrong that a person can mend; the message says where, what and what to do."""


class ConfigError(CarbonError):
    """A configuration or rules file cannot be used; the message starts with ``file:line:``."""


class MetricError(CarbonError):
    """A metric name breaks the one name rule (see `carbonpy.metric`)."""


class RetentionError(CarbonError, ValueError):
    """A retention definition or a list of archives is not valid."""


class WireError(CarbonError):
    """Bytes from the network do not follow the protocol they came in on."""


class JournalError(CarbonError):
    """A journal segment or its directory cannot be used."""


class SpoolError(CarbonError):
    """A relay's spool or its directory cannot be used."""


class QueryError(CarbonError):
    """A query cannot be answered as asked; the message is sent to the client as HTTP 400."""
