"""Reading a tar stream: ustar, pax (x and g records), GNU long names and sparse files, v7.

    Archive(pieces, subject)          iterate it for its entries, in order
        entry, archive.content()      the entry's bytes; what is not read is skipped

Written for layers, where ten thousand small entries are usual: one pass, no seeking, and little work for each header.
Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, appendices D and E.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from engine.errors import Corrupt, Unsupported
from engine.image.layer.sparse import gnu_old_map, pax_map

BLOCK = 512
_LONG_LIMIT = 1 << 20
_PAX_LIMIT = 4 << 20
_XATTR = "SCHILY.xattr."

REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"


class Entry(Struct):
    """One member. Names are text in the file system's encoding; `mtime` is nanoseconds; `size` the bytes that follow.

    `sparse` lists (offset, length) of the data in a sparse file of `real_size` bytes.
    """

    name: str
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: dict[str, bytes] = field(default_factory=dict)
    sparse: list[tuple[int, int]] | None = None
    real_size: int = 0


class Archive:
    """The entries of one tar stream given as `pieces`; `subject` names it in errors."""

    def __init__(self, pieces: Iterator[bytes], subject: str) -> None:
        self._pieces = pieces
        self._chunk = memoryview(b"")
        self._at = 0
        self._left = 0
        self._padding = 0
        self._globals: dict[str, bytes] = {}
        self.subject = subject

    def __iter__(self) -> Iterator[Entry]:
        """Raises Corrupt for a damaged header or a stream that ends within an entry."""
        while True:
            self._skip()
            if not (entry := self._next()):
                break
            yield entry
        self.drain()

    def content(self) -> Iterator[memoryview]:
        """The bytes of the current entry that have not been read."""
        while self._left:
            piece = self._some(self._left)
            self._left -= len(piece)
            yield piece

    def drain(self) -> None:
        """Read to the end of the stream, so that a digest computed on the way covers all of it."""
        self._chunk = memoryview(b"")
        for _ in self._pieces:
            pass

    def _some(self, limit: int) -> memoryview:
        available = len(self._chunk) - self._at
        if not available:
            data = next(self._pieces, b"")
            if not data:
                raise Corrupt(f"{self.subject}: the archive ends within an entry")
            self._chunk, self._at = memoryview(data), 0
            available = len(data)
        size = min(available, limit)
        piece = self._chunk[self._at : self._at + size]
        self._at += size
        return piece

    def _exactly(self, size: int) -> bytes:
        start = self._at
        if len(self._chunk) - start >= size:
            self._at = start + size
            return bytes(self._chunk[start : start + size])
        parts: list[bytes] = []
        while size:
            piece = self._some(size)
            size -= len(piece)
            parts.append(bytes(piece))
        return b"".join(parts)

    def _skip(self) -> None:
        left = self._left + self._padding
        while left:
            left -= len(self._some(left))
        self._left = self._padding = 0

    def _next(self) -> Entry | None:
        """The next entry, combined with the extension headers before it; None at the end of the archive."""
        pax: dict[str, bytes] = {}
        name = link = None
        for _ in range(16):
            if self._at >= len(self._chunk) and not (data := next(self._pieces, b"")):
                return None
            elif self._at >= len(self._chunk):
                self._chunk, self._at = memoryview(data), 0
            header = self._exactly(BLOCK)
            kind = header[156:157]
            if not header[0] and header == bytes(BLOCK):
                return None
            self._verify(header)
            size = self._number(header[124:136])
            if kind in b"xXg" and kind:
                records = self._records(self._extension(size, _PAX_LIMIT))
                if kind == b"g":
                    self._globals.update(records)
                else:
                    pax = records
            elif kind == b"L":
                name = _text(self._extension(size, _LONG_LIMIT).rstrip(b"\0"))
            elif kind == b"K":
                link = _text(self._extension(size, _LONG_LIMIT).rstrip(b"\0"))
            else:
                return self._entry(header, kind, size, name, link, {**self._globals, **pax} if self._globals else pax)
        raise Corrupt(f"{self.subject}: more than 16 extension headers before an entry")

    def _entry(
        self, header: bytes, kind: bytes, size: int, name: str | None, link: str | None, pax: dict[str, bytes]
    ) -> Entry:
        if name is None:
            name = _field(header, 0, 100)
            # The prefix field exists in POSIX archives; with GNU's magic, its bytes have another meaning.
            if header[345] and header[257:263] == b"ustar\0":
                name = f"{_field(header, 345, 500)}/{name}"
        entry = Entry(
            name=name,
            type=kind if kind in b"123456" and kind else REGULAR,
            mode=self._number(header[100:108]) & 0o7777,
            uid=self._number(header[108:116]),
            gid=self._number(header[116:124]),
            size=size,
            mtime=self._number(header[136:148]) * 1_000_000_000,
            link=link if link is not None else _field(header, 157, 257),
        )
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = self._number(header[329:337]), self._number(header[337:345])
        elif kind in (b"M", b"V"):
            raise Unsupported(f"{self.subject}: multi-volume tar archives are not supported")
        if pax:
            self._apply(entry, pax)
        # A slash at the end marks a directory in old archives. With a pax path, the header's name is only its first 100
        # bytes and may end anywhere.
        if kind == b"D" or (entry.type == REGULAR and entry.name.endswith("/")):
            entry.type = DIRECTORY
        # Links and directories have no content, even if their size field is not 0.
        self._left = entry.size if entry.type in (REGULAR, DIRECTORY) or kind == b"S" else 0
        self._padding = -self._left % BLOCK
        if kind == b"S":
            entry.sparse, entry.real_size = gnu_old_map(header, lambda: self._exactly(BLOCK), self._number)
        elif pax and any(key.startswith("GNU.sparse.") for key in pax):
            read = self._in_content
            entry.sparse, entry.real_size, real_name = pax_map(pax, read, self.subject)
            entry.name = real_name or entry.name
        return entry

    def _in_content(self) -> bytes:
        """One block from the current entry's content (pax sparse 1.0 stores its map there)."""
        if self._left < BLOCK:
            raise Corrupt(f"{self.subject}: a sparse map is longer than its entry")
        self._left -= BLOCK
        return self._exactly(BLOCK)

    def _apply(self, entry: Entry, pax: dict[str, bytes]) -> None:
        try:
            for key, value in pax.items():
                if key == "path":
                    entry.name = _text(value)
                elif key == "linkpath":
                    entry.link = _text(value)
                elif key == "size":
                    entry.size = _decimal(value)
                elif key == "uid":
                    entry.uid = _decimal(value)
                elif key == "gid":
                    entry.gid = _decimal(value)
                elif key == "mtime":
                    whole, _, fraction = value.decode("ascii").partition(".")
                    nano = int((fraction + "000000000")[:9])
                    entry.mtime = int(whole) * 1_000_000_000 + (-nano if whole.startswith("-") else nano)
                elif key.startswith(_XATTR):
                    entry.xattrs[key[len(_XATTR) :]] = value
        except ValueError as error:
            raise Corrupt(f"{self.subject}: {entry.name!r} has an unreadable pax record: {error}") from error

    def _extension(self, size: int, limit: int) -> bytes:
        if size > limit:
            raise Corrupt(f"{self.subject}: an extension header has {size} bytes, more than {limit}")
        data = self._exactly(size)
        self._exactly(-size % BLOCK)
        return data

    def _records(self, data: bytes) -> dict[str, bytes]:
        """pax records: `length key=value\\n`, the length counting the whole record."""
        records: dict[str, bytes] = {}
        at = 0
        while at < len(data) and data[at]:
            space = data.find(b" ", at, at + 20)
            try:
                length = int(data[at:space]) if space > 0 else 0
            except ValueError:
                length = 0
            record = data[space + 1 : at + length]
            key, equals, value = record.partition(b"=")
            if length < space - at + 3 or at + length > len(data) or not equals or value[-1:] != b"\n":
                raise Corrupt(f"{self.subject}: malformed pax record at byte {at}")
            text = _text(key)
            # Sparse 0.0 repeats its keys, once for each hole: they are joined.
            if text in ("GNU.sparse.offset", "GNU.sparse.numbytes") and text in records:
                records[text] += b"," + value[:-1]
            else:
                records[text] = value[:-1]
            at += length
        return records

    def _number(self, text: bytes) -> int:
        """An octal field, or GNU's base-256 form for larger numbers (first bit set)."""
        try:
            if text[0] & 0x80:
                number = (
                    int.from_bytes(text, "big", signed=True) if text[0] == 0xFF else int.from_bytes(text[1:], "big")
                )
                if not -(1 << 62) < number < 1 << 62:
                    raise ValueError(number)
                return number
            return int(text.rstrip(b"\0 ").partition(b"\0")[0] or b"0", 8)
        except ValueError as error:
            raise Corrupt(f"{self.subject}: a tar header has the unreadable number {text!r}") from error

    def _verify(self, header: bytes) -> None:
        # The checksum field counts as eight spaces.
        total = sum(header) - sum(header[148:156]) + 256
        try:
            matches = int(header[148:156].strip(b"\0 ") or b"0", 8) == total
        except ValueError:
            matches = False
        if not matches:
            raise Corrupt(f"{self.subject}: not a tar archive, or damaged (a header's checksum is wrong)")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _field(header: bytes, start: int, end: int) -> str:
    return _text(header[start:end].partition(b"\0")[0])


def _decimal(value: bytes) -> int:
    number = int(value)
    if not 0 <= number < 1 << 62:
        raise ValueError(f"{number} is out of range")
    return number
