"""The package: its version, its licence, and dependencies that the constraints pin within their ranges."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import rezoo

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
APART = {"cuda12", "cuda13", "tpu", "beam"}
"""Extras that `dev` does not bring: they need an accelerator, or other versions of what is pinned."""
EXTRAS = PROJECT["optional-dependencies"]


def requirements() -> list[Requirement]:
    """What `dev` and the extras that it brings need, rezoo left out."""
    lines = PROJECT["dependencies"] + [
        line for extra, lines in EXTRAS.items() if extra not in APART for line in lines
    ]
    return [one for one in map(Requirement, lines) if one.name != "rezoo"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_are_in_step_with_the_ranges_and_name_no_host():
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    pinned = {}
    for one in map(Requirement, lines):
        (pin,) = one.specifier
        assert pin.operator == "==" and one.url is None, one
        pinned.setdefault(canonical(one.name), []).append(pin.version)
    for one in requirements():
        assert one.url is None and all(spec.operator in (">=", "<", "!=") for spec in one.specifier), one
        versions = pinned.get(canonical(one.name))
        assert versions, f"pin {one.name} in .ci/constraints.txt"
        assert all(one.specifier.contains(version) for version in versions), f"{one}: pinned {versions}"


def test_dev_brings_every_extra():
    (own,) = [one for one in map(Requirement, EXTRAS["dev"]) if one.name == "rezoo"]
    assert own.extras == set(EXTRAS) - APART - {"dev"}


def test_version_licence_and_types():
    assert re.fullmatch(r"\d+\.\d+\.\d+", rezoo.__version__) and "version" in PROJECT["dynamic"]
    (licence,) = PROJECT["license-files"]
    assert "Apache License" in (ROOT / licence).read_text() and (ROOT / "rezoo" / "py.typed").exists()
    assert f"## {rezoo.__version__}" in (ROOT / "rezoo" / "CHANGELOG.md").read_text()


def moved() -> list[str]:
    """The modules that the changelog's table says are there now, written out in full or as `.part`."""
    names = []
    for line in (ROOT / "rezoo" / "CHANGELOG.md").read_text().splitlines():
        if line.startswith("| `"):
            package = "rezoo"
            for name in re.findall(r"`(rezoo(?:\.\w+)+|\.\w+)`", line.split("|")[2]):
                name = package + name if name.startswith(".") else name
                package = name.rpartition(".")[0]
                names.append(name)
    return names


@pytest.mark.parametrize("name", moved())
def test_the_changelog_names_modules_that_exist(name):
    assert importlib.util.find_spec(name)
