"""Settings: one table, two spellings (YAML and carbon.conf), one immutable answer.

The law: components never see this package.  `load` is called by daemons and the command line, which hand
plain values to what they compose.
"""

from carbonpy.settings.kinds import Automatic
from carbonpy.settings.loading import Change, Changes, Settings, Values, compare, load, read_text, reloaded
from carbonpy.settings.places import RulesFiles
from carbonpy.settings.table import CACHES, SETTINGS, Setting

__all__ = [
    "CACHES",
    "SETTINGS",
    "Automatic",
    "Change",
    "Changes",
    "RulesFiles",
    "Setting",
    "Settings",
    "Values",
    "compare",
    "load",
    "read_text",
    "reloaded",
]
