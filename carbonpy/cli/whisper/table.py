"""Which tools there are, what they are for, and under which names the whisper and carbon packages have them.

The law: each tool has one word for ``carbonpy whisper WORD``; each name in `script` is installed with and without
``.py`` and lies in tools/ as a launcher.
"""

from __future__ import annotations

from typing import NamedTuple

from carbonpy.errors import CarbonError


class WrongArguments(CarbonError):
    """What the command line says cannot be meant; exit code 2."""


class Tool(NamedTuple):
    """One row: the word to type, the module with its ``main``, what it is for, the name of the script or ''."""

    word: str
    module: str
    purpose: str
    script: str = ""


_ROOM = "carbonpy.cli.whisper."
TOOLS = (
    Tool("create", _ROOM + "create", "make an empty file, or estimate what archives take", "whisper-create"),
    Tool("info", _ROOM + "info", "print the header of files", "whisper-info"),
    Tool("dump", _ROOM + "dump", "print every slot of every archive as it is in the file", "whisper-dump"),
    Tool("fetch", _ROOM + "fetch", "print the values between two times", "whisper-fetch"),
    Tool("plot", _ROOM + "plot", "draw the values between two times in the terminal"),
    Tool("update", _ROOM + "update", "store values", "whisper-update"),
    Tool("resize", _ROOM + "resize", "give files other archives and keep what they know", "whisper-resize"),
    Tool("auto-resize", _ROOM + "auto_resize", "resize all files that differ from the rules", "whisper-auto-resize"),
    Tool("auto-update", _ROOM + "auto_update", "change the values between two times", "whisper-auto-update"),
    Tool("merge", _ROOM + "merge", "copy the values of one file over those of another", "whisper-merge"),
    Tool("fill", _ROOM + "fill", "fill the gaps of one file from another", "whisper-fill"),
    Tool("diff", _ROOM + "diff", "list where two files differ", "whisper-diff"),
    Tool("delete-range", _ROOM + "delete_range", "take the values between two times out of files"),
    Tool("rename", _ROOM + "rename", "give a file, or a tree of files, another metric name"),
    Tool("set-xfilesfactor", _ROOM + "set_header", "set the xFilesFactor of files", "whisper-set-xfilesfactor"),
    Tool("set-aggregation-method", _ROOM + "set_header", "set the aggregation method of files",
         "whisper-set-aggregation-method"),
    Tool("find-corrupt", _ROOM + "find_corrupt", "find files that are damaged", "find-corrupt-whisper-files"),
    Tool("rrd2whisper", _ROOM + "rrd2whisper", "make whisper files of an RRD file", "rrd2whisper"),
    Tool("validate-storage-schemas", _ROOM + "validate", "say what is wrong with storage-schemas.conf",
         "validate-storage-schemas"),
    Tool("validate-storage-aggregation", _ROOM + "validate", "say what is wrong with storage-aggregation.conf",
         "validate-storage-aggregation"),
)  # fmt: skip


def by_word(word: str) -> Tool | None:
    """The tool of a word, or of the name of its script, with or without ``.py``."""
    name = word.removesuffix(".py")
    return next((tool for tool in TOOLS if name in (tool.word, tool.script)), None)
