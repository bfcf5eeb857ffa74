"""The client's calls about files that jobs gave back."""

import io
import secrets
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from piecework.client.calls import AnyId
from piecework.client.errors import BadReply, NotFound
from piecework.client.modes import call
from piecework.client.queue.jobs.results import ResultCalls
from piecework.client.uploads import SPOOL_BYTES
from piecework.files import naming
from piecework.protocol.codes import Code
from piecework.protocol.job_files import find_clash, is_path
from piecework.protocol.messages import JobFile, given

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
"""How names of archives end."""
EPOCH, EPOCH_S = (1980, 1, 1, 0, 0, 0), 315_532_800
"""The first time that a ZIP archive can tell, and the same since 1970: what jobs give back has no times."""
SHOWN = 10
"""Files that an error names."""


class JobFileCalls(ResultCalls):
    """Files that jobs gave back from their own directories."""

    @call
    async def output_files(self, job_id: AnyId) -> list[JobFile]:
        """Return the files that a job gave back, in the order of their names; none until it has ended.

        Raises NotFound, and BadReply for names that would lead out of a directory.
        """
        files = given((await self.job(job_id)).made) or []
        names = [each.name for each in files]
        if not all(map(is_path, names)) or len({*names}) < len(names) or find_clash(names):
            raise BadReply(f"the files of job {job_id} have names that no files can have")
        return files

    @call
    async def read_file(self, job_id: AnyId, name: str) -> bytes:
        """Return the bytes of a file that a job gave back; for those that fit into memory. Raises NotFound."""
        return await self.read(_find(await self.output_files(job_id), name).blob)

    @call
    async def download_files(self, job_id: AnyId, folder: Path) -> list[Path]:
        """Write all files that a job gave back into a folder, which is made, and return where they are.

        Each file appears when all of it has come and was checked; one that is there is replaced. Raises NotFound.
        """
        paths = []
        for file in await self.output_files(job_id):
            path = folder / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            await self.download(file.blob, path, checksum=file.checksum or None)
            paths.append(path)
        return paths

    @call
    async def archive_files(self, job_id: AnyId, path: Path) -> int:
        """Write all files that a job gave back into an archive, and return how many they are.

        ``path`` ends with one of ARCHIVES. The archive appears when it is complete. Raises NotFound, and
        ValueError for other endings.
        """
        ending = next((each for each in ARCHIVES if path.name.endswith(each)), None)
        if ending is None:
            raise ValueError(f"{path.name!r} ends with none of {', '.join(ARCHIVES)}")
        files = await self.output_files(job_id)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with naming(path), _open_archive(part, ending) as add:
                for file in files:
                    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
                        async for piece in self.stream(file.blob):
                            spool.write(piece)
                        add(file, cast("BinaryIO", spool))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return len(files)


def _find(files: list[JobFile], name: str) -> JobFile:
    for file in files:
        if file.name == name:
            return file
    known = ", ".join(each.name for each in files[:SHOWN]) + (", …" if len(files) > SHOWN else "")
    raise NotFound(404, Code.BLOB_NOT_FOUND, f"the job gave back no file {name!r}: {known or 'it gave back none'}")


@contextmanager
def _open_archive(path: Path, ending: str) -> Iterator[Callable[[JobFile, BinaryIO], None]]:
    """Yield what adds a file, of which the bytes are in a file that was written just now."""
    if ending == ".zip":
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
            yield lambda file, source: _add_to_zip(archive, file, source)
    else:
        with tarfile.open(path, "x:" if ending == ".tar" else "x:gz") as tar:
            yield lambda file, source: _add_to_tar(tar, file, source)


def _add_to_zip(archive: zipfile.ZipFile, file: JobFile, source: BinaryIO) -> None:
    info = zipfile.ZipInfo(file.name, EPOCH)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    source.seek(0)
    with archive.open(info, "w") as target:
        shutil.copyfileobj(source, target)


def _add_to_tar(archive: tarfile.TarFile, file: JobFile, source: BinaryIO) -> None:
    info = tarfile.TarInfo(file.name)
    info.size, info.mtime = source.seek(0, io.SEEK_END), EPOCH_S
    source.seek(0)
    archive.addfile(info, source)
