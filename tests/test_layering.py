"""Who may import whom. Imports point down, and each foreign library has its place.

The tables are the rule; a new module needs its place in `LAYERS`. The source is read with `ast`, so
an import inside a function or under `TYPE_CHECKING` counts too.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = (
    {"lfdn.degrade.draw"},
    {"lfdn.degrade.blur", "lfdn.degrade.rain"},
    {"lfdn.degrade.frames"},
    {
        "lfdn.model",
        "lfdn.degrade",
        "lfdn.training.losses",
        "lfdn.metrics",
        "lfdn.training.optim",
        "lfdn.winograd",
    },
    {"lfdn.weights", "lfdn.datasets.data", "lfdn.cpu"},
    {"lfdn"},  # the public names, gathered
    {"lfdn.datasets.pack", "lfdn.datasets.pairs", "lfdn.int8"},
    {"lfdn.datasets.layouts", "lfdn.calibrate"},
    {
        "lfdn.training.recipe",
        "lfdn.training.validation",
        "lfdn.training.distributed",
        "lfdn.evaluate",
    },
    {"lfdn.training.checkpoint"},
    {"lfdn.training.train"},
    {"lfdn.commands"},
    {"lfdn.commands.inputs"},
    {
        "lfdn.commands.degrade",
        "lfdn.commands.evaluate",
        "lfdn.commands.export",
        "lfdn.commands.pack",
        "lfdn.commands.quantize",
        "lfdn.commands.train",
    },
    {"lfdn.cli"},
    {"lfdn.__main__"},
    {"lfdn_video.checks", "lfdn_video.errors", "lfdn_video.stream"},
    {
        "lfdn_video.stream.addresses",
        "lfdn_video.background",
        "lfdn_video.stream.watch.guard",
        "lfdn_video.media",
        "lfdn_video.options",
        "lfdn_video.trace",
    },
    {
        "lfdn_video.stream.adaptation",
        "lfdn_video.stream.board",
        "lfdn_video.stream.capture.cameras",
        "lfdn_video.stream.wire",
    },
    {"lfdn_video.stream.child"},
    {
        "lfdn_video.planes",
        "lfdn_video.inference.colour",
        "lfdn_video.inference.tiles",
        "lfdn_video.inference.engine",
    },
    {
        "lfdn_video.output.packets",
        "lfdn_video.stream.watch.health",
        "lfdn_video.stream.watch.stills",
    },
    {
        "lfdn_video.input.probe",
        "lfdn_video.output.target",
        "lfdn_video.image_tags",
        "lfdn_video.inference.scheduler",
    },
    {"lfdn_video.stream.watch.feed", "lfdn_video.stream.watch.preview"},
    {
        "lfdn_video.output.encoder",
        "lfdn_video.stream.capture.grabber",
        "lfdn_video.output.journal",
        "lfdn_video.stream.watch.metrics",
        "lfdn_video.stream.scaling",
    },
    {
        "lfdn_video.stream.capture.capture",
        "lfdn_video.stream.sinks.outlet",
        "lfdn_video.stream.watch.web_app",
    },
    {
        "lfdn_video.stream.sinks.pipe",
        "lfdn_video.stream.sinks.pusher",
        "lfdn_video.stream.sinks.recording",
        "lfdn_video.stream.session",
    },
    {"lfdn_video.stream.sinks.push", "lfdn_video.stream.watch.web"},
    {
        "lfdn_video.output.images",
        "lfdn_video.output.passthrough",
        "lfdn_video.inference.degradation",
        "lfdn_video.input.deinterlace",
    },
    {"lfdn_video.output.muxer", "lfdn_video.output.segments"},
    {"lfdn_video.input.reader", "lfdn_video.output.writer"},
    {"lfdn_video.pipeline"},
    {"lfdn_video"},  # the public names, gathered
    {"lfdn_video.cli.doctor", "lfdn_video.cli.console", "lfdn_video.verify"},
    {"lfdn_video.cli.tables"},
    {"lfdn_video.cli.options"},
    {"lfdn_video.cli.live"},
    {"lfdn_video.cli.commands"},
    {"lfdn_video.__main__"},
)
"""From the ground up. A module imports from the layers below its own, and from no others."""

LEVELS = {module: level for level, modules in enumerate(LAYERS) for module in modules}

LFDN_COMMANDS = {module for module in LEVELS if module.startswith("lfdn.commands.")}

FOREIGN = {
    "aiohttp": {"lfdn_video.stream.watch.web_app"},
    "asyncio": {
        "lfdn_video.stream.watch.feed",
        "lfdn_video.stream.watch.web",
        "lfdn_video.stream.watch.web_app",
    },
    "av": {
        "lfdn_video.stream.capture.cameras",
        "lfdn_video.input.deinterlace",
        "lfdn_video.cli.doctor",
        "lfdn_video.output.encoder",
        "lfdn_video.stream.capture.grabber",
        "lfdn_video.output.images",
        "lfdn_video.output.muxer",
        "lfdn_video.stream.sinks.outlet",
        "lfdn_video.output.packets",
        "lfdn_video.output.passthrough",
        "lfdn_video.stream.sinks.pipe",
        "lfdn_video.planes",
        "lfdn_video.stream.sinks.pusher",
        "lfdn_video.input.reader",
        "lfdn_video.stream.sinks.recording",
        "lfdn_video.output.segments",
        "lfdn_video.input.probe",
        "lfdn_video.output.writer",
    },
    "click": {
        "lfdn.cli",
        *LFDN_COMMANDS,
        "lfdn_video.cli.commands",
        "lfdn_video.cli.options",
        "lfdn_video.cli.live",
    },
    "cv2": {
        "lfdn.datasets.data",
        "lfdn.degrade.blur",
        "lfdn.degrade.frames",
        "lfdn_video.output.encoder",
        "lfdn_video.stream.capture.cameras",
        "lfdn_video.stream.watch.preview",
        "lfdn_video.stream.watch.stills",
    },
    "nncf": {"lfdn.calibrate"},
    "openvino": {"lfdn.calibrate", "lfdn.int8"},
    "kornia": {"lfdn.degrade.draw"},
    "lfdn": {
        "lfdn_video.inference.degradation",
        "lfdn_video.cli.doctor",
        "lfdn_video.inference.engine",
    },
    "PIL": {"lfdn.datasets.data", "lfdn.datasets.pack"},
    "prometheus_client": {"lfdn_video.stream.watch.metrics"},
    "queue": {"lfdn_video.background"},
    "rich": {*LFDN_COMMANDS, "lfdn_video.cli.console", "lfdn_video.cli.tables"},
    "safetensors": {"lfdn.weights"},
    "threading": {
        "lfdn.winograd",
        "lfdn_video.background",
        "lfdn_video.stream.board",
        "lfdn_video.stream.capture.capture",
        "lfdn_video.stream.child",
        "lfdn_video.stream.sinks.push",
        "lfdn_video.stream.sinks.recording",
        "lfdn_video.stream.watch.web",
    },
    "torch.cuda": {"lfdn_video.inference.engine"},
}
"""What only these modules may import; `lfdn` is about imports from the other package."""

TALKERS = {
    *LFDN_COMMANDS,
    "lfdn_video.cli.commands",
    "lfdn_video.cli.console",
    "lfdn_video.cli.tables",
}
"""Modules that may print; the command lines alone may exit."""


def modules() -> list[str]:
    files = [*ROOT.glob("lfdn/**/*.py"), *ROOT.glob("lfdn_video/**/*.py")]
    return sorted(_name(file) for file in files)


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _tree(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    package = path / "__init__.py"
    file = package if package.exists() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imports(module: str) -> Iterator[str]:
    """Every module that `module` imports, and every `module.name` it takes out of one."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            assert node.module is not None
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                yield dotted
                if dotted not in LEVELS:
                    yield node.module


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name in LEVELS}


def calls(module: str) -> Iterator[str]:
    """The dotted names that `module` calls or raises."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        elif isinstance(node, ast.Raise) and node.exc is not None:
            yield ast.unparse(node.exc)


def test_every_module_has_a_level() -> None:
    assert [module for module in modules() if module not in LEVELS] == []


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    upward = {name for name in ours(module) if LEVELS[name] >= LEVELS[module]}
    assert upward == set()


@pytest.mark.parametrize("module", modules())
def test_foreign_libraries_stay_in_their_place(module: str) -> None:
    astray = {
        library
        for library, homes in FOREIGN.items()
        if module not in homes and module.split(".")[0] != library
        for name in imports(module)
        if name == library or name.startswith(f"{library}.")
    }
    assert astray == set()


def test_torch_cuda_is_used_in_the_engine_alone() -> None:
    """It need not be imported to be used."""
    users = {
        module
        for module in modules()
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.cuda"
    }
    assert users == FOREIGN["torch.cuda"]


def test_the_network_knows_nothing_of_video() -> None:
    network = [module for module in modules() if module.split(".")[0] == "lfdn"]
    assert [
        m for m in network for name in imports(m) if name.split(".")[0] in ("av", "lfdn_video")
    ] == []


@pytest.mark.parametrize("module", [module for module in modules() if module not in TALKERS])
def test_only_the_command_lines_print(module: str) -> None:
    assert {"print", "click.echo"} & set(calls(module)) == set()


@pytest.mark.parametrize("module", [module for module in modules() if module not in TALKERS])
def test_only_the_command_lines_exit(module: str) -> None:
    leaving = ("exit", "quit", "sys.exit", "os._exit", "SystemExit")
    assert [call for call in calls(module) if call.startswith(leaving)] == []
