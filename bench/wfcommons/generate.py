"""Writes instances/*.json: graphs of some 1,000 tasks by the recipes of WfCommons, which were learnt from real runs.

Done once; the instances are kept. To do it again, in an environment with `wfcommons==1.6` (PyPI):
`python bench/wfcommons/generate.py`. Of an instance only the graph is kept: tasks in topological order, each with the
name of its program and the places of its parents.

T. Coleman, H. Casanova, L. Pottier, M. Kaushik, E. Deelman, R. Ferreira da Silva: WfCommons: A Framework for Enabling
Scientific Workflow Research and Development. Future Generation Computer Systems 128 (2022), 16-27.
"""

from __future__ import annotations

import json
import random
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

TASKS = 1_000
SEED = 20_26
RECIPES = ("Blast", "Bwa", "Cycles", "Epigenomics", "Genome", "Montage", "Seismology", "Soykb", "Srasearch")
INSTANCES = Path(__file__).with_name("instances")


def graph_of(workflow: Any) -> list[list[Any]]:
    """`[[program, [parents]], …]`, parents before children."""
    parents: dict[str, set[str]] = {name: set(found) for name, found in workflow.tasks_parents.items()}
    for name, children in workflow.tasks_children.items():
        for child in children:
            parents.setdefault(child, set()).add(name)
    order = list(TopologicalSorter({name: sorted(found) for name, found in sorted(parents.items())}).static_order())
    place = {name: number for number, name in enumerate(order)}
    return [[workflow.tasks[name].name, sorted(place[one] for one in parents[name])] for name in order]


def main() -> None:
    """Generate all."""
    import numpy as np  # pyright: ignore[reportMissingImports]
    import wfcommons  # pyright: ignore[reportMissingImports]
    from wfcommons.wfchef import recipes  # pyright: ignore[reportMissingImports]

    INSTANCES.mkdir(exist_ok=True)
    for name in RECIPES:
        random.seed(SEED)
        np.random.seed(SEED)
        recipe = getattr(recipes, f"{name}Recipe")
        fewest = int(getattr(recipe, "_get_min_tasks", lambda: 0)() or 0)
        workflow = wfcommons.WorkflowGenerator(recipe.from_num_tasks(max(TASKS, fewest))).build_workflow()
        tasks = graph_of(workflow)
        text = json.dumps(
            {"recipe": name, "source": "WfCommons 1.6 (PyPI), https://wfcommons.org, LGPL-3.0", "tasks": tasks},
            separators=(",", ":"),
        )
        (INSTANCES / f"{name.lower()}.json").write_text(text + "\n", "utf-8")
        print(name, len(tasks), "tasks", sum(len(parents) for _, parents in tasks), "edges", len(text), "bytes")


if __name__ == "__main__":
    main()
