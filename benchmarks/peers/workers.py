"""The asking side of `peers.protocol`: which peers are there, and a process for each of them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent


@dataclass(frozen=True)
class Peer:
    """A sampler to be measured.

    Attributes
    ----------
    module : str
        Of the folder `peers`.
    package : str
        What its Python must be able to import.
    samplers : tuple of str
    options : tuple of str
        Further arguments of its process.
    max_chains : int
        Above which it is left out.
    """

    module: str
    package: str
    samplers: tuple[str, ...] = ("sgld", "sgnht")
    options: tuple[str, ...] = ()
    max_chains: int = 10**9

    @property
    def variable(self) -> str:
        """Environment variable that names the Python of this peer."""
        return f"PEER_{self.package.upper().replace('PYMC_SGMCMC', 'OURS')}_PYTHON"

    @property
    def python(self) -> str:
        """Python that runs it; this one, unless the variable names another."""
        return os.environ.get(self.variable, sys.executable)


OURS = ("sgld", "sgnht", "atmc")
PEERS = {
    "ours-numba": Peer("ours", "pymc_sgmcmc", OURS, ("--backend", "numba")),
    "ours-jax": Peer("ours", "pymc_sgmcmc", OURS, ("--backend", "jax")),
    "blackjax": Peer("blackjax", "blackjax"),
    "sgmcmcjax": Peer("sgmcmcjax", "sgmcmcjax"),
    "posteriors": Peer("posteriors", "posteriors", max_chains=4),
    "gradient-numba": Peer(
        "gradient", "pymc_sgmcmc", ("gradient",), ("--backend", "numba"), max_chains=1
    ),
    "gradient-jax": Peer(
        "gradient", "pymc_sgmcmc", ("gradient",), ("--backend", "jax"), max_chains=1
    ),
}


def why_absent(peer: Peer) -> str | None:
    """Why a peer can't be run, or None if it can."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({peer.package!r}) is None)"
    try:
        there = subprocess.run([peer.python, "-c", code], capture_output=True, check=False)
    except OSError as error:
        return f"{peer.variable}: {error}"
    if there.returncode == 0:
        return None
    return f"{peer.package} is not in {peer.python}; {peer.variable} can name another Python"


class Worker:
    """Process of one peer on one workload, which computes only when it is asked.

    Raises
    ------
    RuntimeError
        If the process ends before it answers; the message is its last line.
    """

    def __init__(
        self,
        peer: Peer,
        workload: Path,
        sampler: str,
        chains: int,
        environment: dict[str, str],
        **options: int,
    ) -> None:
        command = [peer.python, "-m", f"peers.{peer.module}", "--serve"]
        command += ["--workload", str(workload), "--sampler", sampler, "--chains", str(chains)]
        command += [*peer.options, *(f"--{key}={value}" for key, value in options.items())]
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            command,
            cwd=FOLDER,
            env=os.environ | environment | {"BENCHMARK_STARTED": str(time.time())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        try:
            ready = self._answer()
        except BaseException:
            self.close()
            raise
        self.startup: float = ready["startup"]
        self.versions: dict[str, str] = ready["versions"]

    def ask(self, *words: Any) -> dict[str, Any]:
        """Answer to a command."""
        print(*words, file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().split("\n")
        raise RuntimeError(f"exit status {self._process.returncode}: {lines[-1][:300]}")
