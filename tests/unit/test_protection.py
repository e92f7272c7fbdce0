"""Protected documents: programs of others open them with the password, and not without."""

import shutil
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import pikepdf
import pytest

from msgrun.compose.attachments import Attachment
from msgrun.compose.protection import password_of, protect
from msgrun.errors import ComposeError


def pdf() -> bytes:
    made = BytesIO()
    with pikepdf.new() as document:
        document.add_blank_page()
        document.docinfo["/Title"] = "Secret title"
        document.save(made)
    return made.getvalue()


PDF = Attachment("INV-1 Acme.PDF", "application/pdf", pdf(), "1")
XML = Attachment("INV-1.xml", "application/xml", b"<a>" + b"x" * 500 + b"</a>", "1")
SECRET = "pässword 4711"


def ran(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, check=False, timeout=30)


def sealed(seed: str = "<1@a.test>", password: str | None = "4711") -> bytes:
    (made,) = protect([PDF, XML], archive=True, password=password, seed=seed)
    assert (made.filename, made.media_type, made.invoice) == (
        "documents.zip",
        "application/zip",
        "1",
    )
    return made.content


def test_an_archive_opens_with_the_password_and_not_without(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(sealed())

    opened = ran("7z", "x", f"-o{tmp_path / 'out'}", "-p4711", file)
    assert opened.returncode == 0, opened.stdout
    assert (tmp_path / "out" / "document-1.pdf").read_bytes() == PDF.content
    assert (tmp_path / "out" / "document-2.xml").read_bytes() == XML.content
    assert ran("7z", "t", "-pwrong", file).returncode != 0
    assert ran("7z", "t", "-p", file).returncode != 0
    assert b"AES-256" in ran("7z", "l", "-slt", file).stdout
    assert b"INV-1" not in file.read_bytes()


def test_the_same_message_makes_the_same_archive_and_another_one_another() -> None:
    assert sealed() == sealed()
    assert sealed()[30:200] != sealed(seed="<2@a.test>")[30:200]
    assert sealed(password=None) == sealed(password=None, seed="<2@a.test>")


def test_different_documents_never_share_a_key() -> None:
    other = Attachment("b.xml", "application/xml", b"<b>" + b"x" * 500 + b"</b>", "1")

    def salt(attachment: Attachment) -> bytes:
        (made,) = protect([attachment], archive=True, password="4711", seed="<1@a.test>")
        with zipfile.ZipFile(BytesIO(made.content)) as archive:
            (entry,) = archive.infolist()
        name = entry.header_offset + 30 + len(entry.filename)
        return made.content[name : name + 11 + 16]

    assert salt(XML) != salt(other)


def test_an_archive_without_a_password_holds_the_documents_under_neutral_names() -> None:
    with zipfile.ZipFile(BytesIO(sealed(password=None))) as archive:
        assert archive.namelist() == ["document-1.pdf", "document-2.xml"]
        assert archive.read("document-2.xml") == XML.content
        assert archive.testzip() is None


def test_a_pdf_opens_with_the_password_and_not_without(tmp_path: Path) -> None:
    (made,) = protect([PDF], archive=False, password=SECRET, seed="<1@a.test>")
    file = tmp_path / "a.pdf"
    file.write_bytes(made.content)

    assert made.filename == PDF.filename
    shown = ran("qpdf", f"--password={SECRET}", "--show-encryption", file)
    assert shown.returncode == 0, shown.stderr
    assert b"R = 6" in shown.stdout
    assert b"AESv3" in shown.stdout
    assert ran("qpdf", f"--password={SECRET}", "--check", file).returncode == 0
    assert ran("qpdf", "--password=wrong", "--check", file).returncode == 2
    assert ran("qpdf", "--check", file).returncode == 2
    assert b"Secret title" not in made.content


@pytest.mark.parametrize(
    ("attachment", "finding"),
    [
        (XML, "MR408"),
        (Attachment("a.pdf", "application/pdf", b"%PDF-1.4\nbroken", "1"), "MR403"),
    ],
)
def test_what_cannot_be_protected_is_not_sent(attachment: Attachment, finding: str) -> None:
    with pytest.raises(ComposeError) as caught:
        protect([PDF, attachment], archive=False, password="4711", seed="<1@a.test>")

    assert caught.value.finding == finding


def test_a_pdf_that_has_a_password_already_is_not_sent() -> None:
    (locked,) = protect([PDF], archive=False, password="theirs", seed="")

    with pytest.raises(ComposeError, match="cannot be opened") as caught:
        protect([locked], archive=False, password="4711", seed="")

    assert caught.value.finding == "MR403"


@pytest.mark.parametrize("value", [None, "", "  ", True, ["x"], {"a": "b"}, "x" * 128, "a\nb"])
def test_what_is_no_password_is_told(value: object) -> None:
    with pytest.raises(ComposeError) as caught:
        password_of({"pin": value}, "pin")

    assert caught.value.finding == "MR408"
    assert "x" * 20 not in str(caught.value)


def test_a_number_can_be_a_password() -> None:
    assert password_of({"pin": 4711}, "pin") == "4711"
    assert password_of({"pin": SECRET}, "pin") == SECRET


def test_a_pdf_is_never_protected_alike_twice_so_its_resend_is_refused() -> None:
    first, again = (
        protect([PDF], archive=False, password="4711", seed="<1@a.test>")[0].sha256
        for _ in range(2)
    )

    assert first != again
