from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from storage import files
from storage.errors import StorageError
from storage.files import create_private, filesystem_of, refuse_unusable


@pytest.mark.parametrize("path", ["", ":memory:", ":anything"])
def test_a_database_that_dies_with_its_process_is_refused_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"keeps nothing beyond its process, .* Name a file: sqlite:///taskrelay.db"):
        refuse_unusable(path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_told_how_to_become_a_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"is a folder. Name a file in it: sqlite:///{tmp_path}/taskrelay.db"):
        refuse_unusable(f"{tmp_path}/")


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the folder does not exist; create it"):
        refuse_unusable(f"{tmp_path}/nowhere/t.db")


# As root everything may be written, so what is refused is asked by somebody else.
ASK = """
import os, sys
sys.path[:0] = [{root!r}, *{paths!r}]
from storage.errors import StorageError
from storage.files import refuse_unusable
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    refuse_unusable(sys.argv[1])
except StorageError as error:
    print(error)
"""


def asked_by_nobody(path: Path) -> str:
    root = str(Path(__file__).parent.parent.parent)
    script = ASK.format(root=root, paths=[one for one in sys.path if one])
    ended = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd="/", capture_output=True, text=True, check=True
    )
    return ended.stdout


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_cannot_be_written_is_named_before_anything_is_made(what: str) -> None:
    # Not below pytest's own folder, which is closed to other users.
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "t.db"
        file.touch()
        if what == "file":
            folder.chmod(0o777)
            file.chmod(0o444)
        else:
            file.chmod(0o666)
            folder.chmod(0o555)
        told = asked_by_nobody(file)
        folder.chmod(0o700)
    place = file if what == "file" else folder
    assert told.startswith(f"{place} cannot be written") and "read and write it" in told


MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv rw - tmpfs none rw
31 30 0:41 / /srv/our\\040files rw,relatime shared:7 - nfs4 nas:/export rw
32 22 0:42 / /home rw - cifs //nas/home rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/", "ext4"), ("/var/lib", "ext4"), ("/srv", "tmpfs"), ("/srvice", "ext4"), ("/srv/our files/a", "nfs4")],
)
def test_the_nearest_mount_above_a_folder_is_its_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, kind: str
) -> None:
    monkeypatch.setattr(files, "MOUNTS", tmp_path / "mountinfo")
    files.MOUNTS.write_text(MOUNTINFO)
    assert filesystem_of(Path(folder)) == kind


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("xfs", False)])
def test_a_network_file_system_is_refused_where_the_kernel_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, refused: bool
) -> None:
    monkeypatch.setattr(files, "MOUNTS", tmp_path / "mountinfo")
    files.MOUNTS.write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {tmp_path} rw - {kind} x rw\n")
    (tmp_path / "link.db").symlink_to(tmp_path / "t.db")
    for name in ("t.db", "link.db"):
        if refused:
            with pytest.raises(StorageError, match=f"network file system .{kind}.*disk of this machine"):
                refuse_unusable(f"{tmp_path}/{name}")
        else:
            refuse_unusable(f"{tmp_path}/{name}")


def test_where_the_kernel_tells_nothing_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOUNTS", tmp_path / "none")
    refuse_unusable(f"{tmp_path}/t.db")


def test_a_new_file_is_private_and_an_old_one_is_left_as_it_is(tmp_path: Path) -> None:
    new, old = tmp_path / "new.db", tmp_path / "old.db"
    old.write_bytes(b"kept")
    os.chmod(old, 0o640)
    for file in (new, old):
        create_private(str(file))
    assert (new.stat().st_mode & 0o777, old.stat().st_mode & 0o777) == (0o600, 0o640)
    assert old.read_bytes() == b"kept"


def test_who_serves_a_file_can_be_asked_without_disturbing_it(tmp_path: Path) -> None:
    file = str(tmp_path / "t.db")
    assert files.holder(file) is None and list(tmp_path.iterdir()) == []
    lock = files.claim(file)
    assert files.holder(file) == str(os.getpid())
    os.close(lock)
    assert files.holder(file) is None
    os.close(files.claim(file))
    assert files.sqlite_version() > (3, 30)
