"""`python -m msgrun.catalogue` writes the page of all finding codes: `docs/findings.md`."""

from typing import Final

from msgrun.catalogue import CATALOGUE, RESERVED, CodeInfo

_GROUPS: Final = {
    "MR0": "Environment",
    "MR1": "Customers, addresses and invoices",
    "MR2": "Definitions",
    "MR3": "Templates",
    "MR4": "Documents",
    "MR5": "Runs and messages",
    "MR6": "Mail server",
    "MR8": "Domains and deliverability",
}

_HEAD: Final = """\
# Findings

Every code that `msgrun doctor`, `plan`, `start` and `results` can name. Codes are a contract:
none is ever renumbered, and a retired number ({reserved}) is never used again.
`msgrun explain CODE` prints the same texts. This page is made by `python -m msgrun.catalogue`.

An *error* keeps a message from its customer, or soon will; a *warning* may; an *info* explains
without anything being wrong; *none* means that the check itself could not answer.
"""


def page() -> str:
    """Return the page: a table of all codes, then each one's text, grouped by number."""
    parts = [_HEAD.format(reserved=", ".join(sorted(RESERVED))), *_table()]
    for prefix, name in _GROUPS.items():
        entries = [entry for code, entry in CATALOGUE.items() if code.startswith(prefix)]
        if entries:
            parts += [f"\n## {name}\n", *map(_section, entries)]
    return "\n".join(parts).rstrip() + "\n"


def _table() -> list[str]:
    rows = [
        f"| [{entry.code}](#{entry.code.lower()}) | {entry.title} | {entry.severity} |"
        for entry in CATALOGUE.values()
    ]
    return ["| Code | Title | Severity |", "|---|---|---|", *rows]


def _section(entry: CodeInfo) -> str:
    return (
        f"### {entry.code}\n\n**{entry.title}** ({entry.severity})\n\n{entry.explanation}\n\n"
        f"**Remedy.** {entry.remedy}\n"
    )


if __name__ == "__main__":
    print(page(), end="")
