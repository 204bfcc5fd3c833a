"""The public names of both packages: present, sorted, documented."""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import lfdn
import lfdn_video

PACKAGES = [lfdn, lfdn_video]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_names_are_sorted(package: ModuleType) -> None:
    assert list(package.__all__) == sorted(set(package.__all__))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_name_exists(package: ModuleType) -> None:
    assert [name for name in package.__all__ if getattr(package, name, None) is None] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_name_is_documented(package: ModuleType) -> None:
    assert [name for name in package.__all__ if not getattr(package, name).__doc__] == []


def test_lazy_imports_match_those_for_the_type_checker() -> None:
    source = ast.parse(Path(lfdn_video.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module.removeprefix("lfdn_video.")
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("lfdn_video.")
        and node.module is not None
        for alias in node.names
    }
    assert seen == lfdn_video._MODULE_OF
    assert sorted(seen) == list(lfdn_video.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = lfdn_video.nonsense


def test_dir_lists_every_name() -> None:
    assert set(lfdn_video.__all__) <= set(dir(lfdn_video))


def test_version_is_that_of_the_installation() -> None:
    assert str(lfdn_video.__version__)[0].isdigit()


def test_importing_an_error_does_not_load_torch() -> None:
    probe = "import sys; from lfdn_video import LfdnVideoError; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
