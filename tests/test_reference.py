"""The API reference that `pdoc rezoo` builds: every public symbol is in it and has a docstring."""

import importlib
import inspect
from collections.abc import Iterator

import pdoc.doc
import pytest
import test_examples

import rezoo


def modules(module: pdoc.doc.Module) -> Iterator[pdoc.doc.Module]:
    yield module
    for below in module.submodules:
        yield from modules(below)


@pytest.fixture(scope="module")
def pages() -> list[pdoc.doc.Module]:
    return list(modules(pdoc.doc.Module(rezoo)))


def test_every_module_class_and_function_has_a_docstring(pages):
    assert len(pages) > 100
    symbols = [symbol for page in pages for symbol in page.members.values() if symbol.kind != "variable"]
    symbols = [
        one for one in symbols if not one.name.startswith("_") and one.taken_from[0].startswith("rezoo")
    ]
    assert not [symbol.fullname for symbol in [*pages, *symbols] if not symbol.docstring]


def test_every_public_function_is_in_the_reference(pages):
    shown = {page.fullname: set(page.members) for page in pages}
    for module in sorted(test_examples.PUBLIC | test_examples.imported()):
        if test_examples.is_module(module) and test_examples.functions(module):
            assert module in shown, f"{module} is in no `__all__` of the package above it"
            names = {name.rpartition(".")[2] for name in test_examples.functions(module)}
            assert names <= shown[module], f"{module}: {names - shown[module]}"


def test_what_a_package_names_as_public_is_there(pages):
    for page in pages:
        for name in getattr(page.obj, "__all__", ()):
            found = getattr(page.obj, name, None) or importlib.import_module(f"{page.fullname}.{name}")
            assert found is not None and (not inspect.ismodule(found) or found.__doc__), (page.fullname, name)
