"""Pictures travel beside the HTML that shows them; the standard parser reads what was put in."""

from email import message_from_bytes, policy
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st

from letters_written import write_message
from mime_texts import ATTACHMENTS, BODIES, FILENAMES, HEADS
from msgrun.compose.images import InlineImage
from msgrun.compose.message import _expected
from msgrun.compose.render import Rendered
from msgrun.compose.reread import verify_headers

STARTS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF89a": "image/gif"}
IMAGES = st.lists(
    st.builds(
        lambda name, start, rest: InlineImage(name, start + rest),
        FILENAMES,
        st.sampled_from(sorted(STARTS)),
        st.binary(max_size=200),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda image: image.content,
)

thorough = settings(max_examples=100, deadline=None)


@thorough
@given(HEADS, st.none() | BODIES, BODIES, ATTACHMENTS, IMAGES)
def test_the_standard_parser_reads_pictures_beside_their_html(head, text, html, files, images):
    data = write_message(head, text, html, files, images)
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)

    part = message
    if files:
        assert part.get_content_type() == "multipart/mixed"
        part = part.get_payload(0)
    if text is not None:
        assert part.get_content_type() == "multipart/alternative"
        assert [each.get_content_type() for each in part.iter_parts()] == [
            "text/plain",
            "multipart/related",
        ]
        part = part.get_payload(1)
    assert part.get_content_type() == "multipart/related"
    assert part.get_param("type") == "text/html"
    body, *shown = part.iter_parts()
    assert body.get_content_type() == "text/html"
    assert [each.get_content_type() for each in shown] == [
        STARTS[next(start for start in STARTS if image.content.startswith(start))]
        for image in images
    ]
    assert [each.get_payload(decode=True) for each in shown] == [each.content for each in images]
    assert [each["Content-ID"] for each in shown] == [f"<{each.content_id}>" for each in images]
    assert {each.get_content_disposition() for each in shown} == {"inline"}
    assert not any(each.defects for each in message.walk())
    assert max(map(len, data.split(b"\r\n"))) <= 998
    assert data.isascii()


@thorough
@given(HEADS, st.none() | BODIES, BODIES, ATTACHMENTS, IMAGES)
def test_the_strict_reader_expects_the_pictures_and_nothing_else(head, text, html, files, images):
    boxes = {box.address: box for box in head.to}
    if len(boxes) != len(head.to):
        return
    data = write_message(head, text, html, files, images)
    rendered = Rendered("", text, html, tuple(images))

    verify_headers(data, _expected(head, rendered, len(files)))
