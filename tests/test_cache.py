"""Compiled programs are kept in a private folder, and what is not whole or not ours is not run."""

import os
import stat
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from pymc_sgmcmc.engines import cache
from pymc_sgmcmc.engines.jax import kept
from pymc_sgmcmc.engines.jax.functions import compile_for


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "programs"
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    return folder


@pytest.fixture
def compilations(monkeypatch):
    """Programs that were compiled, one after another."""
    made = []
    compile_ = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered,
        "compile",
        lambda self, *args: made.append(self) or compile_(self, *args),
    )
    return made


def halve(x):
    return {"half": x / 2}


def test_a_program_is_compiled_once(folder, compilations):
    for x in (jnp.ones(3), jnp.arange(3.0)):
        assert (compile_for(halve, x)(x)["half"] == x / 2).all()
    assert len(compilations) == 1
    compile_for(halve, jnp.ones(4))
    assert len(compilations) == len(list(folder.iterdir())) == 2


def test_arguments_that_are_not_needed_tell_programs_apart(folder):
    one, two = jnp.float32(1), jnp.float32(2)
    assert compile_for(lambda x, y: x, one, two)(one, two) == 1
    assert compile_for(lambda x, y: y, one, two)(one, two) == 2
    for args in ((one, jnp.ones(2)), (one, jnp.ones(3))):
        assert compile_for(lambda x, y: x, *args)(*args) == 1


def test_constants_are_part_of_a_program(folder, compilations):
    for end in (1.0, 2.0):
        table = jnp.zeros(5000).at[4000].set(end)
        assert compile_for(lambda x, table=table: x + table.sum(), 0.0)(0.0) == end
    assert len(compilations) == 2


@pytest.mark.parametrize(
    "harm", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + b"?" + b[41:]]
)
def test_a_program_that_is_not_whole_is_made_anew(folder, compilations, harm):
    compile_for(halve, 1.0)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(harm(whole))
    assert compile_for(halve, 1.0)(1.0)["half"] == 0.5
    assert len(compilations) == 2
    assert len(file.read_bytes()) == len(whole)


@pytest.mark.skipif(os.name == "nt", reason="Profiles are private there.")
def test_the_folder_is_private(folder):
    cache.write("a", b"program")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600
    for mode in (0o770, 0o701, 0o750):
        folder.chmod(mode)
        assert cache.read("a") is None
        cache.write("b", b"program")
        assert not (folder / "b").exists()


@pytest.mark.parametrize("off", ["0", "off", "False"])
def test_it_can_be_turned_off(folder, compilations, monkeypatch, off, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cache.VARIABLE, off)
    for _ in range(2):
        compile_for(halve, 1.0)
    assert len(compilations) == 2
    assert not list(tmp_path.iterdir())


def test_options_of_the_compiler_make_another_program(folder, monkeypatch):
    for options in ({}, {"xla_cpu_prefer_vector_width": 128}):
        monkeypatch.setattr(kept, "_options", lambda options=options: options)
        assert compile_for(halve, 1.0)(1.0)["half"] == 0.5
    assert len(list(folder.iterdir())) == 2


def test_an_option_that_the_compiler_has_no_more_is_left_out(folder, monkeypatch):
    monkeypatch.setattr(kept, "_options", lambda: {"xla_cpu_vectors_of_old": 512})
    assert compile_for(halve, 1.0)(1.0)["half"] == 0.5


@pytest.mark.parametrize(
    ("processor", "flags", "options"),
    [
        ("znver5", "", {"xla_cpu_prefer_vector_width": 512}),
        ("znver5", "--xla_cpu_prefer_vector_width=256", {}),
        ("skylake-avx512", "", {}),
    ],
)
def test_vectors_are_long_where_that_was_measured(monkeypatch, processor, flags, options):
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setattr(kept.binding, "get_host_cpu_name", lambda: processor)
    assert kept._options() == (options if jax.default_backend() == "cpu" else {})


def test_a_cache_of_jax_is_left_to_jax(folder, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "of jax"))
    try:
        compile_for(halve, 1.0)
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    assert not folder.exists()


def test_callbacks_are_not_kept(folder):
    def call_back(x):
        return jax.pure_callback(lambda x: x + 1, jax.ShapeDtypeStruct((), jnp.float32), x)

    assert compile_for(call_back, jnp.float32(1))(jnp.float32(1)) == 2
    assert not folder.exists()


def test_the_least_recently_used_make_room(folder, monkeypatch):
    for i, name in enumerate("abc"):
        cache.write(name, bytes(100))
        os.utime(folder / name, (i, i))
    assert cache.read("a") == bytes(100)  # used now
    monkeypatch.setattr(cache, "_MOST", 400)
    cache.write("d", bytes(100))
    assert sorted(p.name for p in folder.iterdir()) == ["a", "c", "d"]


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "folder"))
    cache.write("a", b"program")
    assert cache.read("a") is None


@pytest.mark.skipif(sys.platform != "linux", reason="Other platforms have other places.")
def test_the_usual_place(tmp_path, monkeypatch):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.write("a", b"program")
    assert (tmp_path / "pymc_sgmcmc" / "a").exists()


SCRIPT = """
import jax.numpy as jnp
from pymc_sgmcmc.engines.jax import kept
from pymc_sgmcmc.engines.jax.functions import compile_for
print(compile_for(lambda x: x + 1, jnp.ones(2))(jnp.ones(2)).tolist())
"""


@pytest.mark.slow
def test_another_process_runs_it(folder):
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
        assert run.stdout.strip() == "[2.0, 2.0]", run.stderr
        assert len(list(folder.iterdir())) == 1
