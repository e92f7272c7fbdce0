"""Subject and bodies from templates; customer data is only ever a value, never a template."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Final, NoReturn, cast

from jinja2 import StrictUndefined, Template, TemplateRuntimeError, TemplateSyntaxError
from jinja2.exceptions import UndefinedError
from jinja2.utils import missing

from msgrun.compose import CONTROL
from msgrun.compose.limits import Budget, Sandbox, metered, spend
from msgrun.errors import ComposeError
from msgrun.model import Customer, Invoice, MessageContext
from msgrun.suggest import nearest

MAX_SUBJECT: Final = 255


@dataclass(frozen=True, slots=True)
class TemplateSources:
    """The templates of a definition.

    Attributes:
        subject: template of the subject.
        text: template of the plain text; None for none.
        html: template of the HTML; None for none.
        names: "subject", "text" or "html" to the file name that errors show.
    """

    subject: str
    text: str | None = None
    html: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SenderInfo:
    """What templates see as `sender`."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What templates see as `run`."""

    definition: str
    period: str


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """What templates see as each of `documents`."""

    filename: str
    transformation: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """The words of one message; a body that came out empty is None."""

    subject: str
    text: str | None
    html: str | None


class Renderer:
    """The compiled templates of a definition.

    Args:
        sources: the templates.

    Raises:
        ComposeError: MR301, a template cannot be compiled.
    """

    def __init__(self, sources: TemplateSources) -> None:
        self._sources = sources
        self._subject = _compile("subject", sources.subject, sources.names)
        self._text = None if sources.text is None else _compile("text", sources.text, sources.names)
        self._html = None if sources.html is None else _compile("html", sources.html, sources.names)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes: compiled again there."""
        return Renderer, (self._sources,)

    def render(self, context: MessageContext, sender: SenderInfo, run: RunInfo) -> Rendered:
        """Return subject and bodies for one message; `context` has at least one invoice.

        Raises:
            ComposeError: MR302, a variable is undefined or has no value; MR303, any other
                failure; MR304, the subject cannot be used; MR305, no body has any text.
        """
        invoices = [i if i.number else replace(i, number=i.label) for i in context.invoices]
        variables = {
            "customer": context.customer,
            "invoice": invoices[0],
            "invoices": invoices,
            "documents": [DocumentInfo(d.filename, d.transformation) for d in context.documents],
            "sender": sender,
            "run": run,
        }
        subject = _checked_subject(_render(self._subject, variables))
        text = _render(self._text, variables) if self._text else ""
        html = _render(self._html, variables) if self._html else ""
        bodies = (text if text.strip() else None, html if html.strip() else None)
        if bodies == (None, None):
            raise ComposeError("MR305", "the message has no text", "write something in a template")
        return Rendered(subject, *bodies)


class _UndefinedNameError(UndefinedError):
    def __init__(self, owner: object, name: str, message: str) -> None:
        super().__init__(message)
        self.owner = owner
        self.name = name


class _NamedUndefined(StrictUndefined):
    """Keeps the owner and the name, so that the error can name the nearest ones."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        if exc is UndefinedError and name is not None:
            # Jinja only ever calls it with the message, so a partial serves as the class.
            exc = cast("type[TemplateRuntimeError]", partial(_UndefinedNameError, obj, name))
        super().__init__(hint, obj, name, exc)


def _printed(value: object) -> object:
    # "Total: None" in a customer's mail is the same fault as an undefined variable.
    if value is None:
        raise UndefinedError("a value that is to be printed is empty")
    if isinstance(value, str):
        spend(len(value))
    return value


def _environment(*, autoescape: bool) -> Sandbox:
    return Sandbox(
        records=(Customer, Invoice, DocumentInfo, SenderInfo, RunInfo),
        autoescape=autoescape,
        undefined=_NamedUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )


_PLAIN: Final = _environment(autoescape=False)
_HTML: Final = _environment(autoescape=True)


def _compile(part: str, source: str, names: Mapping[str, str]) -> Template:
    environment = _HTML if part == "html" else _PLAIN
    name = names.get(part, part)
    try:
        tree = metered(environment.parse(source, name, name))
        code = environment.compile(tree, name=name, filename=name)
    except TemplateSyntaxError as error:
        lines = source.splitlines()
        excerpt = lines[error.lineno - 1].strip()[:120] if error.lineno <= len(lines) else ""
        message = f"{name}, line {error.lineno}: {error.message}: {excerpt!r}"
        raise ComposeError("MR301", message, f"correct {name} at that line") from error
    except (ArithmeticError, MemoryError, RecursionError, SyntaxError, ValueError) as error:
        # Python's own limits: brackets nested too deep, numbers with thousands of digits.
        message = f"{name}: {type(error).__name__}: {error}"
        raise ComposeError("MR301", message, f"make {name} simpler") from error
    # Every message's context begins as a copy of the globals: of a ChainMap that takes long.
    return Template.from_code(environment, code, dict(environment.globals))


def _render(template: Template, variables: Mapping[str, object]) -> str:
    try:
        with Budget():
            output = template.render(variables)
        output.encode()  # a lone surrogate in the data is found here, where the line is known
    except UndefinedError as error:
        _raise_undefined(error, template, variables)
    except Exception as error:
        message = f"{_place(template, error)}: {type(error).__name__}: {error}"
        hint = f"correct that line of {template.filename}, or the value that it stumbles over"
        raise ComposeError("MR303", message, hint) from error
    return output


def _raise_undefined(
    error: UndefinedError, template: Template, variables: Mapping[str, object]
) -> NoReturn:
    message = f"{_place(template, error)}: "
    hint = "fill the value, or give a substitute: {{ value or '-' }}"
    if isinstance(error, _UndefinedNameError):
        owner, prefix = error.owner, ""
        known = list(variables) if owner is missing else _names_in(owner)
        if owner is not missing:
            found = (key for key, value in variables.items() if value is owner)
            prefix = f"{next(found, type(owner).__name__)}."
        near = [prefix + name for name in nearest(error.name, known)]
        message += f"{prefix + error.name!r} is undefined"
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"fill it, or give a substitute: {{{{ {prefix}{error.name} | default('-') }}}}"
        )
    else:
        message += str(error)
    raise ComposeError("MR302", message, hint) from error


def _names_in(owner: object) -> list[str]:
    if isinstance(owner, Mapping):
        return [str(key) for key in owner]
    return [name for name in dir(owner) if not name.startswith("_")]


def _place(template: Template, error: Exception) -> str:
    line, step = 0, error.__traceback__
    while isinstance(step, TracebackType):
        if step.tb_frame.f_code.co_filename == template.filename:
            line = step.tb_lineno
        step = step.tb_next
    return f"{template.filename}, line {line}" if line else f"{template.filename}"


def _checked_subject(subject: str) -> str:
    subject = subject.strip()
    fault = (
        "is empty"
        if not subject
        else "holds a control character or a line break"
        if CONTROL.search(subject)
        else "holds '=?', which mail programs read as a code"
        if "=?" in subject
        else f"is longer than {MAX_SUBJECT} characters"
        if len(subject) > MAX_SUBJECT
        else ""
    )
    if fault:
        hint = "correct the subject of the definition, or the value that is put into it"
        raise ComposeError("MR304", f"the subject {fault}: {subject[:80]!r}", hint)
    return subject
