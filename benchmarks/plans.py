"""Every recipe on the machine that it names: the table of docs/feasibility.md.

python -m benchmarks.plans [RECIPE ...] [--set key=value ...]
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.options import options_of
from socsci_jax.feasibility.plan import make_plan, simulate_devices
from socsci_jax.feasibility.report import gigabytes
from socsci_jax.training.recipe_files import load_recipe


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("recipes", type=Path, nargs="*")
    options.add_argument("--set", nargs="*", default=[], help="changes to every recipe")
    options.add_argument("--efficiency", type=float, default=0.4)
    a = options.parse_args()
    recipes = [load_recipe(path, a.set) for path in a.recipes or sorted(Path("recipes").glob("*.yaml"))]
    simulate_devices(max(recipe.machine.devices for recipe in recipes))
    print("| recipe | hardware | state | temporaries | peak | usable | fits | TFLOPs a step | tokens/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for recipe in recipes:
        plan = make_plan(recipe, recipe.machine)
        seconds = plan.seconds_per_step(a.efficiency)
        cells = [
            f"`{recipe.name}`",
            recipe.hardware,
            *map(gigabytes, (plan.memory.arguments, plan.memory.temporaries, plan.memory.peak, plan.usable)),
            "yes" if plan.fits else "**no**",
            f"{plan.flops / 1e12:,.1f}",
            "" if seconds is None else f"{plan.tokens_per_step / seconds:,.0f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
