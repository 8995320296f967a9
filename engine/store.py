"""The shared facts in one SQLite database: images, layers, build cache, networks, addresses, ports, volumes.

WAL with foreign keys; every change is one short transaction (`with store.transaction() as db`), so that any number of
commands, supervisors and keepers may use it at once (https://sqlite.org/wal.html). A structure is kept whole as JSON
in `record`; only what is searched or must be unique has a column.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator

from engine import disk_reserve
from engine.errors import OperationFailed
from engine.paths import Roots, make_private

_PATIENCE = 600.0
"""Seconds that one writer waits for the others."""
_LOG = 2000 * (4096 + 24)
"""Bytes of the write-ahead log that are allocated: twice the 1000 pages, each with a header, after which SQLite copies them to
the database and begins again (https://sqlite.org/pragma.html#pragma_wal_autocheckpoint). While the disk is full it cannot
do so if the database has to grow; then the second half holds the removals."""
SCHEMA_VERSION = 7

SCHEMA = """
CREATE TABLE layers (
    chain_id TEXT PRIMARY KEY,            -- OCI image specification, config.md, layer ChainID
    folder TEXT NOT NULL UNIQUE,          -- below <state>/layers
    diff_id TEXT NOT NULL,
    size INTEGER NOT NULL,                -- bytes unpacked
    blob TEXT NOT NULL DEFAULT '',        -- digest of the blob it was pulled as, '' when made here
    unsynced TEXT NOT NULL DEFAULT '',    -- the boot in which it was made, until its files are on the disc
    stream INTEGER NOT NULL DEFAULT 0     -- bytes of its tar stream, 0 when unknown
) STRICT;
CREATE TABLE images (
    id TEXT PRIMARY KEY,                  -- sha256:<hex> of the configuration blob
    record TEXT NOT NULL,                 -- engine.spec.image.ImageRecord, without tags and digests
    replaced_at REAL NOT NULL DEFAULT 0,  -- seconds since the epoch: when a newer build took its last tag
    built INTEGER NOT NULL DEFAULT 0      -- 1 when it was built or committed here
) STRICT;
CREATE TABLE image_layers (
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    chain_id TEXT NOT NULL REFERENCES layers(chain_id),
    PRIMARY KEY (image_id, position)
) STRICT;
CREATE TABLE tags (
    reference TEXT PRIMARY KEY,           -- normalised: docker.io/library/redis:7
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    tagged_at REAL NOT NULL DEFAULT 0     -- seconds since the epoch: when it was last pulled, built or tagged
) STRICT;
CREATE TABLE digests (
    reference TEXT PRIMARY KEY,           -- docker.io/library/redis@sha256:…
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) STRICT;
CREATE TABLE variants (                   -- images for other platforms than a name's own
    reference TEXT NOT NULL,              -- as in tags and digests
    platform TEXT NOT NULL,               -- os/architecture[/variant]
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    PRIMARY KEY (reference, platform)
) STRICT;
CREATE TABLE build_cache (
    key TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    used_at REAL NOT NULL
) STRICT;
CREATE TABLE networks (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    bridge TEXT NOT NULL,
    record TEXT NOT NULL                  -- engine.spec.network.NetworkRecord
) STRICT;
CREATE TABLE subnets (
    subnet TEXT PRIMARY KEY,
    network TEXT NOT NULL REFERENCES networks(name) ON DELETE CASCADE
) STRICT;
CREATE TABLE addresses (
    network TEXT NOT NULL REFERENCES networks(name) ON DELETE CASCADE,
    address TEXT NOT NULL,
    owner TEXT NOT NULL,                  -- container id
    PRIMARY KEY (network, address)
) STRICT;
CREATE INDEX addresses_owner ON addresses(owner);
CREATE TABLE ports (
    host_ip TEXT NOT NULL,
    host_port INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    owner TEXT NOT NULL,                  -- container id
    PRIMARY KEY (host_ip, host_port, protocol)
) STRICT;
CREATE INDEX ports_owner ON ports(owner);
CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,            -- unique in the whole engine, as Docker's
    container_group TEXT NOT NULL,
    image_id TEXT NOT NULL                -- keeps the image from being collected
) STRICT;
CREATE INDEX containers_group ON containers(container_group);
CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    record TEXT NOT NULL                  -- engine.spec.network.VolumeRecord
) STRICT;
"""

UPGRADES = {
    1: "ALTER TABLE tags ADD COLUMN tagged_at REAL NOT NULL DEFAULT 0",
    2: "ALTER TABLE images ADD COLUMN replaced_at REAL NOT NULL DEFAULT 0",
    3: "ALTER TABLE images ADD COLUMN built INTEGER NOT NULL DEFAULT 0",
    4: "CREATE TABLE variants (reference TEXT NOT NULL, platform TEXT NOT NULL,"
    " image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, PRIMARY KEY (reference, platform)) STRICT",
    5: "ALTER TABLE layers ADD COLUMN unsynced TEXT NOT NULL DEFAULT ''",
    6: "ALTER TABLE layers ADD COLUMN stream INTEGER NOT NULL DEFAULT 0",
}
"""Version → what makes the next one of it."""


def _make_files_private(path: str) -> None:
    """SQLite gives its other files the mode of the database. An open database is never opened here: closing any
    descriptor of it would drop the process's locks (https://sqlite.org/howtocorrupt.html, 2.2)."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        for name in (path, f"{path}-wal", f"{path}-shm"):
            with contextlib.suppress(FileNotFoundError):
                if os.stat(name).st_mode & 0o077:
                    os.chmod(name, 0o600)


class Store:
    """Connections to the database, opened at first use, one for each thread; closed after the thread's end, or with the
    object."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self._own = threading.local()
        self._opened: list[tuple[threading.Thread, sqlite3.Connection]] = []

    @property
    def db(self) -> sqlite3.Connection:
        """This thread's connection, for reads. Raises OperationFailed when the file cannot be opened or is not ours."""
        found: sqlite3.Connection | None = getattr(self._own, "db", None)
        if found is None:
            try:
                found = self._open()
            except OperationFailed:
                # Opening alone makes files beside the database.
                if not (disk_reserve.is_scarce(self.roots.state) and disk_reserve.give(self.roots.state)):
                    raise
                found = self._open()
            disk_reserve.keep(self.roots.state)
            self._own.db = found
            self._close_unused()
            self._opened.append((threading.current_thread(), found))
        return found

    @contextlib.contextmanager
    def transaction(self, *, freeing: bool = False) -> Iterator[sqlite3.Connection]:
        """One write transaction (BEGIN IMMEDIATE): committed at the end of the block, rolled back when it raises.

        With `freeing`, because it records a removal, it gets space on a full disk.
        """
        db = self.db
        if freeing and disk_reserve.is_scarce(self.roots.state):
            disk_reserve.give(self.roots.state)
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _failed("write to", self.roots.database, error) from error
        try:
            yield db
        except BaseException as error:
            _roll_back(db)
            if isinstance(error, sqlite3.OperationalError):
                raise _failed("write to", self.roots.database, error) from error
            raise
        try:
            db.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(db)
            raise _failed("write to", self.roots.database, error) from error

    def reserve_log(self) -> None:
        """Allocate the blocks of the write-ahead log if there is room, so that on a full disk removals can be recorded even
        if other processes take the blocks that we free. They last as long as this thread's connection. SQLite ignores what
        follows the last valid page.
        """
        try:
            # Under the write lock, because on some file systems posix_fallocate(3) writes.
            with self.transaction(), open(f"{self.roots.database}-wal", "r+b") as file:
                if disk_reserve.has_room(self.roots.state):
                    os.posix_fallocate(file.fileno(), 0, _LOG)
        except (OSError, OperationFailed):
            pass  # a read-only file system, for instance

    def close(self) -> None:
        """Close the connections of all threads, none of which may be using one."""
        while self._opened:
            self._opened.pop()[1].close()
        self._own = threading.local()

    def __del__(self) -> None:
        # A connection is in a cycle with its own cache: left to the garbage collector, they would add up.
        while self._opened:
            self._opened.pop()[1].close()

    def _close_unused(self) -> None:
        """Close the connections of threads that have ended."""
        for entry in [one for one in self._opened if not one[0].is_alive()]:
            with contextlib.suppress(ValueError):  # another thread is doing the same
                self._opened.remove(entry)
                entry[1].close()

    def _open(self) -> sqlite3.Connection:
        path = self.roots.database
        try:
            make_private(self.roots.state)
            _make_files_private(path)
            db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = NORMAL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._create(db)
            elif version < SCHEMA_VERSION:
                self._upgrade(db)
            elif version > SCHEMA_VERSION:
                raise OperationFailed(
                    "open",
                    path,
                    detail=f"schema {version} is newer than ours, {SCHEMA_VERSION}",
                    hint="Update composer.",
                )
        except sqlite3.Error as error:
            raise _failed("open", path, error) from error
        except OSError as error:
            raise OperationFailed.of("open", path, error) from error
        return db

    @staticmethod
    def _create(db: sqlite3.Connection) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                # Two concurrent transactions would wait for each other: SQLite makes one start again, regardless of its timeout.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        db.execute("BEGIN IMMEDIATE")
        # Another process may have created it while we waited for the lock.
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in SCHEMA.split(";"):
                if statement.strip():
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")

    @staticmethod
    def _upgrade(db: sqlite3.Connection) -> None:
        """Bring the file of an older composer up to date, unless another process has done it meanwhile."""
        db.execute("BEGIN IMMEDIATE")
        try:
            for version in range(db.execute("PRAGMA user_version").fetchone()[0], SCHEMA_VERSION):
                db.execute(UPGRADES[version])
                db.execute(f"PRAGMA user_version = {version + 1}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


def _roll_back(db: sqlite3.Connection) -> None:
    """SQLite rolls back by itself after some errors, such as a full disk (https://sqlite.org/lang_transaction.html)."""
    if db.in_transaction:
        db.execute("ROLLBACK")


def _failed(operation: str, path: str, error: sqlite3.Error) -> OperationFailed:
    """SQLite says "disk I/O error" of a full or read-only disc, too, when it cannot make its files beside the database
    larger."""
    unopened = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN
    number = (unopened and _refused_descriptor()) or disk_reserve.refusal(os.path.dirname(path))
    return OperationFailed(operation, path, number, detail=os.strerror(number) if number else str(error))


def _refused_descriptor() -> int:
    """EMFILE or ENFILE if not even the descriptors of one database can be opened, otherwise 0. SQLite has a database, its
    log and the log's index, and says only that it cannot open a file."""
    opened: list[int] = []
    try:
        for _ in range(3):
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or 0
    finally:
        for fd in opened:
            os.close(fd)
    return 0
