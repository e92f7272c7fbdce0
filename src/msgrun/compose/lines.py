"""Line ends of a message (RFC 5322, 2.1): what a server must not be given, and what it may be."""


def has_clean_lines(data: bytes) -> bool:
    """Whether every line ends in CRLF and nothing else looks like a line end."""
    ends = data.count(b"\r\n")
    return data.endswith(b"\r\n") and data.count(b"\r") == ends == data.count(b"\n")


def is_plain(data: bytes) -> bool:
    """Whether `data` may go on the wire as it is: clean lines, and no dot begins one."""
    return has_clean_lines(data) and b"\n." not in data and not data.startswith(b".")
