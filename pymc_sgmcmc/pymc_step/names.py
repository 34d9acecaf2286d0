"""What arguments are called elsewhere, or were called before, and where they belong here."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

# Arguments that steps had in 0.1.0, by what is written in their place.
_MOVED = {
    "backend": "engine={value!r}",
    "shard": "engine=JAX(shard={value!r})",
    "matmul_precision": "engine=JAX(matmul_precision={value!r})",
    **{
        name: f"warmup=WarmUp({name}={{value!r}})"
        for name in ("preconditioner", "control_variate", "target_bias", "start")
    },
}

# What arguments are called elsewhere, and here.
_ELSEWHERE = {
    "step_size; usually none is needed, the warm-up finds one": (
        "learning_rate lr epsilon eps eta h dt stepsize step_scale step_width init_step_size"
    ),
    "batch_size": "minibatch_size mini_batch_size batch minibatch bs",
    "steps_per_draw": (
        "n_steps num_steps steps thin thinning every_nth n_leapfrog num_leapfrog_steps "
        "num_integration_steps path_length"
    ),
    "momentum_decay": "friction momentum alpha mdecay decay",
    "temperature; T = 1/β": "beta inverse_temperature inv_temperature",
    "warmup=WarmUp(preconditioner=...)": (
        "mass_matrix inverse_mass_matrix metric scaling precondition"
    ),
    "clip_gradient": "grad_clip gradient_clip clip clip_norm max_grad_norm clip_grad_norm",
    "warmup=WarmUp(target_bias=...)": "target_accept delta tolerance",
    "warmup=WarmUp(control_variate=...)": "control_variates svrg variance_reduction",
    "dtype": "precision floatX",
    "engine": "compiler compile_kwargs nuts_sampler",
    "data": "row_data minibatch_tensors minibatches",
    "warmup=WarmUp(start=...)": "init initvals initial_point",
}
_OF_SAMPLE = (
    "tune draws chains cores random_seed seed progressbar burn_in burnin n_burn warmup num_warmup "
    "num_samples n_samples num_chains n_iter iterations epochs n_epochs callback"
).split()


def hint(name: str, value: Any, known: Sequence[str]) -> str:
    """What an unknown argument is called here, or where it belongs."""
    if name in _MOVED:
        return f" Write {_MOVED[name].format(value=value)}."
    for here, elsewhere in _ELSEWHERE.items():
        if name.lower() in elsewhere.lower().split() and re.split("[=;]", here)[0] in known:
            return f" Here it is {here}."
    if name.lower() in _OF_SAMPLE:
        return " It belongs to pm.sample, with PyMC's name: draws, tune, chains, random_seed, ..."
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
