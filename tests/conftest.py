"""Strictness for every test: rank promotion raises, keys may not be reused, eight fake devices."""

import contextlib
import ctypes
import gc
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Most of a test's time is compilation, and little is gained by compiling well what runs once. Fusion
# emitters cost half of what is left; later releases do not know the flag.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    " --xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
    + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""),
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import helpers
import jax
import jaxtyping
import pytest
from hypothesis import settings
from jax._src import compiler

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
# The first example of a test pays for compilation.
settings.register_profile("rezoo", deadline=None)
settings.load_profile("rezoo")

ENOUGH, ROOM = 1_000 * 2**20, 300 * 2**20
"""Bytes that a worker may hold before it drops what it compiled, and may add to what is left after that: its
peak then stays below 2 GB."""


class Programs:
    """What JAX compiled, once for all functions that are the same program.

    Tests jit the same functions of equal models again and again, in closures that JAX cannot know to be
    equal.
    """

    def __init__(self) -> None:
        self.compiled: dict[Any, Any] = {}
        self._compile = compiler.backend_compile_and_load
        compiler.backend_compile_and_load = self.compile

    def compile(self, backend: Any, module: Any, devices: Any, options: Any, callbacks: Any) -> Any:
        """In the place of JAX's own."""
        if callbacks:
            return self._compile(backend, module, devices, options, callbacks)
        text = module.operation.get_asm(enable_debug_info=False)
        key = text, options.SerializeAsString(), repr((backend.platform, devices))
        if key not in self.compiled:
            self.compiled[key] = self._compile(backend, module, devices, options, callbacks)
        return self.compiled[key]


class Memory:
    """Drops what was compiled where it fills a small machine's memory; a hook of this file alone would not
    be called after the doctests of rezoo/."""

    def __init__(self) -> None:
        self.left = 0
        """Bytes that the last drop left."""
        self.programs = Programs()

    def pytest_collection_finish(self) -> None:
        # What was imported stays, and need not be looked through for garbage after every few tests.
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self) -> None:
        if resident() > max(ENOUGH, self.left + ROOM):
            helpers.forget()
            self.programs.compiled.clear()
            jax.clear_caches()
            gc.collect()
            # Only glibc keeps what was freed, and returns it so.
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL("libc.so.6").malloc_trim(0)
            self.left = resident()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Memory())


def resident() -> int:
    """Bytes of memory that this process holds; 0 where that is not to be read from /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that REZOO_DATA names; tests that need it are skipped without it."""
    folder = os.environ.get("REZOO_DATA")
    if not folder:
        pytest.skip("set REZOO_DATA to the folder with the real data sets to run this test")
    return Path(folder)


@pytest.fixture
def untyped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without checks of types at run time, which only tests have and which would say what is wrong first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
