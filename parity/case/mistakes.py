"""Mistakes in a case file: collected under their path, with what was probably meant."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import Tag, ValidationError

from parity.errors import Mistake
from parity.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]
TableT = TypeVar("TableT", bound=Table)

_TAG_ERRORS = frozenset({"union_tag_invalid", "union_tag_not_found"})
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class Mistakes:
    """A collector: the one mutable thing of loading a case."""

    found: list[Mistake] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        """Add a mistake, once."""
        mistake = Mistake(path, message)
        if mistake not in self.found:
            self.found.append(mistake)

    def has(self, path: str) -> bool:
        """Return whether a path has a mistake already, so that what follows from it need not be told."""
        return any(mistake.path == path for mistake in self.found)


def join_path(*parts: str | int) -> str:
    """Join keys and indices as TOML and Python would write them: ``variants.int8.keep[0]``."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else f'"{part}"'
            path += f".{key}" if path else key
    return path


def suggest(found: object, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` if something known is near to what was found, else nothing."""
    near = get_close_matches(str(found), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def expected_one_of(found: object, known: Sequence[str]) -> str:
    """Return the message for a value that is none of the known ones."""
    return f"expected one of {', '.join(known)}; got {found!r}{suggest(found, known)}"


def parse_table(table: type[TableT], data: Any, mistakes: Mistakes, prefix: Location = ()) -> TableT | None:
    """Validate data, collect its mistakes, and return what is right of it.

    What is wrong is taken out and the rest validated again, so that later checks still see all that can be checked.

    Parameters
    ----------
    prefix
        Where the data stands in the file.

    Returns
    -------
    The rest as a table; None if the data is no table at all.
    """
    broken: set[Location] = set()
    while () not in broken:
        try:
            parsed = table.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                if not (_says_missing(detail) and _location(detail) in broken):
                    mistakes.add(*_describe(table, detail, prefix))
                removed = _what_to_remove(detail)
                broken.add(removed)
                data = _without(data, removed)
        else:
            _tell_missing(parsed, (), broken, prefix, mistakes)
            return parsed
    return None


def _tell_missing(
    value: object, location: Location, broken: set[Location], prefix: Location, mistakes: Mistakes
) -> None:
    """Tell of required keys that a file lacks; those that were taken out are told of already."""
    children = _children(value)
    for name in value.required if isinstance(value, Table) else ():
        if children[name] is None and (*location, name) not in broken:
            mistakes.add(join_path(*prefix, *location, name), "is missing")
    for key, child in children.items():
        _tell_missing(child, (*location, key), broken, prefix, mistakes)


def _children(value: object) -> dict[str | int, Any]:
    if isinstance(value, Table | dict):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, list) else {}


def _says_missing(detail: ErrorDetails) -> bool:
    return detail["type"] in {"missing", "union_tag_not_found"}


def _location(detail: ErrorDetails) -> Location:
    """Return where an error stands in the data, without the tags of unions."""
    location = tuple(part for part in detail["loc"] if not str(part).startswith("@"))
    if detail["type"] in _TAG_ERRORS:
        # The functions that tell a union's branches apart have the name of the key that they read.
        return (*location, str(detail["ctx"]["discriminator"]).removesuffix("()").removeprefix("reference_"))
    return location


def _what_to_remove(detail: ErrorDetails) -> Location:
    """Return the location that must go for an error to go: a list as a whole, so that indices stay true."""
    location = _location(detail)
    if detail["type"] in {*_TAG_ERRORS, "missing"}:
        location = location[:-1]
    first_index = next((number for number, part in enumerate(location) if isinstance(part, int)), len(location))
    return location[:first_index]


def _without(data: Any, location: Location) -> Any:
    """Return a copy of nested tables without what stands at a location."""
    if not location or not isinstance(data, dict) or location[0] not in data:
        return data
    first, *rest = location
    if not rest:
        return {key: value for key, value in data.items() if key != first}
    return {key: _without(value, tuple(rest)) if key == first else value for key, value in data.items()}


def _describe(table: type[Table], detail: ErrorDetails, prefix: Location) -> tuple[str, str]:
    """Return path and message of one of pydantic's errors."""
    location = _location(detail)
    found, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            message = f"unknown key{suggest(location[-1], _known_keys(table, detail['loc'][:-1]))}"
        case "enum" | "literal_error":
            message = expected_one_of(found, _quoted(context["expected"]))
        case "union_tag_invalid":
            tags = [tag.removeprefix("@") for tag in _quoted(context["expected_tags"])]
            message = expected_one_of(str(context["tag"]).removeprefix("@"), tags)
        case "missing" | "union_tag_not_found":
            message = "is missing"
        case "string_too_short":
            message = f"expected text that is not empty; got {found!r}"
        case _:
            expected = detail["msg"].removeprefix("Input should be ").partition(" or instance of ")[0]
            expected = expected.replace("dictionary", "table")
            message = f"expected {expected[0].lower()}{expected[1:]}; got {_shown(found)}"
    return join_path(*prefix, *location), message


def _quoted(text: object) -> list[str]:
    return re.findall(r"'([^']*)'", str(text))


def _shown(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _known_keys(table: type[Table], location: Location) -> list[str]:
    """Return the keys of the table that stands at a location of the schema, tags included."""
    annotation: Any = table
    for part in location:
        annotation = _step_into(_bare(annotation), part)
    model = _bare(annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, Table) else []


def _step_into(annotation: Any, part: str | int) -> Any:
    """Return the annotation one part of a location further down."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation.model_fields[str(part)].annotation
    arguments = get_args(annotation)
    if isinstance(part, str) and part.startswith("@"):
        tagged = {tag.tag: branch for branch in arguments for tag in get_args(branch)[1:] if isinstance(tag, Tag)}
        return tagged[part]
    return arguments[-1]


def _bare(annotation: Any) -> Any:
    """Return an annotation without its metadata and without ``| None``."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    arguments = get_args(annotation)
    if type(None) in arguments:
        rest = [argument for argument in arguments if argument is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007 - built at run time
    return annotation
