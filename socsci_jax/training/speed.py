"""How fast a run is, by the clock and the batch plan."""

from __future__ import annotations

from socsci_jax.training.clock import COMPUTE
from socsci_jax.training.flops import step_flops
from socsci_jax.training.session import Session


class Speed:
    """Rates since the last line of the log, and where all the time went."""

    def __init__(self, session: Session, *, first_step: int):
        prepared = session.prepared
        self._recipe, self._clock = session.recipe, session.clock
        self._config, self._plan = prepared.config, prepared.plan
        self._devices = prepared.mesh.size
        self._responses = prepared.shards.branch_index["responses"].to_numpy()
        self.restart(first_step)

    def restart(self, step: int) -> None:
        """Begins to count after `step` steps."""
        self._step, self._seconds = step, self._clock.seconds()

    def metrics(self, finished: int) -> dict[str, float]:
        """Since `restart`: steps per second, tokens (without padding) and answers per second and device, the share of
        time spent waiting for input, and model FLOPs utilization where the recipe's hardware has a stated peak; since
        the start of the run: the share of time by what it was spent on."""
        if finished == self._step:
            return {}
        now = self._clock.seconds()
        waited = now.get("input", 0.0) - self._seconds.get("input", 0.0)
        seconds = now[COMPUTE] - self._seconds[COMPUTE] + waited
        steps = range(self._step, finished)
        used, seen = (sum(work) for work in zip(*(self._plan.work(step) for step in steps)))
        answers = sum(
            int(self._responses[row.branch].sum()) for step in steps for row in self._plan.batch(step)
        )
        each = seconds * self._devices
        metrics = {
            "steps_per_second": len(steps) / seconds,
            "tokens_per_second_per_device": used / each,
            "responses_per_second_per_device": answers / each,
            "input_wait_share": waited / seconds,
        }
        peak = self._recipe.machine.accelerator.peak_tflops
        if peak is not None:
            flops = step_flops(self._recipe, self._config, self._plan.shape, keys=seen / used)
            metrics["mfu"] = flops * len(steps) / (each * peak * 1e12)
        whole = sum(now.values())
        return metrics | {f"time_share/{what}": spent / whole for what, spent in now.items()}
