"""Places: a local path, or a URL such as `s3://bucket/prefix`, with the little that the project asks of either.

`ObjectPath` has the methods of `pathlib.Path` that are used here, so that code takes both. An object is written whole
or not at all, and there are no folders: `mkdir` does nothing. Network trouble is Unavailable, a refusal Misconfigured.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from jobs.errors import LamplighterError, Misconfigured, Unavailable, disk_is_full, is_full_disk
from jobs.storage_options import delta_options, filesystem
from model_registry.codec import to_json, write_json

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pafs
    import pyarrow.parquet as pq

_URL = re.compile(r"^([a-z][a-z0-9+.-]+)://(.*)$")
_STORE = ("AWS Error", "curlCode", "HttpResponse", "GCS", "Azure", "google::cloud", "Generic S3 error")
_REFUSED = (
    *("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "status code 403"),
    *("AccessDenied", "NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403 Forbidden"),
)
TOO_NEW = 1
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


@dataclass(frozen=True)
class Stat:
    """Size in bytes, and when it was written (seconds since 1970)."""

    st_size: int
    st_mtime: float


@dataclass(frozen=True)
class ObjectPath:
    """An object, or all objects below a prefix: `key` is bucket and name, without slashes at its ends."""

    scheme: str
    key: str

    def __truediv__(self, part: str | PurePosixPath) -> ObjectPath:
        return ObjectPath(self.scheme, f"{self.key}/{part}".rstrip("/"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __lt__(self, other: ObjectPath) -> bool:
        return self.key < other.key

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.key).name

    @property
    def parent(self) -> ObjectPath:
        """All but the last part."""
        return ObjectPath(self.scheme, str(PurePosixPath(self.key).parent))

    def exists(self) -> bool:
        """Whether there is an object, or one below."""
        return bool(self._info().type)

    def is_file(self) -> bool:
        """Whether there is such an object."""
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        """Whether there are objects below."""
        return str(self._info().type.name) == "Directory"

    def stat(self) -> Stat:
        """Size and time of the object. Raises FileNotFoundError."""
        info = self._info()
        if not info.is_file:
            raise FileNotFoundError(f"There is no {self}.")
        return Stat(info.size, (info.mtime_ns or 0) / 1e9)

    def open(self, mode: str = "rb") -> Any:
        """The object as a file to read. Raises FileNotFoundError."""
        if mode != "rb":
            raise ValueError("an object is opened to be read; write_bytes writes it whole")
        with self._trouble():
            return self._fs.open_input_file(self.key)

    def read_bytes(self) -> bytes:
        """The content."""
        with self._trouble(), self.open() as content:
            return bytes(content.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> int:
        """Write the object, whole or not at all."""
        with self._trouble(), self._fs.open_output_stream(self.key) as stream:
            stream.write(content)
        return len(content)

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: there are no folders."""

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the object. Raises FileNotFoundError unless `missing_ok`."""
        try:
            with self._trouble():
                self._fs.delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Objects and prefixes below that fit the pattern, part by part, in the order of their names."""
        first, _, rest = pattern.partition("/")
        for info in self._list(recursive=False):
            if not fnmatchcase(info.base_name, first):
                continue
            found = self / info.base_name
            yield from found.glob(rest) if rest else [found]

    def remove_tree(self) -> None:
        """Remove all objects below."""
        for info in self._list(recursive=True):
            if info.is_file:
                ObjectPath(self.scheme, info.path).unlink(missing_ok=True)

    @property
    def _fs(self) -> pafs.FileSystem:
        return filesystem(self.scheme)

    def _info(self) -> Any:
        with self._trouble():
            return self._fs.get_file_info(self.key)

    def _list(self, *, recursive: bool) -> list[Any]:
        import pyarrow.fs as pafs

        selector = pafs.FileSelector(self.key, allow_not_found=True, recursive=recursive)
        with self._trouble():
            return sorted(self._fs.get_file_info(selector), key=lambda info: str(info.path))

    def _trouble(self) -> AbstractContextManager[None]:
        return reaching(self)


Place = Path | ObjectPath


def place(text: str, below: Place | None = None) -> Place:
    """The place that a text names: a URL or an absolute path stands for itself, another path is `below`."""
    found = _URL.match(text)
    if found is not None and found[1] == "file":
        return Path(found[2])
    if found is not None:
        return ObjectPath(found[1], found[2].strip("/"))
    return Path(text) if below is None or text.startswith("/") else below / text


def stamp_of(where: Place, *, patient: bool = False) -> str:
    """Size and time of a file: another one after each time that it is written. Raises FileNotFoundError.

    Stores count seconds. Whoever is to notice all that is written from now on must be patient: an object that is too
    new is waited for, since it could be written again within the same second.
    """
    about = where.stat()
    if not isinstance(about, Stat):
        return f"{about.st_size} {about.st_mtime_ns}"
    if patient:
        time.sleep(min(TOO_NEW, max(0.0, about.st_mtime + TOO_NEW - time.time())))
    return f"{about.st_size} {about.st_mtime}"


def unwritten_since(where: Place, stamp: str) -> bool:
    """Whether a file is as long as at that stamp, and was not written later. Raises FileNotFoundError."""
    now, then = (text.split() for text in (stamp_of(where), stamp))
    return now[0] == then[0] and Decimal(now[1]) <= Decimal(then[1])


def below(where: Place, root: Place) -> str:
    """The path of a place relative to one above it, with slashes."""
    return PurePosixPath(str(where)).relative_to(str(root)).as_posix()


def arrow(where: Place) -> tuple[str, pafs.FileSystem | None]:
    """Path and file system as pyarrow's readers and writers take them; None is the local one."""
    if isinstance(where, ObjectPath):
        return where.key, filesystem(where.scheme)
    return str(where), None


def open_parquet(where: Place) -> pq.ParquetFile:
    """A Parquet file of our own, whose pages are compared with their checksums as they are read."""
    import pyarrow.parquet as pq

    path, files = arrow(where)
    return pq.ParquetFile(path, filesystem=files, page_checksum_verification=True)


def read_schema(where: Place) -> pa.Schema:
    """The columns of a Parquet file. Raises FileNotFoundError."""
    import pyarrow.parquet as pq

    path, files = arrow(where)
    return pq.read_schema(path, filesystem=files)


def storage_options(where: Place) -> dict[str, str] | None:
    """The `storage_options` of a Delta table there."""
    return delta_options(where.scheme) if isinstance(where, ObjectPath) else None


def keep_json(where: Place, value: object) -> None:
    """Write a dataclass as JSON, whole or not at all."""
    if isinstance(where, ObjectPath):
        where.write_bytes(f"{to_json(value)}\n".encode())
    else:
        write_json(where, value)


def keep_bytes(where: Place, content: bytes) -> None:
    """Write a file, whole or not at all. Raises Unavailable when the disk is full."""
    if isinstance(where, ObjectPath):
        where.write_bytes(content)
        return
    where.parent.mkdir(parents=True, exist_ok=True)
    temporary = where.with_name(f".{where.name}.{uuid4().hex}.tmp")  # of this call alone: two may write at once
    try:
        temporary.write_bytes(content)
        temporary.replace(where)
    except OSError as error:
        raise (disk_is_full(where.parent) if is_full_disk(error) else error) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_tree(where: Place) -> None:
    """Remove everything below; what is gone already is fine."""
    if isinstance(where, ObjectPath):
        where.remove_tree()
    else:
        shutil.rmtree(where, ignore_errors=True)


def last_change(folder: Place) -> float:
    """When something in a folder was last written, or, on a disk, removed (seconds since 1970).

    What goes meanwhile, and a link to nothing, do not count; a folder that is gone changed just now.
    """
    found = folder.glob("*")
    return max(_written([folder, *found] if isinstance(folder, Path) else found), default=time.time())


def _written(places: Iterable[Place]) -> Iterator[float]:
    for path in places:
        with suppress(FileNotFoundError):
            if path.exists():
                yield path.stat().st_mtime


@contextmanager
def reaching(where: Place | str, errors: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Whatever a full disk or trouble of a store is raised as, of these errors, is raised as an error of ours."""
    try:
        yield
    except FileNotFoundError:
        raise
    except errors as error:
        if (known := trouble(where, error)) is not None:
            raise known from error
        raise


def trouble(where: Place | str, error: Exception) -> LamplighterError | None:
    """What an error of an object store or of a full disk means to the caller; None when it is neither."""
    if is_full_disk(error):
        return disk_is_full(str(where))
    text = str(error)
    if _URL.match(str(where)) is None or not any(sign in text for sign in _STORE):
        return None
    said = " ".join(_COLOUR.sub("", text).split())[:300]
    if any(sign in text for sign in _REFUSED):
        return Misconfigured(f"{where} is refused: {said}. Check the address and the credentials.")
    return Unavailable(f"{where} does not answer: {said}. Try again.")
