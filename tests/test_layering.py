"""Which room may import which, and which library belongs where.

A room is a package, or single modules of it, named by its prefix; a module belongs to the room with
the longest matching prefix. It may import from its own room and from what its rule allows. The
source is read with `ast`, so an import inside a function or under `TYPE_CHECKING` counts.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent


class Rule(NamedTuple):
    """What the modules of some rooms may import. Rooms of one rule do not import each other."""

    rooms: tuple[str, ...]
    may_import: tuple[str, ...] = ()
    """Rooms, or single modules of other rooms."""


STREAM_PARTS = ("lfdn_video.stream.capture", "lfdn_video.stream.sinks", "lfdn_video.stream.watch")
FOR_STREAM = (
    "lfdn_video.input.probe",
    "lfdn_video.output.audio",
    "lfdn_video.output.encoder",
    "lfdn_video.output.refusals",
    "lfdn_video.output.target",
)
FILE_PARTS = ("lfdn_video.input", "lfdn_video.output")
GATE = "lfdn_video.gate"
PARTS = ("lfdn_video", "lfdn_video.inference", "lfdn_video.temporal", GATE, *FILE_PARTS)
COMPOSITION = ("lfdn_video.pipeline", "lfdn_video.verify")
TRAINING = ("lfdn.training",)
COMMANDS = ("lfdn.commands", "lfdn.cli", "lfdn.__main__")
BATCH = ("lfdn_video.batch",)
REVIEW = ("lfdn_video.review",)
ENTRIES = ("lfdn_video.cli", "lfdn_video.__init__", "lfdn_video.__main__")
STREAM = ("lfdn_video.stream", *STREAM_PARTS)
EVERYTHING = (*PARTS, *COMPOSITION, *BATCH, *REVIEW, *STREAM, "lfdn_video.cli", "lfdn")

RULES = (
    Rule(("lfdn",)),  # the network: tensors, weights, degradations
    Rule(("lfdn.datasets",), ("lfdn",)),
    Rule(TRAINING, ("lfdn", "lfdn.datasets")),
    Rule(COMMANDS, ("lfdn", "lfdn.datasets", *TRAINING, *COMMANDS)),
    Rule(("lfdn_video",), ("lfdn.files",)),  # values and helpers that every room shares
    Rule((*FILE_PARTS, GATE), ("lfdn_video",)),
    Rule(("lfdn_video.inference", "lfdn_video.temporal"), ("lfdn_video", "lfdn")),
    Rule(COMPOSITION, PARTS),
    Rule(BATCH, (*PARTS, *COMPOSITION)),
    Rule(REVIEW, (*PARTS, "lfdn_video.pipeline", "lfdn")),  # reads what a run wrote
    Rule(STREAM_PARTS, ("lfdn_video", "lfdn_video.inference", "lfdn_video.stream", *FOR_STREAM)),
    Rule(
        ("lfdn_video.stream",),
        ("lfdn_video", "lfdn_video.inference", "lfdn_video.temporal", *STREAM_PARTS),
    ),
    Rule(ENTRIES, EVERYTHING),
)

RULE_OF = {room: rule for rule in RULES for room in rule.rooms}

FOREIGN = {
    "aiohttp": {"lfdn_video.stream.watch"},
    "asyncio": {"lfdn_video.stream.watch"},
    "av": {
        "lfdn_video.cli.doctor",
        "lfdn_video.ffmpeg",
        "lfdn_video.input",
        "lfdn_video.output",
        "lfdn_video.planes",
        "lfdn_video.review",
        "lfdn_video.stream.capture",
        "lfdn_video.stream.sinks",
        "lfdn_video.verify",
        "lfdn_video.verify_streams",
    },
    "click": {"lfdn.cli", "lfdn.commands", "lfdn_video.cli"},
    "cv2": {
        "lfdn.datasets",
        "lfdn.degrade",
        "lfdn_video.output.encoder_options",
        "lfdn_video.stream.capture.cameras",
        "lfdn_video.stream.watch",
        "lfdn_video.temporal",
    },
    "kornia": {"lfdn.degrade.draw"},
    "jinja2": {"lfdn_video.review.report"},
    "lfdn": {
        "lfdn_video.cli.doctor",
        "lfdn_video.files",
        "lfdn_video.inference",
        "lfdn_video.review",
        "lfdn_video.temporal.layers",
    },
    "matplotlib": {"lfdn.training.plots", "lfdn_video.review"},
    "nncf": {"lfdn.calibrate"},
    "openvino": {"lfdn.calibrate", "lfdn.openvino_form"},
    "PIL": {"lfdn.datasets", "lfdn_video.review"},
    "prometheus_client": {"lfdn_video.stream.watch.metrics"},
    "queue": {"lfdn_video.background", "lfdn_video.batch"},
    "ray": {"lfdn_video.batch.cluster"},
    "rich": {"lfdn.commands", "lfdn_video.cli"},
    "safetensors": {"lfdn.weights"},
    "threading": {
        "lfdn.winograd",
        "lfdn_video.background",
        "lfdn_video.batch",
        "lfdn_video.child",
        "lfdn_video.stream",
        "lfdn_video.temporal.tasks",
    },
    "torch.cuda": {"lfdn.training.graph", "lfdn_video.inference"},
    "watchfiles": {"lfdn_video.batch.watch"},
}
"""Prefixes of the modules that alone may import a library; `lfdn`: from the other package."""

TALKERS = ("lfdn.cli", "lfdn.commands", "lfdn_video.cli")
"""Rooms and modules that may print and exit."""


@cache
def sources() -> Mapping[str, str]:
    """Every module of both packages: dotted name to source; a package's own is `.__init__`."""
    files = [*ROOT.glob("lfdn/**/*.py"), *ROOT.glob("lfdn_video/**/*.py")]
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file.read_text(encoding="utf-8")
        for file in sorted(files)
    }


def is_in(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def room_of(module: str) -> str:
    return max((room for room in RULE_OF if is_in(module, room)), key=len)


def imports(source: str) -> Iterator[str]:
    """Yield every module that a source imports, and every `module.name` it takes out of one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(source: str) -> set[str]:
    """The modules of both packages among the imports of a source, each by its file."""
    found = set()
    for name in imports(source):
        if name in sources():
            found.add(name)
        elif f"{name}.__init__" in sources():
            found.add(f"{name}.__init__")
    return {name for name in found if not only_on_the_way(name, found)}


def only_on_the_way(name: str, found: set[str]) -> bool:
    """True for the package in `from package import module`."""
    package = name.removesuffix(".__init__")
    return package != name and any(is_in(other, package) for other in found - {name})


def violations(module: str, source: str) -> set[str]:
    """The modules that `module`, with this source, imports against its room's rule."""
    room = room_of(module)
    allowed = {room, *RULE_OF[room].may_import}
    return {
        name
        for name in imported_modules(source)
        if room_of(name) not in allowed and name not in allowed
    }


def calls(source: str) -> Iterator[str]:
    """Yield the dotted names that a source calls or raises."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        elif isinstance(node, ast.Raise) and node.exc is not None:
            yield ast.unparse(node.exc)


def silent_modules() -> list[str]:
    return [m for m in sources() if not any(is_in(m, talker) for talker in TALKERS)]


def test_there_are_few_rules() -> None:
    assert len(RULES) <= 13


def test_every_room_of_a_rule_exists() -> None:
    assert [room for room in RULE_OF if not any(is_in(m, room) for m in sources())] == []


@pytest.mark.parametrize("module", sources())
def test_module_imports_only_what_its_room_may(module: str) -> None:
    assert violations(module, sources()[module]) == set()


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("lfdn.model", "lfdn_video.media"),
        ("lfdn.model", "lfdn.datasets.layouts"),
        ("lfdn.degrade.rain", "lfdn.training.train"),
        ("lfdn.datasets.layouts", "lfdn.training.recipe"),
        ("lfdn.training.train", "lfdn.commands.train"),
        ("lfdn_video.media", "lfdn_video.input.reader"),
        ("lfdn_video.ffmpeg", "lfdn_video.pipeline"),
        ("lfdn_video.input.reader", "lfdn_video.stream.session"),
        ("lfdn_video.input.reader", "lfdn_video.output.writer"),
        ("lfdn_video.input.reader", "lfdn_video.inference.engine"),
        ("lfdn_video.input.reader", "lfdn.model"),
        ("lfdn_video.output.writer", "lfdn_video.input.probe"),
        ("lfdn_video.output.writer", "lfdn_video.inference.colour"),
        ("lfdn_video.output.writer", "lfdn_video.stream.session"),
        ("lfdn_video.temporal.stage", "lfdn_video.inference.colour"),
        ("lfdn_video.gate.survey", "lfdn_video.inference.engine"),
        ("lfdn_video.output.gated", "lfdn_video.gate.survey"),
        ("lfdn_video.temporal.rule", "lfdn_video.output.writer"),
        ("lfdn_video.inference.engine", "lfdn_video.temporal.stage"),
        ("lfdn_video.inference.engine", "lfdn_video.output.writer"),
        ("lfdn_video.inference.engine", "lfdn_video.input.reader"),
        ("lfdn_video.inference.engine", "lfdn_video.stream.session"),
        ("lfdn_video.pipeline", "lfdn_video.stream.session"),
        ("lfdn_video.pipeline", "lfdn_video.cli.commands"),
        ("lfdn_video.pipeline", "lfdn_video.review.compare"),
        ("lfdn_video.review.report", "lfdn_video.stream.session"),
        ("lfdn_video.pipeline", "lfdn_video.batch.run"),
        ("lfdn_video.batch.run", "lfdn_video.stream.session"),
        ("lfdn_video.batch.run", "lfdn_video.cli.commands"),
        ("lfdn_video.batch.run", "lfdn.weights"),
        ("lfdn_video.stream.session", "lfdn_video.batch.run"),
        ("lfdn_video.stream.session", "lfdn_video.input.reader"),
        ("lfdn_video.stream.session", "lfdn_video.output.writer"),
        ("lfdn_video.stream.session", "lfdn_video.pipeline"),
        ("lfdn_video.stream.session", "lfdn_video.cli.live"),
        ("lfdn_video.stream.capture.capture", "lfdn_video.stream.watch.health"),
        ("lfdn_video.stream.watch.web", "lfdn_video.stream.sinks.recording"),
        ("lfdn_video.stream.sinks.recording", "lfdn_video.output.writer"),
    ],
)
@pytest.mark.parametrize("form", ["import {0}", "from {1} import {2}", "def f():\n    import {0}"])
def test_planted_import_is_found(module: str, planted: str, form: str) -> None:
    package, _, name = planted.rpartition(".")
    line = form.format(planted, package, name)
    assert violations(module, f"{sources()[module]}\n{line}\n") == {planted}


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {module: imported_modules(source) for module, source in sources().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {error.args[1]}")


@pytest.mark.parametrize("module", sources())
def test_libraries_stay_in_their_place(module: str) -> None:
    astray = {
        library
        for library, homes in FOREIGN.items()
        if not any(is_in(module, home) for home in homes) and not is_in(module, library)
        for name in imports(sources()[module])
        if is_in(name, library)
    }
    assert astray == set()


def test_torch_cuda_is_used_in_its_place_alone() -> None:
    """It need not be imported to be used."""
    users = {
        module
        for module, source in sources().items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.cuda"
    }
    assert users
    assert {
        user for user in users if not any(is_in(user, home) for home in FOREIGN["torch.cuda"])
    } == set()


@pytest.mark.parametrize("module", silent_modules())
def test_only_command_lines_print(module: str) -> None:
    assert {"print", "click.echo"} & set(calls(sources()[module])) == set()


@pytest.mark.parametrize("module", silent_modules())
def test_only_command_lines_exit(module: str) -> None:
    leaving = ("exit", "quit", "sys.exit", "os._exit", "SystemExit")
    assert [call for call in calls(sources()[module]) if call.startswith(leaving)] == []


@pytest.mark.parametrize("module", sources())
def test_sizes_stay_readable(module: str) -> None:
    """At most 400 lines a file, 200 a class, 60 a function; complexity is ruff's C901."""
    source = sources()[module]
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            limit = 200 if isinstance(node, ast.ClassDef) else 60
            assert node.end_lineno - node.lineno + 1 <= limit, node.name
