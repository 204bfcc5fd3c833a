"""Write `docs/api.md`, the reference of all public names, from their docstrings.

    python docs/make_api.py            # rewrite docs/api.md
    python docs/make_api.py --check    # exit with 1 if it differs from the docstrings

Public are the names in `__all__` of `lfdn_video`, `lfdn` and `lfdn.degrade`. Signatures and the
docstrings of fields are read from the source, since they do not exist at run time. Sections of
Google style (Args, Returns, Yields, Raises, Attributes) become lists.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PACKAGES = ("lfdn_video", "lfdn", "lfdn.degrade")
PAGE = Path(__file__).with_name("api.md")
LIST_SECTIONS = ("Args", "Attributes", "Raises")
SECTIONS = (*LIST_SECTIONS, "Returns", "Yields", "Example", "Examples", "Note", "Notes")
SIGNATURE_CHARS = 80  # a longer signature has one argument per line

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def main() -> None:
    page = render_page()
    if "--check" in sys.argv[1:]:
        sys.exit(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page)
    PAGE.write_text(page, encoding="utf-8")


def render_page() -> str:
    """Return the whole page as Markdown."""
    blocks = [
        "# API reference",
        "Written by `python docs/make_api.py` from the docstrings; edit those instead.",
    ]
    blocks += [_contents(package) for package in PACKAGES]
    for package in PACKAGES:
        blocks.append(f"## {package}")
        blocks.append(render_docstring(import_module(package).__doc__ or ""))
        for names in group_names(package).values():
            for name in names:
                blocks.append(f"### {package}.{name}")
                blocks += render_object(getattr(import_module(package), name))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _contents(package: str) -> str:
    """A list item for the package, with the names of each kind below it."""
    lines = [f"- [{package}](#{_anchor(package)})"]
    for group, names in group_names(package).items():
        links = (f"[{name}](#{_anchor(f'{package}.{name}')})" for name in names)
        lines.append(f"  - {group}: {', '.join(links)}")
    return "\n".join(lines)


def _anchor(heading: str) -> str:
    return heading.lower().replace(".", "")


def group_names(package: str) -> dict[str, list[str]]:
    """Return the names in `__all__` of a package, by kind; kinds without names are left out."""
    groups: dict[str, list[str]] = {"functions": [], "classes": [], "errors": []}
    for name in import_module(package).__all__:
        value = getattr(import_module(package), name)
        if not inspect.isclass(value):
            groups["functions"].append(name)
        else:
            groups["errors" if issubclass(value, Exception) else "classes"].append(name)
    return {group: names for group, names in groups.items() if names}


def render_object(value: Any) -> Iterator[str]:
    """Yield the blocks that describe one class or function."""
    value = inspect.unwrap(value)
    if not inspect.isclass(value):
        yield render_signature(definition_of(value))
        yield render_docstring(value.__doc__ or "")
        return
    definition = definition_of(value)
    text, documented = value.__doc__ or "", dict[str, str]()
    if issubclass(value, BaseException):
        yield f"Exception, a subclass of `{value.__bases__[0].__name__}`."
    elif init := _own_init(definition):
        yield render_signature(init, name=value.__name__)
    else:
        text, documented = _split_fields(text)
    yield render_docstring(text)
    yield _titled_list("Fields", _fields(value, documented))
    yield _titled_list("Properties", _properties(value))
    for member in _members(value):
        if not _is_property(member):
            yield f"#### {value.__name__}.{member.name}"
            yield render_signature(member)
            yield render_docstring(ast.get_docstring(member) or "")


def definition_of(value: Any) -> Definition:
    """Parse the source of a class or function."""
    node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    assert isinstance(node, Definition)
    return node


def render_signature(node: Definition, *, name: str | None = None) -> str:
    """Return a function's signature as a code block, as its source has it."""
    assert not isinstance(node, ast.ClassDef)
    words = [word for word in _arguments(node.args) if word not in ("self", "cls")]
    if words[:1] == ["/"]:
        del words[0]
    result = f" -> {_annotation(node.returns)}" if node.returns and name is None else ""
    line = f"{name or node.name}({', '.join(words)}){result}"
    if len(line) > SIGNATURE_CHARS:
        inside = "".join(f"    {word},\n" for word in words)
        line = f"{name or node.name}(\n{inside}){result}"
    return f"```python\n{line}\n```"


def _arguments(arguments: ast.arguments) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    padding: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    for index, (each, default) in enumerate(
        zip(positional, [*padding, *arguments.defaults], strict=True), 1
    ):
        yield _argument(each, default)
        if index == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg:
        yield f"*{_argument(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _argument(each, default)
    if arguments.kwarg:
        yield f"**{_argument(arguments.kwarg, None)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    if argument.annotation is None:
        return argument.arg
    text = f"{argument.arg}: {_annotation(argument.annotation)}"
    return text if default is None else f"{text} = {ast.unparse(default)}"


def _annotation(node: ast.expr) -> str:
    """The annotation without the quotes of forward references."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node)


def _own_init(node: Definition) -> ast.FunctionDef | None:
    found = (each for each in node.body if isinstance(each, ast.FunctionDef))
    return next((each for each in found if each.name == "__init__"), None)


def _ancestors(value: type) -> list[type]:
    """The class and its bases in the same package, base first."""
    package = value.__module__.partition(".")[0]
    ours = [each for each in value.__mro__ if each.__module__.partition(".")[0] == package]
    return [each for each in reversed(ours) if each is value or not issubclass(each, Exception)]


def _titled_list(title: str, items: Iterable[str]) -> str:
    lines = "\n".join(items)
    return f"**{title}**\n\n{lines}" if lines else ""


def _split_fields(text: str) -> tuple[str, dict[str, str]]:
    """Take the fields that a class's docstring describes out of it; return both."""
    sections = r"^(?:Args|Attributes):\n(.*?)(?=^\S|\Z)"
    text, fields = inspect.cleandoc(text), dict[str, str]()
    for section in re.findall(sections, text, re.DOTALL | re.MULTILINE):
        for entry in re.split(r"\n(?=\S)", textwrap.dedent(section).strip("\n")):
            name, _, fields[name] = entry.partition(":")
    return re.sub(sections, "", text, flags=re.DOTALL | re.MULTILINE), fields


def _fields(value: type, documented: dict[str, str]) -> Iterator[str]:
    """One list item for each public field, with its description.

    That is the string below the field, or its entry in the class's docstring. What is left of the
    latter comes last.
    """
    for each in _ancestors(value):
        body = definition_of(each).body
        for node, following in zip(body, [*body[1:], None], strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if node.target.id.startswith("_") or "ClassVar" in ast.unparse(node.annotation):
                continue
            text = f"- `{node.target.id}: {_annotation(node.annotation)}{_default(node.value)}`"
            note = documented.pop(node.target.id, "")
            note = _join_lines(_string(following) or note)
            yield f"{text}: {note}" if note else text
    for name, note in documented.items():
        yield f"- `{name}`: {_join_lines(note)}"


def _default(node: ast.expr | None) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "field":
        factory = next((k.value for k in node.keywords if k.arg == "default_factory"), None)
        return f" = {ast.unparse(factory)}()" if factory is not None else ""
    return f" = {ast.unparse(node)}"


def _string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return inspect.cleandoc(str(node.value.value))
    return ""


def _members(value: type) -> Iterator[ast.FunctionDef]:
    """Public methods and properties, those of bases first, each once."""
    members = {}
    for each in _ancestors(value):
        for node in definition_of(each).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                members[node.name] = node
    yield from members.values()


def _is_property(node: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(each) for each in node.decorator_list)


def _properties(value: type) -> Iterator[str]:
    for node in filter(_is_property, _members(value)):
        kind = f": {_annotation(node.returns)}" if node.returns else ""
        note = _join_lines(ast.get_docstring(node) or "")
        yield f"- `{node.name}{kind}`" + (f": {note}" if note else "")


def render_docstring(text: str) -> str:
    """Return a docstring of Google style as Markdown."""
    title, lines, blocks = "", list[str](), list[str]()
    for line in [*inspect.cleandoc(text).splitlines(), "End:"]:
        heading = re.fullmatch(r"(\w+):", line)
        if heading and heading[1] in (*SECTIONS, "End"):
            blocks.append(_render_section(title, textwrap.dedent("\n".join(lines)).strip("\n")))
            title, lines = heading[1], []
        else:
            lines.append(line)
    return "\n\n".join(block for block in blocks if block)


def _render_section(title: str, text: str) -> str:
    if not title:
        return text
    if title in LIST_SECTIONS:
        text = "\n".join(_list_items(text))
    return f"**{title}**\n\n{text}"


def _list_items(text: str) -> Iterator[str]:
    """Yield `name: text` entries, whose continuation lines are indented, as list items."""
    for entry in re.split(r"\n(?=\S)", text):
        name, colon, note = entry.partition(":")
        yield f"- `{name}`: {_join_lines(note)}" if colon else f"- {_join_lines(entry)}"


def _join_lines(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
