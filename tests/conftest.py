"""Strictness for every test: rank promotion raises, keys may not be reused, eight fake devices."""

import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
# The first example of a test pays for compilation.
settings.register_profile("rezoo", deadline=None)
settings.load_profile("rezoo")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that REZOO_DATA names; tests that need it are skipped without it."""
    folder = os.environ.get("REZOO_DATA")
    if not folder:
        pytest.skip("set REZOO_DATA to the folder with the real data sets to run this test")
    return Path(folder)
