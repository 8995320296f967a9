"""The database's file across releases: an older release's is migrated, a newer release's is refused."""

import gc
import os
import re
import resource
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.errors import OperationFailed
from engine.paths import Roots
from engine.store import SCHEMA, SCHEMA_VERSION, Store


@pytest.fixture
def roots(tmp_path):
    (tmp_path / "s").mkdir()
    return Roots(str(tmp_path / "s"), str(tmp_path / "r"))


def columns(db, table):
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def test_first_version_is_migrated(roots):
    later = ("tagged_at", "replaced_at", "built INTEGER", "unsynced TEXT", "stream INTEGER")
    first = "\n".join(line for line in SCHEMA.splitlines() if not any(word in line for word in later))
    first = re.sub(r"CREATE TABLE variants .*?STRICT;", "", first, flags=re.DOTALL)
    first = first.replace("TEXT NOT NULL,                 -- engine.spec.image", "TEXT NOT NULL  -- engine.spec.image")
    first = first.replace(
        "REFERENCES images(id) ON DELETE CASCADE,\n) STRICT", "REFERENCES images(id) ON DELETE CASCADE\n) STRICT"
    )
    first = first.replace("DEFAULT '',        --", "DEFAULT ''  --")
    old = sqlite3.connect(roots.database)
    old.executescript(first)
    old.execute("PRAGMA user_version = 1")
    old.execute("INSERT INTO images VALUES ('sha256:1', '{}')")
    old.execute("INSERT INTO tags VALUES ('a', 'sha256:1')")
    old.commit()
    old.close()
    store = Store(roots)
    assert store.db.execute("SELECT * FROM tags").fetchall() == [("a", "sha256:1", 0.0)]
    assert store.db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    fresh = sqlite3.connect(":memory:")
    fresh.executescript(SCHEMA)
    for (table,) in fresh.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        assert columns(store.db, table) == columns(fresh, table)
    store.close()


def test_a_newer_one_is_refused(roots):
    newer = sqlite3.connect(roots.database)
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    with pytest.raises(OperationFailed, match="newer than ours"):
        Store(roots).db  # noqa: B018


def test_concurrent_creation(tmp_path):
    """A process that changes the journal's mode gets an error to try again, and does not wait."""

    def make(roots, gate):
        gate.wait()
        store = Store(roots)
        store.db.execute("SELECT 1 FROM images")
        store.close()

    for number in range(40):
        roots, gate = Roots(str(tmp_path / f"s{number}"), str(tmp_path / "r")), threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(make, roots, gate) for _ in range(4)]:
                done.result()


def test_connections_end_with_their_thread_and_with_their_store(roots):
    def descriptors():
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        return [os.readlink(link) for link in links if os.path.islink(link)].count(roots.database)

    def read(store):
        store.db.execute("SELECT 1 FROM images").fetchall()

    kept = Store(roots)
    read(kept)
    gc.disable()
    try:
        counts = []
        for _ in range(10):
            read(Store(roots))
            thread = threading.Thread(target=read, args=(kept,))
            thread.start()
            thread.join()
            counts.append(descriptors())
    finally:
        gc.enable()
    assert counts[-1] == counts[1] <= 4, counts


@pytest.mark.parametrize("spare", range(3))
def test_the_limit_of_open_files_is_named(roots, spare):
    first, second = Store(roots), Store(roots)
    first.db.execute("SELECT 1")
    first.close()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, before[1]))
    try:
        with pytest.raises(OperationFailed, match="EMFILE: Too many open files\nRaise the limit"):
            second.db.execute("SELECT 1 FROM images")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
