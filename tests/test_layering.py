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
        "lfdn.losses",
        "lfdn.metrics",
        "lfdn.optim",
        "lfdn.rowconv",
    },
    {"lfdn.weights", "lfdn.data", "lfdn.inference"},
    {"lfdn"},  # the public names, gathered
    {"lfdn.pack", "lfdn.pairs", "lfdn.quantized"},
    {"lfdn.layouts", "lfdn.quantize"},
    {"lfdn.recipe", "lfdn.validation", "lfdn.distributed", "lfdn.evaluate"},
    {"lfdn.checkpoint"},
    {"lfdn.train"},
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
        "lfdn_video.stream.board",
        "lfdn_video.stream.guard",
        "lfdn_video.media",
        "lfdn_video.options",
        "lfdn_video.trace",
    },
    {"lfdn_video.stream.adaptation", "lfdn_video.stream.cameras", "lfdn_video.stream.wire"},
    {"lfdn_video.stream.child"},
    {"lfdn_video.planes", "lfdn_video.colour", "lfdn_video.tiles", "lfdn_video.engine"},
    {"lfdn_video.packets", "lfdn_video.stream.health", "lfdn_video.stream.stills"},
    {"lfdn_video.source", "lfdn_video.target", "lfdn_video.picture_tags", "lfdn_video.scheduler"},
    {"lfdn_video.stream.feed", "lfdn_video.stream.preview"},
    {
        "lfdn_video.encoder",
        "lfdn_video.stream.grabber",
        "lfdn_video.journal",
        "lfdn_video.stream.metrics",
        "lfdn_video.stream.scaling",
    },
    {"lfdn_video.stream.capture", "lfdn_video.stream.outlet", "lfdn_video.stream.web_app"},
    {
        "lfdn_video.stream.pipe",
        "lfdn_video.stream.pusher",
        "lfdn_video.stream.recording",
        "lfdn_video.stream.session",
    },
    {"lfdn_video.stream.push", "lfdn_video.stream.web"},
    {"lfdn_video.images", "lfdn_video.passthrough", "lfdn_video.degrade", "lfdn_video.deinterlace"},
    {"lfdn_video.muxer", "lfdn_video.segments"},
    {"lfdn_video.reader", "lfdn_video.writer"},
    {"lfdn_video.pipeline"},
    {"lfdn_video"},  # the public names, gathered
    {"lfdn_video.doctor", "lfdn_video.console", "lfdn_video.verify"},
    {"lfdn_video.tables"},
    {"lfdn_video.command"},
    {"lfdn_video.live_command"},
    {"lfdn_video.cli"},
    {"lfdn_video.__main__"},
)
"""From the ground up. A module imports from the layers below its own, and from no others."""

LEVELS = {module: level for level, modules in enumerate(LAYERS) for module in modules}

LFDN_COMMANDS = {module for module in LEVELS if module.startswith("lfdn.commands.")}

FOREIGN = {
    "aiohttp": {"lfdn_video.stream.web_app"},
    "asyncio": {"lfdn_video.stream.feed", "lfdn_video.stream.web", "lfdn_video.stream.web_app"},
    "av": {
        "lfdn_video.stream.cameras",
        "lfdn_video.deinterlace",
        "lfdn_video.doctor",
        "lfdn_video.encoder",
        "lfdn_video.stream.grabber",
        "lfdn_video.images",
        "lfdn_video.muxer",
        "lfdn_video.stream.outlet",
        "lfdn_video.packets",
        "lfdn_video.passthrough",
        "lfdn_video.stream.pipe",
        "lfdn_video.planes",
        "lfdn_video.stream.pusher",
        "lfdn_video.reader",
        "lfdn_video.stream.recording",
        "lfdn_video.segments",
        "lfdn_video.source",
        "lfdn_video.writer",
    },
    "click": {
        "lfdn.cli",
        *LFDN_COMMANDS,
        "lfdn_video.cli",
        "lfdn_video.command",
        "lfdn_video.live_command",
    },
    "cv2": {
        "lfdn.data",
        "lfdn.degrade.blur",
        "lfdn.degrade.frames",
        "lfdn_video.encoder",
        "lfdn_video.stream.cameras",
        "lfdn_video.stream.preview",
        "lfdn_video.stream.stills",
    },
    "nncf": {"lfdn.quantize"},
    "openvino": {"lfdn.quantize", "lfdn.quantized"},
    "kornia": {"lfdn.degrade.draw"},
    "lfdn": {"lfdn_video.degrade", "lfdn_video.doctor", "lfdn_video.engine"},
    "PIL": {"lfdn.data", "lfdn.pack"},
    "prometheus_client": {"lfdn_video.stream.metrics"},
    "queue": {"lfdn_video.background"},
    "rich": {*LFDN_COMMANDS, "lfdn_video.console", "lfdn_video.tables"},
    "safetensors": {"lfdn.weights"},
    "threading": {
        "lfdn.rowconv",
        "lfdn_video.background",
        "lfdn_video.stream.board",
        "lfdn_video.stream.capture",
        "lfdn_video.stream.child",
        "lfdn_video.stream.push",
        "lfdn_video.stream.recording",
        "lfdn_video.stream.web",
    },
    "torch.cuda": {"lfdn_video.engine"},
}
"""What only these modules may import; `lfdn` is about imports from the other package."""

TALKERS = {*LFDN_COMMANDS, "lfdn_video.cli", "lfdn_video.console", "lfdn_video.tables"}
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
