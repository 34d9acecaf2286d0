"""posteriors (PyTorch): its in-place updates in a Python loop, chains one after the other."""

import numpy as np
import posteriors
import torch
from peers.protocol import Prepared, serve
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from workloads import FRICTION, Workload


def prepare(workload: Workload, sampler: str, chains: int, draws: int) -> Prepared:
    h, n = workload.step_size, len(workload.X)
    X, y = torch.from_numpy(workload.X), torch.from_numpy(workload.y).long()
    if not workload.layers:
        y = y.float()

    def log_posterior(parameters, batch):
        parameters, (signal, labels) = list(parameters.values()), batch
        if workload.layers:
            for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
                signal = torch.tanh(signal @ w + b)
            logits = signal @ parameters[-2] + parameters[-1]
            likelihood = -cross_entropy(logits, labels, reduction="sum")
        else:
            logits = parameters[0] + signal @ parameters[1]
            likelihood = -binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        priors = zip(parameters, workload.prior_sds, strict=True)
        prior = sum(-0.5 * p.square().sum() / sd**2 for p, sd in priors)
        return prior + n / len(labels) * likelihood, torch.empty(0)

    if sampler == "sgld":
        transform = posteriors.sgmcmc.sgld.build(log_posterior, lr=h**2 / 2)
    elif sampler == "sgnht":
        transform = posteriors.sgmcmc.sgnht.build(log_posterior, lr=h, alpha=FRICTION / h)
    else:
        raise ValueError(f"posteriors has no {sampler}.")

    def parameters(theta: np.ndarray) -> dict[str, torch.Tensor]:
        return {str(i): torch.tensor(x) for i, x in enumerate(workload.split(theta))}

    def flat(parameters) -> np.ndarray:
        return torch.cat([p.ravel() for p in parameters.values()]).numpy()

    states = [transform.init(parameters(theta)) for theta in workload.start(chains)]

    def one_draw(chain: int) -> np.ndarray:
        for _ in range(workload.steps_per_draw):
            batch = torch.randint(n, (workload.batch_size,))
            states[chain], _ = transform.update(states[chain], (X[batch], y[batch]), inplace=True)
        return flat(states[chain].params)

    def run() -> list[np.ndarray]:  # one draw a block: nothing is gained by longer ones
        return [np.stack([[one_draw(chain)] for chain in range(chains)])]

    def all_rows(theta: np.ndarray) -> np.ndarray:
        gradient, _ = torch.func.grad(log_posterior, has_aux=True)(parameters(theta), (X, y))
        return flat(gradient)

    return Prepared(run, all_rows)


if __name__ == "__main__":
    serve(prepare, ("posteriors", "torch"))
