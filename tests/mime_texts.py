"""Names, subjects, bodies, files: all that a message may be made of, for property tests."""

import re
from datetime import UTC, datetime

from hypothesis import strategies as st

from msgrun.compose.attachments import Attachment
from msgrun.compose.mime import Head, mailbox
from msgrun.model import Address

ASCII_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=120)
ANY_TEXT = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029"), max_size=120
)
LINES = (ASCII_TEXT | ANY_TEXT | st.sampled_from(['a "b", <c@d.test>', "a\\b", "= ?"])).filter(
    lambda line: "=?" not in line  # refused: tests/security/test_headers.py
)
SUBJECTS = LINES.map(str.strip).filter(bool)
NAMES = LINES.map(lambda name: re.sub(" +", " ", name).strip())
FILENAMES = LINES.map(lambda name: re.split(r"[/\\]", name)[-1].strip()).filter(bool)
BODIES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=300) | st.lists(
    ASCII_TEXT, min_size=1, max_size=5
).map("\n".join)
LOCAL_PARTS = st.from_regex(r"[a-z0-9]{1,20}([._+-][a-z0-9]{1,20})?", fullmatch=True)
ADDRESSES = st.builds("{}@{}".format, LOCAL_PARTS, st.sampled_from(["acme.test", "bücher.test"]))
MAILBOXES = st.builds(Address, ADDRESSES, NAMES).map(mailbox)
HEADS = st.builds(
    Head,
    sender=MAILBOXES,
    to=st.lists(MAILBOXES, min_size=1, max_size=4).map(tuple),
    subject=SUBJECTS,
    date=st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    message_id=st.sampled_from(["<1.a@acme.test>", "<2.b@xn--bcher-kva.test>"]),
    reply_to=st.none() | MAILBOXES,
    extra=st.lists(st.tuples(st.just("X-Note"), SUBJECTS), max_size=2).map(tuple),
)
ATTACHMENTS = st.lists(
    st.builds(
        Attachment,
        filename=FILENAMES,
        media_type=st.sampled_from(["application/pdf", "application/xml"]),
        content=st.binary(min_size=1, max_size=200),
        invoice=st.just("1"),
    ),
    max_size=3,
)
PARTS = st.tuples(HEADS, BODIES, st.none() | BODIES, ATTACHMENTS)


def as_read(body: str) -> str:
    lines = re.sub(r"\r\n?", "\n", body)
    return lines if lines.endswith("\n") else lines + "\n"
