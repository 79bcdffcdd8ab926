"""Which metrics exist: names, tags and globs over them, in one SQLite file.

The law: the catalogue is fed by whoever makes or adopts whisper files; a query never walks the disk.
It holds nothing that cannot be found again from the whisper tree (`adopt`), so a damaged file costs time, not data.
"""

from carbonpy.catalog.adoption import Progress, adopt, rescan, rescan_steps
from carbonpy.catalog.database import CatalogError
from carbonpy.catalog.store import Catalog, Node

__all__ = ["Catalog", "CatalogError", "Node", "Progress", "adopt", "rescan", "rescan_steps"]
