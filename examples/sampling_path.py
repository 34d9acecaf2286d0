"""The paths of two samplers, moving: SGLD's random walk, and momentum that carries BAOAB along.

Both sample Rosenbrock's banana, with all rows, from the same corner and with the same step size, as
many updates in a frame. Writes a GIF, which docs/tutorials/trajectories.md shows:

    uv run examples/sampling_path.py --output docs/tutorials/sampling_path.gif
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
from matplotlib.animation import FuncAnimation, PillowWriter

import pymc_sgmcmc as sg

STEP_SIZE, UPDATES = 0.1, 4  # updates between two frames


def banana() -> pm.Model:
    """Draw x from N(0, 1), and y from N(x², 0.3²)."""
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Normal("y", x**2, 0.3)
    return model


def path(sampler: type, frames: int, seed: int) -> np.ndarray:
    """Positions of one chain after each few updates, ``(frames, 2)``."""
    with banana():
        step = sampler(step_size=STEP_SIZE, steps_per_draw=UPDATES)
        idata = sg.sample(
            frames,
            tune=0,
            chains=1,
            step=step,
            initvals={"x": -1.8, "y": 3.2},
            random_seed=seed,
            progressbar=False,
        )
    return np.stack([idata.posterior[name].values[0] for name in "xy"], axis=1)


def animate(paths: dict[str, np.ndarray], tail: int = 25) -> FuncAnimation:
    """Panels with the density, the draws so far, and the latest part of the path."""
    figure, panels = plt.subplots(
        1, len(paths), figsize=(6, 3), sharey=True, layout="constrained", dpi=72
    )
    x, y = np.meshgrid(np.linspace(-2.6, 2.6, 120), np.linspace(-1.2, 6, 120))
    energy = (x**2 + ((y - x**2) / 0.3) ** 2) / 2
    moving = []
    for ax, (name, positions) in zip(panels, paths.items(), strict=True):
        ax.contourf(x, y, np.exp(-energy), levels=[0.03, 0.2, 0.5, 1], cmap="Greys", alpha=0.45)
        ax.set(title=name, xlabel="x", xticks=[-2, 0, 2], yticks=[0, 2, 4, 6])
        (draws,) = ax.plot([], [], ".", color="#0072B2", markersize=2)
        (line,) = ax.plot([], [], color="#D55E00", linewidth=1)
        (head,) = ax.plot([], [], "o", color="#D55E00", markersize=5)
        moving.append((draws, line, head, positions))
    panels[0].set(ylabel="y", ylim=(-1.2, 6))

    def show(frame: int) -> list:
        for draws, line, head, positions in moving:
            draws.set_data(*positions[: frame + 1].T)
            line.set_data(*positions[max(0, frame - tail) : frame + 1].T)
            head.set_data(*positions[frame : frame + 1].T)
        return [artist for *artists, _ in moving for artist in artists]

    frames = range(0, len(positions), max(1, len(positions) // 60))
    return FuncAnimation(figure, show, frames=frames, interval=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("sampling_path.gif"))
    parser.add_argument("--frames", type=int, default=240)
    arguments = parser.parse_args()
    paths = {s.__name__: path(s, arguments.frames, seed=1) for s in (sg.SGLD, sg.BAOAB)}
    for name, positions in paths.items():
        print(f"{name}: x from {positions[:, 0].min():.1f} to {positions[:, 0].max():.1f}")
    animate(paths).save(arguments.output, PillowWriter(fps=8))
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
