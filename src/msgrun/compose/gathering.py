"""All that a definition's templates can reach, read from disk for a run to keep."""

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgrun.compose.languages import tag, variants
from msgrun.config import Config, DefinitionConfig, load_templates
from msgrun.errors import ConfigError

_HINTS: Final = ("extends", "include", "import", "image")
"""Words that stand in every template that refers to a file: others need not be parsed."""

_MOST: Final = 5_000_000  # bytes of a file: far more than any template or picture has
_PARTS: Final = ("subject", "text", "html")


def gather_templates(config: Config, name: str) -> dict[str, tuple[str, str]]:
    """Read a definition's templates and all that they refer to: by part, where and what it is.

    The parts are "subject", "text", "html", those in other languages ("text.nl"), the styles
    ("css"), files that templates name ("file:templates/layout.html") and pictures
    ("image:templates/logo.png", in base64); paths are relative to the folder of `msgrun.toml`.
    What is named and is not there is left out: compiling tells of it, with its line.

    Raises:
        NotFoundError: there is no such definition, or it is disabled.
        ConfigError: a file cannot be read, or is not UTF-8 text; all such files are listed.
    """
    definition = config.definition(name)
    found = load_templates(config, name)
    gathering = _Gathering(config, name, found)
    gathering.add_variants(definition)
    if definition.css is not None:
        gathering.add_text("css", config.resolve(definition.css), "css file")
    gathering.follow(definition)
    if gathering.faults:
        raise ConfigError(
            "\n".join(gathering.faults), f"correct the path under [definitions.{name}], or the file"
        )
    return found


class _Gathering:
    def __init__(self, config: Config, name: str, found: dict[str, tuple[str, str]]) -> None:
        self._config = config
        self._name = name
        self._found = found
        self.faults: list[str] = []

    def add_text(self, part: str, path: Path, what: str) -> None:
        try:
            # utf-8-sig: a mark that some editors write first must not get into a message.
            source = _content(path).decode("utf-8-sig").replace("\r\n", "\n")
        except (OSError, ValueError) as error:
            why = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
            self.faults.append(f"{path}: the {what} of definition {self._name!r}: {why}")
            return
        self._found[part] = (str(path), source.rstrip("\n") if _is_subject(part) else source)

    def add_variants(self, definition: DefinitionConfig) -> None:
        """Add the templates for other languages: files beside the usual ones, and subjects."""
        for part, file in definition.template_files.items():
            for language, path in variants(self._config.resolve(file)).items():
                self.add_text(f"{part}.{language}", path, f"{part} template for {language!r}")
        for language, subject in definition.subjects.items():
            place = f"definitions.{self._name}.subjects.{language}"
            self._found[f"subject.{tag(language)}"] = (place, subject)

    def follow(self, definition: DefinitionConfig) -> None:
        """Add what the templates refer to, and what those refer to in turn."""
        from msgrun.compose.templates import folders_of

        folders = folders_of(definition.model_dump(mode="json"))
        for part in _PARTS:
            waiting = [
                source for key, (_, source) in self._found.items() if key.partition(".")[0] == part
            ]
            seen: set[str] = set()
            while waiting:
                for key in self._reached(waiting.pop(), part, folders):
                    if key not in seen:
                        seen.add(key)
                        if key.startswith("file:"):
                            waiting.append(self._found[key][1])

    def _reached(self, source: str, part: str, folders: Mapping[str, str]) -> Iterator[str]:
        """Add the files that one template refers to; yield their keys."""
        if not any(word in source for word in _HINTS):
            return
        from jinja2 import Environment, TemplateSyntaxError

        from msgrun.compose.references import Reference, candidates, references_of

        try:
            tree = Environment().parse(source)  # noqa: S701 - it renders nothing
        except (TemplateSyntaxError, RecursionError, ValueError):
            return  # compiling tells of it
        for reference in references_of(tree, images=part == "html"):
            if not isinstance(reference, Reference):
                continue
            for name in reference.names:
                for path in candidates(name, folders[part]):
                    key = f"{'image' if reference.image else 'file'}:{path}"
                    if key in self._found or self._add(key, path, folders[part]):
                        yield key
                        break

    def _add(self, key: str, path: str, folder: str) -> bool:
        """Add a file if it is there, below the folder of `msgrun.toml` or the given one."""
        file = self._config.resolve(path)
        real = os.path.realpath(file)
        bases = (self._config.root, self._config.resolve(folder))
        inside = any(
            real.startswith(os.path.realpath(base).rstrip(os.sep) + os.sep) for base in bases
        )
        if not inside or not os.path.isfile(real):  # noqa: PTH113 - the path is resolved already
            return False
        if key.startswith("file:"):
            self.add_text(key, file, "included file")
        else:
            try:
                content = base64.b64encode(_content(file)).decode("ascii")
                self._found[key] = (str(file), content)
            except (OSError, ValueError) as error:
                self.faults.append(f"{file}: a picture of definition {self._name!r}: {error}")
        return key in self._found


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise ValueError(f"it has more than {_MOST:,} bytes")
    return content


def _is_subject(part: str) -> bool:
    return part.partition(".")[0] == "subject"
