"""What a template refers to: other templates and pictures, all of which a run freezes.

So their names have to be written out. They are relative to the folder of the definition's
template, or else to that of `msgrun.toml`, and never lead out of it.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jinja2 import nodes

from msgrun.compose import CONTROL

IMAGE: Final = "image"
"""The function by which a template asks for a picture."""

_WHERE: Final = "it is looked for beside the definition's template, then beside msgrun.toml"


@dataclass(frozen=True, slots=True)
class Reference:
    """A place at which a template names files.

    Attributes:
        names: the first that is there is taken.
        line: of the template, from 1.
        needed: whether one of them has to be there.
        image: whether it is a picture and no template.
    """

    names: tuple[str, ...]
    line: int
    needed: bool = True
    image: bool = False


@dataclass(frozen=True, slots=True)
class Misreference:
    """A place at which a template names a file in a way that cannot be frozen."""

    line: int
    message: str
    hint: str


def candidates(name: str, folder: str) -> tuple[str, ...]:
    """Return where a name may lead, relative to the folder of `msgrun.toml`, in order.

    Args:
        name: as the template has it.
        folder: of the definition's template; "" for that of `msgrun.toml`.
    """
    beside = posixpath.normpath(posixpath.join(folder, name))
    return tuple(dict.fromkeys((beside, posixpath.normpath(name))))


def references_of(tree: nodes.Template, *, images: bool) -> Iterator[Reference | Misreference]:
    """Yield every reference of a parsed template.

    Args:
        tree: as Jinja has parsed it.
        images: whether pictures can be asked for, which only HTML can.
    """
    for node in tree.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
        needed = not getattr(node, "ignore_missing", False)
        yield from _named(node.template, needed=needed, image=False)  # type: ignore[attr-defined]
    for call in tree.find_all(nodes.Call) if images else ():
        if isinstance(call.node, nodes.Name) and call.node.name == IMAGE:
            if len(call.args) == 1 and not (call.kwargs or call.dyn_args or call.dyn_kwargs):
                yield from _named(call.args[0], needed=True, image=True)
            else:
                hint = "write {{ image('logo.png') }}"
                yield Misreference(call.lineno, "image() wants one name", hint)


def _named(node: nodes.Node, *, needed: bool, image: bool) -> Iterator[Reference | Misreference]:
    if isinstance(node, nodes.CondExpr) and node.expr2 is not None:
        yield from _named(node.expr1, needed=needed, image=image)
        yield from _named(node.expr2, needed=needed, image=image)
        return
    listed = node.items if isinstance(node, (nodes.List, nodes.Tuple)) and not image else [node]
    names = [each.value for each in listed if isinstance(each, nodes.Const)]
    if len(names) != len(listed) or not all(isinstance(name, str) for name in names):
        yield Misreference(
            node.lineno,
            "the name of a file is not written out, so a run could not keep the file",
            "write the name in quotes; {% if %} can choose between several",
        )
        return
    for name in names:
        if fault := _fault(name):
            yield Misreference(node.lineno, f"the file name {name!r} {fault}", _WHERE)
            return
    yield Reference(tuple(names), node.lineno, needed, image)


def _fault(name: str) -> str:
    if not name.strip() or CONTROL.search(name):
        return "cannot be one"
    if name.startswith(("/", "~")) or "\\" in name or name[1:2] == ":":
        return "is not relative"
    if ".." in name.split("/"):
        return "leads out of its folder"
    return ""


def missing(reference: Reference) -> Misreference:
    """Return what is said of a reference that leads to no file."""
    names = " or ".join(repr(name) for name in reference.names)
    return Misreference(reference.line, f"there is no file {names}", _WHERE)
