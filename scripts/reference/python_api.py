"""The Python reference, from the docstrings."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Final

from scripts.reference.markdown import docstring_text

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULES: Final = (
    ("tokenledger", "In your app"),
    ("tokenledger.middleware", "Web middleware"),
    ("tokenledger_exporter.queries", "Queries"),
    ("tokenledger_exporter", "Span exporter"),
)
_FUNCTIONS: Final = (
    ("tokenledger_exporter.maintenance.purge", ("purge", "apurge")),
    ("tokenledger_exporter.maintenance.erase", ("erase",)),
)
_WIDTH: Final = 100
_PREFIXES: Final = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}


def python_api() -> str:
    """Every public name of the public modules."""
    return "\n".join(_pages())


def _pages() -> Iterator[str]:
    for module_name, title in _MODULES:
        module = importlib.import_module(module_name)
        yield f"## {title}: `{module_name}`\n"
        yield docstring_text(module)
        for name in module.__all__:
            yield from _entry(name, getattr(module, name), module_name)
    yield "## Maintenance\n"
    for module_name, names in _FUNCTIONS:
        module = importlib.import_module(module_name)
        for name in names:
            yield from _entry(name, getattr(module, name), module_name)


def _entry(name: str, value: Any, module_name: str) -> Iterator[str]:  # noqa: ANN401 - any object
    yield f"### `{name}` {{ #{module_name.replace('.', '-')}-{name} }}\n"
    yield _signature(name, value)
    yield docstring_text(value)
    if inspect.isclass(value) and not issubclass(value, BaseException):
        anchor = f"{module_name.replace('.', '-')}-{name}"
        for member_name, member in _members(value):
            yield f"#### `{member_name}` {{ #{anchor}-{member_name} }}\n"
            if not isinstance(member, property):
                yield _signature(member_name, member)
            yield docstring_text(member)


def _members(value: type) -> Iterator[tuple[str, Any]]:
    for owner in reversed(value.__mro__[:-1]):
        for name, member in vars(owner).items():
            public = not name.startswith("_") and getattr(value, name, None) is not None
            documented = inspect.isfunction(member) or isinstance(member, property)
            if public and documented and member.__doc__:
                yield name, member


def _signature(name: str, value: Any) -> str:  # noqa: ANN401 - any object
    try:
        signature = inspect.signature(value)
    except ValueError:
        return ""
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    parts = list(_parameters(parameters))
    returned = signature.return_annotation
    arrow = "" if returned is inspect.Signature.empty else f" -> {_annotation(returned)}"
    text = f"{name}({', '.join(parts)}){arrow}"
    if len(text) > _WIDTH:
        lines = "".join(f"    {part},\n" for part in parts)
        text = f"{name}(\n{lines}){arrow}"
    return f"```python\n{text}\n```\n"


def _parameters(parameters: list[inspect.Parameter]) -> Iterator[str]:
    star = False
    for each in parameters:
        star = star or each.kind is inspect.Parameter.VAR_POSITIONAL
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            star = True
            yield "*"
        prefix = _PREFIXES.get(each.kind.name, "")
        text = prefix + each.name
        annotated = each.annotation is not inspect.Parameter.empty
        if annotated:
            text += f": {_annotation(each.annotation)}"
        if each.default is not inspect.Parameter.empty:
            text += f" = {each.default!r}" if annotated else f"={each.default!r}"
        yield text


def _annotation(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.replace("'", "")
