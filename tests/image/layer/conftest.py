import io
import tarfile

import pytest


class Tar:
    """Builds an archive in memory with Python's own writer, entry by entry."""

    def __init__(self, **options):
        self.file = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.file, mode="w", **options)

    def add(self, name, content=b"", kind=tarfile.REGTYPE, **fields):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mode = kind, len(content), 0o755 if kind == tarfile.DIRTYPE else 0o644
        for field, value in fields.items():
            setattr(info, field, value)
        self.tar.addfile(info, io.BytesIO(content))
        return self

    def dir(self, name, **fields):
        return self.add(name, kind=tarfile.DIRTYPE, **fields)

    def link(self, name, target):
        return self.add(name, kind=tarfile.SYMTYPE, linkname=target)

    def hard(self, name, target):
        return self.add(name, kind=tarfile.LNKTYPE, linkname=target)

    def bytes(self):
        self.tar.close()
        return self.file.getvalue()


@pytest.fixture
def tar():
    return Tar
