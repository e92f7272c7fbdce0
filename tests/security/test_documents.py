"""Document paths: nothing outside the folder is ever read, however the path is dressed up.

Single paths are in tests/unit/test_compose_attachments.py; here they go through a whole run.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing_world import World, make_world
from msgrun.compose.attachments import check_document, load_document
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.errors import ComposeError
from msgrun.model import Document

SECRET = b"%PDF-1.7 the neighbour's invoice"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A documents folder with one of everything in it, and a secret beside it."""
    folder = tmp_path / "documents"
    folder.mkdir(exist_ok=True)
    (tmp_path / "secret.pdf").write_bytes(SECRET)
    (folder / "out.pdf").symlink_to(tmp_path / "secret.pdf")
    (folder / "chain.pdf").symlink_to("out.pdf")
    (folder / "up").symlink_to("..")
    (folder / "device.pdf").symlink_to("/dev/zero")
    (folder / "loop.pdf").symlink_to("loop.pdf")
    (folder / "dangling.pdf").symlink_to("nowhere.pdf")
    (folder / "folder.pdf").mkdir()
    os.mkfifo(folder / "fifo.pdf")
    return folder


def hostile_paths(root: Path) -> dict[str, str]:
    """Return hostile paths, each with the finding that it comes to."""
    return {
        "../secret.pdf": "MR407",
        "x/../../secret.pdf": "MR407",
        "./../secret.pdf": "MR407",
        "..": "MR407",
        "/": "MR407",
        "": "MR407",
        ".": "MR407",
        str(root.parent / "secret.pdf"): "MR407",
        "/etc/passwd": "MR407",
        "/proc/self/environ": "MR407",
        "/dev/stdin": "MR407",
        "out.pdf": "MR407",
        "chain.pdf": "MR407",
        "up/secret.pdf": "MR407",
        "device.pdf": "MR407",
        "a\x00.pdf": "MR407",
        "a\n.pdf": "MR407",
        "loop.pdf": "MR402",
        "folder.pdf": "MR403",
        "fifo.pdf": "MR403",
        "dangling.pdf": "MR401",
        "~/secret.pdf": "MR401",
        "$HOME/secret.pdf": "MR401",
        "file:///etc/passwd": "MR401",
        "http://127.0.0.1/secret.pdf": "MR401",
        "..\\secret.pdf": "MR401",
        "%2e%2e/secret.pdf": "MR401",
        "..;/secret.pdf": "MR401",
        "a" * 5000: "MR402",
    }


@pytest.mark.timeout(30)
def test_no_path_leads_out_and_none_is_waited_for(root: Path) -> None:
    found = {}
    for path in hostile_paths(root):
        for look in (check_document, load_document):
            with pytest.raises(ComposeError) as caught:
                look(Document("1", "pdf", "a.pdf", "application/pdf", path), root)
            found[path] = caught.value.finding
            assert SECRET.decode() not in str(caught.value)

    assert found == hostile_paths(root)


def test_a_socket_in_the_folder_is_no_document(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.pdf")
        with pytest.raises(ComposeError) as caught:
            load_document(Document("1", "pdf", "a.pdf", "application/pdf", "socket.pdf"), root)

    assert caught.value.finding in {"MR402", "MR403"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_in_the_folder_is_no_document(root: Path) -> None:
    try:
        os.mknod(root / "zero.pdf", 0o20666, os.makedev(1, 5))
    except OSError:
        pytest.skip("devices cannot be made here")

    with pytest.raises(ComposeError) as caught:
        load_document(Document("1", "pdf", "a.pdf", "application/pdf", "zero.pdf"), root)

    assert caught.value.finding == "MR403"


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hurried")
def test_what_is_swapped_for_a_link_while_it_is_opened_is_never_followed(root: Path) -> None:
    """Somebody swaps the file, and the folder above it, without end; any instant may be met."""
    own, evil = b"%PDF-1.7 own", root.parent / "outside"
    for folder in (root / "swapped", evil):
        folder.mkdir()
        (folder / "a.pdf").write_bytes(own if folder != evil else SECRET)
    (root / "kept.pdf").write_bytes(own)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            (root / "swapped").rename(root / "aside")
            (root / "swapped").symlink_to(evil)
            (root / "new").symlink_to(evil / "a.pdf")
            (root / "new").replace(root / "swapped.pdf")
            (root / "swapped").unlink()
            (root / "aside").rename(root / "swapped")
            (root / "new").hardlink_to(root / "kept.pdf")
            (root / "new").replace(root / "swapped.pdf")

    def outcomes(path: str) -> set[bytes]:
        seen = set()
        for _ in range(3000):
            try:
                document = Document("1", "pdf", "a.pdf", "application/pdf", path)
                seen.add(load_document(document, root).content)
            except ComposeError as error:
                seen.add(error.finding.encode())
        return seen

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = outcomes("swapped/a.pdf") | outcomes("swapped.pdf")
    finally:
        over.set()
        swapper.join()

    assert SECRET not in seen
    assert {own, b"MR407"} <= seen  # both sides of the race were met


def test_a_hostile_path_costs_its_own_message_and_shows_nothing(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=5)
    (tmp_path / "secret.pdf").write_bytes(SECRET)
    (tmp_path / "documents" / "out.pdf").symlink_to(tmp_path / "secret.pdf")
    os.mkfifo(tmp_path / "documents" / "fifo.pdf")
    hostile = {
        "i001": "../secret.pdf",
        "i002": "out.pdf",
        "i003": "/etc/passwd",
        "i004": "fifo.pdf",
    }
    for invoice, path in hostile.items():
        world.change("documents", {"invoice": invoice}, path=path)

    world.start()

    assert states_of(world) == {
        "i001": "MR407", "i002": "MR407", "i003": "MR407", "i004": "MR403", "i005": "sent"
    }  # fmt: skip
    (mail,) = sink.received
    assert mail.recipients == ("c005@customer.test",)
    assert b"neighbour" not in mail.path.read_bytes()


def states_of(world: World) -> dict[str, str]:
    return dict(sorted(world.states().items()))
