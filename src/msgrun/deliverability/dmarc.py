"""What a domain asks receivers to do with mail that is not shown to be its own: DMARC (RFC 9989).

RFC 9989 replaces RFC 7489: the policy and the organizational domain are found by walking up the
tree of names, not by a list of public suffixes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgrun.deliverability.dkim import tags_of
from msgrun.deliverability.resolver import Answer, Resolver

_LABELS: Final = 8  # so many queries at most (RFC 9989, 4.10)
_VERSION: Final = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
_POLICIES: Final = ("none", "quarantine", "reject")
_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "p": _POLICIES,
    "sp": _POLICIES,
    "np": _POLICIES,
    "adkim": ("r", "s"),
    "aspf": ("r", "s"),
    "t": ("y", "n"),
    "psd": ("y", "n", "u"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One query of the walk.

    Attributes:
        record: the only record there; "" where there is none, or several.
        faults: what is wrong with what is published there.
    """

    domain: str
    answer: Answer
    record: str = ""
    tags: Mapping[str, str] | None = None
    faults: tuple[str, ...] = ()

    def tag(self, name: str, default: str = "") -> str:
        """Return a tag's value; the default also where the value is not allowed."""
        value = (self.tags or {}).get(name, default).lower()
        return value if name not in _VALUES or value in _VALUES[name] else default


@dataclass(frozen=True, slots=True)
class Walk:
    """The way from a domain up to its last label.

    Attributes:
        domain: where it began.
        steps: the queries, from the longest name to the shortest.
    """

    domain: str
    steps: tuple[Step, ...]

    @property
    def missed(self) -> Answer | None:
        """The first query that was not answered."""
        return next((step.answer for step in self.steps if not step.answer.known), None)

    @property
    def organizational(self) -> str:
        """The organizational domain (RFC 9989, 4.10.2); only sound when nothing was missed."""
        chosen = self.domain
        for step in self.steps:
            if not step.record:
                continue
            if step.tag("psd") == "n":
                return step.domain
            if step.tag("psd") == "y" and step.domain != self.domain:
                return ".".join(self.domain.split(".")[-len(step.domain.split(".")) - 1 :])
            chosen = step.domain
        return chosen

    @property
    def source(self) -> Step | None:
        """The step whose record is the policy (RFC 9989, 4.10.1): own, organizational, suffix."""
        found = {step.domain: step for step in self.steps if step.record}
        own = found.get(self.domain) or found.get(self.organizational)
        if own is not None:
            return own
        return next((step for step in found.values() if step.tag("psd") == "y"), None)

    @property
    def known(self) -> bool:
        """Whether the policy can be told."""
        own = self.steps[0]
        return bool(own.record) or self.missed is None

    @property
    def policy(self) -> str:
        """What is asked for mail that does not pass: none, quarantine, reject; "" for nothing."""
        step = self.source
        if step is None:
            return ""
        asked = step.tag("p")
        if step.domain != self.domain:
            asked = step.tag("sp") or asked
        if not asked and "rua" in (step.tags or {}):
            asked = "none"
        if step.tag("t") == "y" and asked in _POLICIES[1:]:
            asked = _POLICIES[_POLICIES.index(asked) - 1]  # a test: one level less (4.7)
        return asked

    def mode(self, tag: str) -> str:
        """Return "s" for strict or "r" for relaxed alignment, of `adkim` or `aspf`."""
        return self.source.tag(tag, "r") if self.source else "r"


def walk(resolver: Resolver, domain: str) -> Walk:
    """Walk up the tree of names (RFC 9989, 4.10)."""
    steps = [_step(resolver, domain)]
    labels = domain.split(".")
    rest = labels[1:] if len(labels) < _LABELS else labels[-(_LABELS - 1) :]
    while rest and steps[-1].tag("psd") != "n":
        step = _step(resolver, ".".join(rest))
        steps.append(step)
        if step.tag("psd") == "y":
            break
        rest = rest[1:]
    return Walk(domain, tuple(steps))


def _step(resolver: Resolver, domain: str) -> Step:
    answer = resolver.look_up(f"_dmarc.{domain}", "TXT")
    records = [text for text in answer.records if _VERSION.match(text)]
    near = [text for text in answer.records if text not in records and "dmarc" in text.lower()]
    if len(records) > 1:
        return Step(domain, answer, faults=(f"{len(records)} records: all of them are ignored",))
    if not records and near:
        fault = "it does not begin with 'v=DMARC1;' in exactly these letters"
        return Step(domain, answer, faults=(fault,))
    if not records:
        return Step(domain, answer)
    tags, faults = _read(records[0])
    return Step(domain, answer, records[0], tags, faults)


def _read(record: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the tags that can be read, and what is wrong with the others (RFC 9989, 4.7)."""
    tags: dict[str, str] = {}
    faults = []
    for spec in record.split(";"):
        if not spec.strip():
            continue
        try:
            one = tags_of(spec)
        except ValueError as error:
            faults.append(str(error))
            continue
        faults += [f"the tag {name}= is there twice" for name in one if name in tags]
        tags = {**one, **tags}
    if "p" not in tags:
        faults.append("the tag p= is missing")
    for name, allowed in _VALUES.items():
        if name in tags and tags[name].lower() not in allowed:
            faults.append(f"{name}={tags[name]} is none of {', '.join(allowed)}")
    for name in ("rua", "ruf"):
        for uri in filter(None, map(str.strip, tags.get(name, "").split(","))):
            if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri):
                faults.append(f"{name}={uri} is no address with 'mailto:' before it")
    return tags, tuple(faults)


def aligned(resolver: Resolver, author: Walk, other: str, tag: str) -> bool | None:
    """Tell whether a domain that passed speaks for the author's domain (RFC 9989, 4.4).

    Args:
        author: the walk of the From domain.
        other: the domain that SPF or DKIM passed for.
        tag: `aspf` or `adkim`.

    Returns:
        None where that cannot be told.
    """
    other = other.lower().rstrip(".")
    if other == author.domain:
        return True
    if not author.known:
        return None
    if author.mode(tag) == "s":
        return False
    if author.source is None:  # no policy: DMARC does not apply; kinship of names must do
        return _kin(author.domain, other)
    theirs = walk(resolver, other)
    if author.missed or theirs.missed:
        return None
    return theirs.organizational == author.organizational


def _kin(a: str, b: str) -> bool:
    shorter, longer = sorted((a, b), key=len)
    return "." in shorter and longer.endswith(f".{shorter}")
