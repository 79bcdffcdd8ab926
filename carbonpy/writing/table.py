"""What a writer remembers of its files: layout, inode and base points, in columns by id.

The law: what is remembered is checked against the file every time it is opened (inode, size and the
bytes of the header), so a file that another program replaced, resized or changed is noticed.  A
base of 0 means "not known": it is read from the file before it is used, since an empty archive may
be filled by others.  A base that is not 0 stays right for ever: a ring's slots keep their places.
"""

from __future__ import annotations

import numpy as np

from carbonpy.whisper.layout import Header, parse_header

#: Archives per file that fit the table without growing it.
_ARCHIVES = 2


class Layout:
    """One header that many files share, with its arithmetic at hand.  Immutable."""

    def __init__(self, header_bytes: bytes, header: Header) -> None:
        self.header_bytes = header_bytes
        self.header = header
        self.size = header.file_size
        self.steps = [archive.step for archive in header.archives]
        self.points = [archive.points for archive in header.archives]
        self.offsets = [archive.offset for archive in header.archives]
        self.retention = header.archives[0].retention


class FileTable:
    """Remembered files by id.  One writer owns it."""

    def __init__(self) -> None:
        self.layouts: list[Layout] = []
        self._layout_of_header: dict[bytes, int] = {}
        #: Canonical name by id, "" where none was told; index into `layouts`, -1 for not met; inode.
        self.metrics: list[str] = []
        self.layout: list[int] = []
        self.inode: list[int] = []
        #: bases[k][id]: timestamp in the first slot of archive k, 0 for not known.
        self.bases: list[np.ndarray] = [np.zeros(0, np.int64) for _ in range(_ARCHIVES)]

    def learn(self, identity: int, metric: str) -> None:
        """Metric `identity` is called `metric`."""
        missing = identity + 1 - len(self.metrics)
        if missing > 0:
            self.metrics += [""] * missing
            self.layout += [-1] * missing
            self.inode += [0] * missing
        if len(self.bases[0]) < len(self.metrics):
            room = max(1024, len(self.metrics) * 5 // 4)
            for number, bases in enumerate(self.bases):
                self.bases[number] = np.concatenate((bases, np.zeros(room - len(bases), np.int64)))
        if self.metrics[identity] != metric:
            self.metrics[identity] = metric
            self.layout[identity] = -1

    def forget(self, identity: int) -> None:
        """The file of `identity` is not what it was: meet it anew at the next visit."""
        self.layout[identity] = -1

    def layout_of(self, header_bytes: bytes, path: str) -> int:
        """Index of the layout with this header.  Raises the whisper error of a header that is damaged."""
        index = self._layout_of_header.get(header_bytes)
        if index is None:
            header = parse_header(header_bytes, path)
            index = len(self.layouts)
            self.layouts.append(Layout(header_bytes, header))
            self._layout_of_header[header_bytes] = index
            while len(self.bases) < len(header.archives):
                self.bases.append(np.zeros(len(self.bases[0]), np.int64))
        return index

    def meet(self, identity: int, layout: int, inode: int) -> None:
        """Remember the file of `identity`; its bases are not known yet."""
        self.layout[identity] = layout
        self.inode[identity] = inode
        for bases in self.bases[: len(self.layouts[layout].steps)]:
            bases[identity] = 0
