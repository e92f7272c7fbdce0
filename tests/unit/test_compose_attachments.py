"""Documents: only files below the folder, only what they say they are."""

import os
from pathlib import Path

import pytest

from msgrun.compose.attachments import check_document, load_document
from msgrun.errors import ComposeError
from msgrun.model import Document

PDF = b"%PDF-1.7 hello"


def document(
    path: str | None = None,
    content: bytes | None = None,
    filename: str = "a.pdf",
    media_type: str = "application/pdf",
) -> Document:
    return Document("1", "pdf", filename, media_type, path, content)


def finding(wanted: Document, root: Path) -> str:
    """The code that both the full and the cheap look come to."""
    with pytest.raises(ComposeError) as cheap:
        check_document(wanted, root)
    with pytest.raises(ComposeError) as full:
        load_document(wanted, root)
    assert cheap.value.finding == full.value.finding
    assert "document 'pdf'" in full.value.message
    return full.value.finding


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026" / "a.pdf").write_bytes(PDF)
    (tmp_path / "secret.pdf").write_bytes(PDF)
    return folder


@pytest.mark.parametrize("absolute", [False, True])
def test_a_file_below_the_root_is_read(root, absolute):
    path = str(root / "2026" / "a.pdf") if absolute else "2026/a.pdf"

    check_document(document(path), root)
    loaded = load_document(document(path), root)

    assert (loaded.content, loaded.invoice, loaded.filename) == (PDF, "1", "a.pdf")
    assert len(loaded.sha256) == 64


def test_a_large_file_is_read_whole(root):
    content = PDF + os.urandom(3_000_000)
    (root / "large.pdf").write_bytes(content)

    assert load_document(document("large.pdf"), root).content == content


def test_content_from_the_database_needs_no_file(root):
    assert load_document(document(content=PDF), root).content == PDF


def test_a_link_inside_the_root_is_followed(root):
    (root / "link.pdf").symlink_to(root / "2026" / "a.pdf")

    assert load_document(document("link.pdf"), root).content == PDF


def test_the_root_may_be_a_link_itself(root, tmp_path):
    (tmp_path / "linked").symlink_to(root)

    assert load_document(document("2026/a.pdf"), tmp_path / "linked").content == PDF


def test_a_relative_path_that_begins_like_the_root_is_below_it(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    (root / "documents").mkdir()
    (root / "documents" / "a.pdf").write_bytes(PDF + b" below")
    (root / "a.pdf").write_bytes(PDF)

    loaded = load_document(document("documents/a.pdf"), Path("documents"))

    assert loaded.content == PDF + b" below"


@pytest.mark.parametrize("path", ["./2026/a.pdf", "2026//a.pdf", "2026/../2026/a.pdf", ".a.pdf"])
def test_a_path_may_be_written_in_a_roundabout_way(root, path):
    (root / ".a.pdf").write_bytes(PDF)

    check_document(document(path), root)
    assert load_document(document(path), root).content == PDF


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_a_file_that_does_not_know_its_size_is_read_whole():
    status = document("self/status", filename="a.txt", media_type="text/plain")

    content = load_document(status, Path("/proc")).content

    assert content.startswith(b"Name:")
    assert content.endswith(b"\n")


@pytest.mark.parametrize("path", ["../secret.pdf", "2026/../../secret.pdf", "", ".", "a\0.pdf"])
def test_a_path_out_of_the_root_is_refused(root, path):
    assert finding(document(path), root) == "MR407"


def test_an_absolute_path_outside_is_refused(root, tmp_path):
    assert finding(document(str(tmp_path / "secret.pdf")), root) == "MR407"


def test_a_folder_whose_name_only_begins_like_the_root_is_outside(root, tmp_path):
    (tmp_path / "documents2").mkdir()
    (tmp_path / "documents2" / "a.pdf").write_bytes(PDF)

    assert finding(document("../documents2/a.pdf"), root) == "MR407"


def test_links_that_lead_out_are_refused(root, tmp_path):
    (root / "file.pdf").symlink_to(tmp_path / "secret.pdf")
    (root / "folder").symlink_to(tmp_path)

    assert finding(document("file.pdf"), root) == "MR407"
    assert finding(document("folder/secret.pdf"), root) == "MR407"


@pytest.mark.parametrize("swapped", ["2026/a.pdf", "2026"])
def test_a_link_that_is_there_only_while_the_file_is_opened_is_refused(
    root, tmp_path, monkeypatch, swapped
):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.pdf").write_bytes(b"%PDF-secret")
    target = tmp_path / "outside" / "a.pdf" if swapped.endswith("pdf") else tmp_path / "outside"
    really_open = os.open

    def open_while_swapped(path: str, flags: int, **at: int) -> int:
        (root / swapped).rename(tmp_path / "moved")
        (root / swapped).symlink_to(target)
        try:
            return really_open(path, flags, **at)
        finally:
            (root / swapped).unlink()
            (tmp_path / "moved").rename(root / swapped)

    monkeypatch.setattr(os, "open", open_while_swapped)

    assert finding(document("2026/a.pdf"), root) == "MR402"


@pytest.mark.parametrize("path", ["none.pdf", "2026/none/a.pdf", "2026/a.pdf/b.pdf", None])
def test_a_missing_file_is_missing(root, path):
    assert finding(document(path), root) == "MR401"


def test_a_missing_root_is_a_missing_file(tmp_path):
    assert finding(document("a.pdf"), tmp_path / "nowhere") == "MR401"


def test_a_file_that_cannot_be_opened_is_unreadable(root):
    (root / "loop.pdf").symlink_to(root / "loop.pdf")

    assert finding(document("loop.pdf"), root) == "MR402"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(root):
    (root / "2026" / "a.pdf").chmod(0)

    assert finding(document("2026/a.pdf"), root) == "MR402"


@pytest.mark.parametrize("start", [b"", b"<html>Login</html>", b"%PD"])
def test_an_empty_or_false_pdf_is_refused(root, start):
    (root / "b.pdf").write_bytes(start)

    assert finding(document("b.pdf"), root) == "MR403"
    assert finding(document(content=start), root) == "MR403"


def test_other_types_may_begin_as_they_like(root):
    xml = document(content=b"<Invoice/>", filename="a.xml", media_type="application/xml")

    assert load_document(xml, root).content == b"<Invoice/>"


def test_what_is_no_file_is_refused_without_waiting_for_it(root):
    os.mkfifo(root / "fifo.pdf")

    assert finding(document("fifo.pdf"), root) == "MR403"
    assert finding(document("2026"), root) == "MR403"


def test_a_refused_document_leaves_no_file_open(root, tmp_path):
    (root / "empty.pdf").write_bytes(b"")

    def lowest_free() -> int:
        handle = os.open(os.devnull, os.O_RDONLY)
        os.close(handle)
        return handle

    before = lowest_free()
    for path in ("2026", "empty.pdf", "none.pdf"):
        finding(document(path), root)

    assert lowest_free() == before


@pytest.mark.parametrize(
    ("given", "shown"), [("/srv/x/a.pdf", "a.pdf"), ("C:\\x\\a.pdf", "a.pdf"), (" a.pdf ", "a.pdf")]
)
def test_file_names_lose_their_folders(root, given, shown):
    assert load_document(document(content=PDF, filename=given), root).filename == shown


@pytest.mark.parametrize("name", ["", "x/", "..", "a\r\nBcc: x.pdf", "a\x00.pdf", "a\x9b.pdf"])
def test_impossible_file_names_are_refused(root, name):
    assert finding(document(content=PDF, filename=name), root) == "MR403"


@pytest.mark.parametrize(
    "media_type",
    ["", "pdf", "application/pdf\r\nBcc: x", "message/rfc822", "multipart/mixed", 'a/b; c="d'],
)
def test_impossible_media_types_are_refused(root, media_type):
    assert finding(document(content=PDF, media_type=media_type), root) == "MR403"


def test_a_media_type_may_have_a_charset(root):
    xml = document(content=b"<a/>", media_type="text/xml; charset=utf-8")

    assert load_document(xml, root).media_type == "text/xml; charset=utf-8"
