"""What a template may cost: iterations, calls and characters are paid from one purse.

Templates are written by people who are trusted, so this holds against mistakes: an endless loop
or a text without end fails one message instead of taking the machine down with the run.
"""

import re
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from math import prod
from types import MappingProxyType
from typing import Any, Final, cast

from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

BUDGET: Final = 3_000_000
"""Iterations, calls and characters that one template may use up for one message."""

_CALL: Final = 10  # what a call costs, and a filter: about what it takes beside a turn of a loop
_LARGEST: Final = 10_000_000  # characters or elements that a single operation may come to
_BITS: Final = 1024  # of a number: more than any sum of money has
_SIZED: Final = (str, list, tuple, dict, range)
_STEP: Final = " step"  # names with a space cannot be written in a template
_TEXT: Final = " text"

# These make as much as their arguments multiplied: texts and lists by length, numbers by value.
_MULTIPLYING: Final = frozenset(
    {
        *("batch", "center", "expandtabs", "indent", "join", "ljust", "replace", "rjust"),
        *("round", "slice", "wordwrap", "zfill"),
    }
)
_WIDE_FIELD: Final = re.compile(
    r"%[-+ #0]*(?:\*|[0-9]*\.?[0-9]{5}|[0-9]*\.\*)"  # '%99999d' % 1, '%*d' % (99999, 1)
    r"|\{[^{}]*(?:\{|[0-9]{5})"  # '{:99999}'.format(1), '{:{w}}'.format(1, w=99999)
)


@dataclass(slots=True)
class Purse:
    """What belongs to one rendering: a macro of another file reaches it too.

    Attributes:
        left: iterations, calls and characters that may still be spent.
        languages: the customer's, as the source has it, and the definition's; "" for none.
        images: names of the pictures that the template has asked for, in order.
    """

    left: int = BUDGET
    languages: tuple[str, str] = ("", "")
    images: dict[str, None] = field(default_factory=dict)


_purse: ContextVar[Purse | None] = ContextVar("_purse", default=None)


class OverspentError(Exception):
    """A template asks for more than any message needs."""


class Budget:
    """Gives the templates of one message, rendered in a `with` block, a full purse."""

    def __init__(self, languages: tuple[str, str] = ("", "")) -> None:
        self._languages = languages

    def __enter__(self) -> Purse:
        purse = Purse(BUDGET, self._languages)
        self._token = _purse.set(purse)
        return purse

    def __exit__(self, *_error: object) -> None:
        _purse.reset(self._token)


def spend(cost: int) -> None:
    """Pay for iterations, calls or characters; without a purse, as in compiling, nothing is due.

    Raises:
        OverspentError: nothing is left.
    """
    purse = _purse.get()
    if purse is None:
        return
    purse.left -= cost
    if purse.left < 0:
        raise OverspentError(f"it takes more than {BUDGET:,} iterations and characters")


def purse() -> Purse:
    """Return the purse of the rendering that goes on; an empty one outside of any."""
    return _purse.get() or Purse()


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which work is paid for and nothing can be drawn by lot.

    Composing a message again has to make the same bytes, so what is random is not there.

    Args:
        records: classes whose instances hold data alone, in all that begins with a letter.
        filters: more of them, by name.
        options: for Jinja's environment.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(
        self,
        records: Collection[type],
        filters: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters |= filters
        self._records = frozenset(records)
        self.globals["range"] = _range
        del self.globals["lipsum"], self.filters["random"]
        self.filters = {name: _paid(name, each) for name, each in self.filters.items()}
        self.filters |= {_STEP: _step, _TEXT: _text}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an attribute or item for a template."""
        # For a record the sandbox's questions take longer than all else, and have one answer.
        if type(obj) in self._records and attribute[0] != "_":
            value = getattr(obj, attribute, missing)
            if value is not missing:
                return value
        return super().getattr(obj, attribute)

    def call(self, context: Context, obj: Any, /, *args: Any, **options: Any) -> Any:
        """Call a function, macro or method for a template."""
        spend(_CALL)
        # The sandbox wraps str.format; everything else that texts can do is a plain method.
        method = getattr(obj, "__wrapped__", obj)
        text = getattr(method, "__self__", None)
        if not isinstance(text, str):
            return super().call(context, obj, *args, **options)
        _refuse_large(method.__name__, text, *args, *options.values())
        return _charged(super().call(context, obj, *args, **options))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator for a template, if its result is of a size that makes sense."""
        if operator == "**":
            size = _bits(left) * abs(right) if isinstance(right, int) else 0
            _refuse_over(size, _BITS, "a power")
        elif operator == "*" and isinstance(left, int) and isinstance(right, int):
            _refuse_over(_bits(left) + _bits(right), _BITS, "a product")
        elif operator == "*":
            _refuse_over(_size(left) * _size(right), _LARGEST, "a repetition")
        elif operator == "%" and isinstance(left, str):
            _refuse_large("format", left)
        return _charged(super().call_binop(context, operator, left, right))


class _Meter(NodeTransformer):
    """Makes every turn of a loop, every macro and every `~` in a template pay."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, _payment(node))
        if node.test is not None:  # turns that the test leaves out do not reach the body
            node.test = _filter(cast("nodes.Expr", node.test), _STEP, nodes.Const(1))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, _payment(node))
        return node

    def visit_Block(self, node: nodes.Block) -> nodes.Block:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, _payment(node))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, _TEXT)


def metered(tree: nodes.Template, *, called: bool = False) -> nodes.Template:
    """Return a parsed template in which loops, macros, blocks and `~` are paid for.

    Args:
        tree: as Jinja has parsed it.
        called: whether other templates use it, maybe in a loop: then all of it is paid for.
    """
    _Meter().visit(tree)
    if called:
        tree.body.insert(0, _payment(tree))
    return tree


def _payment(node: nodes.For | nodes.Macro | nodes.Block | nodes.Template) -> nodes.ExprStmt:
    """Return a statement that pays for one pass: a step, and the words that stand in the body."""
    texts = [each.data for part in node.body for each in part.find_all(nodes.TemplateData)]
    texts += [each.value for part in node.body for each in part.find_all(nodes.Const)]
    cost = 1 + sum(len(text) for text in texts if isinstance(text, str))
    line = node.lineno or 1
    payment = _filter(nodes.Const(None, lineno=line), _STEP, nodes.Const(cost, lineno=line))
    return nodes.ExprStmt(payment, lineno=line)


def _filter(node: nodes.Expr, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, [*arguments], [], None, None, lineno=node.lineno)


@pass_context  # or Jinja would apply it once, when it compiles
def _step(_context: Context, value: object, cost: int) -> object:
    spend(cost)
    return value


@pass_context
def _text(_context: Context, value: object) -> object:
    return _charged(value)


def _range(*arguments: int) -> range:
    """Count from 0, so many times."""
    numbers = safe_range(*arguments)
    spend(len(numbers))
    return numbers


def _paid(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that pays for what it reads and what it makes."""
    lead = 1 if hasattr(function, "jinja_pass_arg") else 0
    multiplies = name in _MULTIPLYING or name == "format"

    @wraps(function)  # with it comes Jinja's mark of what is passed first
    def paid(*arguments: Any, **options: Any) -> Any:
        read = _length(arguments[lead]) if len(arguments) > lead else 0
        if multiplies:
            _refuse_large(name, *arguments[lead:], *options.values())
        made = function(*arguments, **options)
        spend(_CALL + read + _length(made))
        return made

    return paid


def _charged(value: Any) -> Any:
    spend(_length(value))
    return value


def _length(value: object) -> int:
    return len(value) if isinstance(value, _SIZED) else 0


def _size(value: object) -> int:
    return abs(value) if isinstance(value, int) else _length(value)


def _bits(value: object) -> int:
    return value.bit_length() if isinstance(value, int) else 0


def _refuse_large(name: str, value: object, *arguments: object) -> None:
    """Refuse what would fill the memory before it could be paid for."""
    if name in _MULTIPLYING:
        sizes = (max(_size(each), 1) for each in arguments)
        _refuse_over(max(_length(value), 1) * prod(sizes), _LARGEST, name)
    elif name == "format" and isinstance(value, str) and _WIDE_FIELD.search(value):
        raise OverspentError(f"the format {value[:40]!r} has a field without bound")


def _refuse_over(size: int, most: int, what: str) -> None:
    if size > most:
        raise OverspentError(f"{what} comes to more than any message needs")
