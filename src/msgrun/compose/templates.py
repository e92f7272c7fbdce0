"""Templates compiled, with all that they refer to: what stands nowhere cannot be asked for."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from jinja2 import BaseLoader, Environment, Template, TemplateNotFound, TemplateSyntaxError
from jinja2.environment import TemplateModule
from jinja2.runtime import Context

from msgrun.compose.images import InlineImage, NotAnImageError
from msgrun.compose.limits import Sandbox, metered, purse
from msgrun.compose.references import (
    IMAGE,
    Misreference,
    Reference,
    candidates,
    missing,
    references_of,
)
from msgrun.errors import ComposeError

FILE: Final = "file:"
PICTURE: Final = "image:"
STYLES: Final = "css"


@dataclass(frozen=True, slots=True)
class TemplateSources:
    """The templates of a definition, as a run has frozen them.

    Attributes:
        subject: template of the subject.
        text: template of the plain text; None for none.
        html: template of the HTML; None for none.
        names: a part ("subject", "text.nl", "file:layout.html") to the file name that errors show.
        variants: part and language ("text.nl") to the template for customers of that language.
        files: templates that others refer to, by path relative to the folder of `msgrun.toml`.
        images: pictures likewise, in base64.
        folders: a part ("subject", "text", "html") to the folder of its template, written likewise.
        css: styles that are written into the HTML's elements.
        inline_css: whether those of the HTML's own <style> are too.
        text_from_html: whether the text is derived from the HTML where there is no template of it.
        language: how sums and dates are written for a customer without a language.
    """

    subject: str
    text: str | None = None
    html: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    css: str = ""
    inline_css: bool = False
    text_from_html: bool = False
    language: str = ""

    @classmethod
    def of(
        cls,
        frozen: Mapping[str, tuple[str, str]],
        definition: Mapping[str, Any],
    ) -> "TemplateSources":
        """Read them as a run has them, also one of an earlier version.

        Args:
            frozen: the ledger's `Frozen.templates`.
            definition: the ledger's `Frozen.definition`.
        """
        parts: dict[str, str] = {}
        variants, files, images = {}, {}, {}
        css = ""
        for part, (_, source) in frozen.items():
            if part.startswith(FILE):
                files[part.removeprefix(FILE)] = source
            elif part.startswith(PICTURE):
                images[part.removeprefix(PICTURE)] = source
            elif part == STYLES:
                css = source
            elif "." in part:
                variants[part] = source
            else:
                parts[part] = source
        return cls(
            **parts,
            names={part: name for part, (name, _) in frozen.items()},
            variants=variants,
            files=files,
            images=images,
            folders=folders_of(definition),
            css=css,
            # Not by the defaults of today: a run of an earlier version goes on as it began.
            inline_css=bool(definition.get("inline_css", False)),
            text_from_html=bool(definition.get("text_from_html", False)),
            language=definition.get("language") or "",
        )


def folders_of(definition: Mapping[str, Any]) -> dict[str, str]:
    """Return the folder of each part's template file, as `msgrun.toml` writes it; "" for its own.

    Args:
        definition: its settings, as JSON values.
    """
    files = {part: definition.get(key) or "" for part, key in PARTS.items()}
    return {part: file.rpartition("/")[0] for part, file in files.items()}


PARTS: Final = {"subject": "subject_file", "text": "text", "html": "html"}
"""The parts of a message, and the setting that names the file of each."""


class CompiledTemplate(Template):
    """A template whose imports are made anew: what one customer's message saw stays with it."""

    def _get_default_module(self, ctx: Context | None = None) -> TemplateModule:
        return self.make_module()


class Library(BaseLoader):
    """One part's template, compiled with every other that it reaches.

    Args:
        environment: what the part is compiled in.
        part: "subject", "text" or "html".
        sources: all templates of the definition.
        pictures: filled with the pictures that are asked for, by the name used.

    Raises:
        ComposeError: MR301, one of them cannot be compiled, or refers to what is not there.
    """

    def __init__(
        self,
        environment: Sandbox,
        part: str,
        sources: TemplateSources,
        pictures: MutableMapping[str, InlineImage],
    ) -> None:
        self._environment = environment
        self._linked: Sandbox | None = None
        self._folder = sources.folders.get(part, "")
        self._sources = sources
        self._pictures = pictures
        self._images = part == "html"
        self._compiled: dict[str, Template] = {}
        self._met: set[str] = set()
        self.filenames: set[str] = set()

    def compile(self, part: str, source: str) -> Template:
        """Return the template of the part, or a variant of it ("html.nl")."""
        return self._compile(self._sources.names.get(part, part), source, called=False)

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002
    ) -> Template:
        """Return a template that another one names; Jinja asks for it.

        Raises:
            TemplateNotFound: it may be missing, and is.
        """
        for path in candidates(name, self._folder):
            if path in self._compiled:
                return self._compiled[path]
        raise TemplateNotFound(name)

    def _compile(self, name: str, source: str, *, called: bool) -> Template:
        self.filenames.add(name)
        try:
            tree = self._environment.parse(source, name, name)
            references = list(references_of(tree, images=self._images))
            environment = self._linking() if references else self._environment
            code = environment.compile(metered(tree, called=called), name=name, filename=name)
        except TemplateSyntaxError as error:
            fault = f"{error.message}: {_line(source, error.lineno)!r}"
            _refuse(name, error.lineno, fault, f"correct {name} at that line", error)
        except (ArithmeticError, MemoryError, RecursionError, SyntaxError, ValueError) as error:
            # Python's own limits: brackets nested too deep, numbers with thousands of digits.
            message = f"{name}: {type(error).__name__}: {error}"
            raise ComposeError("MR301", message, f"make {name} simpler") from error
        # Every message's context begins as a copy of the globals: of a ChainMap that takes long.
        known = dict(environment.globals)
        template = CompiledTemplate.from_code(environment, code, known)
        for reference in references:
            self._follow(reference, name, source)
        return template

    def _follow(self, reference: Reference | Misreference, name: str, source: str) -> None:
        if isinstance(reference, Misreference):
            fault = f"{reference.message}: {_line(source, reference.line)!r}"
            _refuse(name, reference.line, fault, reference.hint)
        found = [path for each in reference.names for path in self._stored(each, reference)]
        if not found and reference.needed:
            absent = missing(reference)
            _refuse(name, reference.line, absent.message, absent.hint)
        for path in found:
            if reference.image:
                self._add_picture(reference, path, name)
            elif path not in self._met:
                self._met.add(path)  # templates may include one another
                shown = self._sources.names.get(FILE + path, path)
                self._compiled[path] = self._compile(shown, self._sources.files[path], called=True)

    def _stored(self, name: str, reference: Reference) -> Iterator[str]:
        stored = self._sources.images if reference.image else self._sources.files
        yield from [path for path in candidates(name, self._folder) if path in stored][:1]

    def _add_picture(self, reference: Reference, path: str, name: str) -> None:
        try:
            picture = InlineImage.of(path, self._sources.images[path])
        except NotAnImageError as error:
            shown = self._sources.names.get(PICTURE + path, path)
            _refuse(name, reference.line, f"{shown} {error}", "use another picture", error)
        self._pictures[reference.names[0]] = picture

    def _linking(self) -> Sandbox:
        """Return the environment of templates that refer to others: it finds them here."""
        if self._linked is None:
            self._linked = self._environment.overlay(loader=self)
            self._linked.globals = dict(self._environment.globals)
            if self._images:
                self._linked.globals[IMAGE] = self.image
        return self._linked

    def image(self, name: str) -> str:
        """Send a PNG, JPEG or GIF along, within the HTML alone, and write its address."""
        purse().images[name] = None
        return f"cid:{self._pictures[name].content_id}"


def _line(source: str, number: int) -> str:
    lines = source.splitlines()
    return lines[number - 1].strip()[:120] if number <= len(lines) else ""


def _refuse(
    name: str, line: int, fault: str, hint: str, cause: Exception | None = None
) -> NoReturn:
    raise ComposeError("MR301", f"{name}, line {line}: {fault}", hint) from cause
