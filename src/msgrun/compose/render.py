"""Subject and bodies from templates; customer data is only ever a value, never a template."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import getdoc
from types import TracebackType
from typing import Any, Final, NoReturn, cast

from jinja2 import StrictUndefined, Template, TemplateRuntimeError
from jinja2.exceptions import UndefinedError
from jinja2.utils import missing

from msgrun.compose import CONTROL
from msgrun.compose.formats import EXAMPLES, FILTERS
from msgrun.compose.images import InlineImage
from msgrun.compose.languages import widening
from msgrun.compose.limits import BUDGET, Budget, Purse, Sandbox, spend
from msgrun.compose.plaintext import text_of
from msgrun.compose.references import IMAGE
from msgrun.compose.styles import Styles
from msgrun.compose.templates import Library, TemplateSources
from msgrun.errors import ComposeError
from msgrun.model import Customer, Invoice, MessageContext
from msgrun.suggest import nearest

__all__ = [
    "VARIABLES",
    "Rendered",
    "Renderer",
    "RunInfo",
    "SenderInfo",
    "TemplateSources",
    "filters",
    "functions",
    "variables_of",
]

MAX_SUBJECT: Final = 255


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
    """The words of one message; a body that came out empty is None.

    Attributes:
        images: what the HTML refers to, each once, in order.
    """

    subject: str
    text: str | None
    html: str | None
    images: tuple[InlineImage, ...] = ()


VARIABLES: Final[Mapping[str, tuple[type, bool]]] = {
    "customer": (Customer, False),
    "invoice": (Invoice, False),
    "invoices": (Invoice, True),
    "documents": (DocumentInfo, True),
    "sender": (SenderInfo, False),
    "run": (RunInfo, False),
}
"""The names that templates see: what each is, and whether it is a list of them."""


def variables_of(context: MessageContext, sender: SenderInfo, run: RunInfo) -> dict[str, Any]:
    """Return all that templates see, by name; `context` has at least one invoice."""
    invoices = [i if i.number else replace(i, number=i.label) for i in context.invoices]
    return {
        "customer": context.customer,
        "invoice": invoices[0],
        "invoices": invoices,
        "documents": [DocumentInfo(d.filename, d.transformation) for d in context.documents],
        "sender": sender,
        "run": run,
    }


class Renderer:
    """The compiled templates of a definition.

    Args:
        sources: the templates.

    Raises:
        ComposeError: MR301, a template cannot be compiled.
    """

    def __init__(self, sources: TemplateSources) -> None:
        self._sources = sources
        self._language = sources.language
        self._pictures: dict[str, InlineImage] = {}
        self._subject = self._part("subject", sources.subject)
        self._text = None if sources.text is None else self._part("text", sources.text)
        self._html = None if sources.html is None else self._part("html", sources.html)
        self._text_from_html = sources.text_from_html and self._text is None
        written = (sources.html, *sources.files.values(), *sources.variants.values())
        styled = any("<style" in each.lower() for each in written if each)
        self._styles = None
        if self._html and (sources.css or (sources.inline_css and styled)):
            self._styles = Styles(sources.css, own=sources.inline_css)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes: compiled again there."""
        return Renderer, (self._sources,)

    @property
    def languages(self) -> frozenset[str]:
        """The tags that some part has a template of its own for."""
        return frozenset(part.partition(".")[2] for part in self._sources.variants)

    def _part(self, part: str, source: str) -> "_Part":
        environment = _HTML if part == "html" else _PLAIN
        library = Library(environment, part, self._sources, self._pictures)
        return _Part(
            library.compile(part, source),
            {
                name.partition(".")[2]: library.compile(name, variant)
                for name, variant in self._sources.variants.items()
                if name.partition(".")[0] == part
            },
            library.filenames,
        )

    def render(self, context: MessageContext, sender: SenderInfo, run: RunInfo) -> Rendered:
        """Return subject and bodies for one message; `context` has at least one invoice.

        Raises:
            ComposeError: MR302, a variable is undefined or has no value; MR303, any other
                failure; MR304, the subject cannot be used; MR305, no body has any text.
        """
        variables = variables_of(context, sender, run)
        languages = (context.customer.language or "", self._language)
        text, html, images = "", "", tuple[InlineImage, ...]()
        with Budget(languages) as purse:
            subject = _checked_subject(_render(self._subject, variables, purse))
            if self._text:
                text = _render(self._text, variables, purse)
            if self._html:
                html = _render(self._html, variables, purse)
                images = self._asked(purse.images) if purse.images else ()
        if self._text_from_html:
            text = text_of(html)
        if self._styles and html.strip():
            html = self._styles.inlined(html)
        bodies = (text if text.strip() else None, html if html.strip() else None)
        if bodies == (None, None):
            raise ComposeError("MR305", "the message has no text", "write something in a template")
        return Rendered(subject, *bodies, images)

    def _asked(self, names: Collection[str]) -> tuple[InlineImage, ...]:
        """Return the pictures of these names, each once, also where two files are the same."""
        found: dict[str, InlineImage] = {}
        for name in names:
            picture = self._pictures[name]
            found.setdefault(picture.content_id, picture)
        return tuple(found.values())


@dataclass(frozen=True, slots=True)
class _Part:
    """One part's template, in all its languages.

    Attributes:
        usual: for customers of other languages than `variants` has.
        filenames: of all templates that take part, as tracebacks have them.
    """

    usual: Template
    variants: Mapping[str, Template]
    filenames: Collection[str]

    def template_for(self, language: str) -> Template:
        for each in widening(language):
            if each in self.variants:
                return self.variants[each]
        return self.usual


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
        records={record for record, _ in VARIABLES.values()},
        filters=FILTERS,
        autoescape=autoescape,
        undefined=_NamedUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )


_PLAIN: Final = _environment(autoescape=False)
_HTML: Final = _environment(autoescape=True)


def filters() -> dict[str, str]:
    """Return what templates can do with values, by name: what each does, in a few words."""
    own = {name: f"{_first_words(each)}: {EXAMPLES[name]}" for name, each in FILTERS.items()}
    # Names with a space are those that nobody can write.
    known = {n: _first_words(each) for n, each in sorted(_HTML.filters.items()) if " " not in n}
    return own | {name: words for name, words in known.items() if name not in own}


def functions() -> dict[str, str]:
    """Return what templates can call, likewise."""
    own = {
        IMAGE: f"{_first_words(Library.image)}: <img src=\"{{{{ image('logo.png') }}}}\">",
        "range": f"{_first_words(_HTML.globals['range'])}: {{% for n in range(3) %}}",
    }
    return own | {n: _first_words(each) for n, each in _HTML.globals.items() if n not in own}


def _first_words(function: Any) -> str:
    described = " ".join((getdoc(function) or "").split("\n\n")[0].split())
    return described.partition(". ")[0].rstrip(".:")


def _render(part: _Part, variables: Mapping[str, object], purse: Purse) -> str:
    """Return what a template makes of the variables."""
    template = part.usual
    if part.variants:
        template = part.template_for(purse.languages[0] or purse.languages[1])
    purse.left = BUDGET  # each template has all of it
    try:
        output = template.render(variables)
        output.encode()  # a lone surrogate in the data is found here, where the line is known
    except UndefinedError as error:
        _raise_undefined(error, _place(part, template, error), variables)
    except Exception as error:
        place = _place(part, template, error)
        message = f"{place}: {type(error).__name__}: {error}"
        file = place.rpartition(", line ")[0] or place
        hint = f"correct that line of {file}, or the value that it stumbles over"
        raise ComposeError("MR303", message, hint) from error
    return output


def _raise_undefined(
    error: UndefinedError, place: str, variables: Mapping[str, object]
) -> NoReturn:
    message = f"{place}: "
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


def _place(part: _Part, template: Template, error: Exception) -> str:
    """Return file and line of the innermost template in which something failed."""
    file, line, step = template.filename, 0, error.__traceback__
    while isinstance(step, TracebackType):
        if step.tb_frame.f_code.co_filename in part.filenames:
            file, line = step.tb_frame.f_code.co_filename, step.tb_lineno
        step = step.tb_next
    return f"{file}, line {line}" if line else f"{file}"


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
