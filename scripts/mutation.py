"""A mutation score: how many small planted mistakes the tests notice (`mutmut`), over a random sample.

    python scripts/mutation.py kernel [--sample 600] [--seed 1]
    python scripts/mutation.py checker

All mutants of a part would take hours; a sample of n gives the score within about ±1/√n (95 %: 4 points for 600).
Survivors are listed, to be looked at with `mutmut show NAME`. By hand (`make mutation`), on a machine at rest: a mutant
that makes its tests slow counts as noticed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections import Counter, defaultdict

PARTS = {"kernel": ("segue.kernel.",), "checker": ("segue.flow.check", "segue.flow.fix", "segue.flow.findings")}
NOTICED = frozenset(("killed", "timeout", "segfault", "suspicious", "caught by type check"))


def mutmut(*arguments: str) -> str:
    """Raises CalledProcessError."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def results() -> dict[str, str]:
    """The state of every mutant by its name."""
    lines = (line.strip().rpartition(": ") for line in mutmut("results", "--all", "true").splitlines())
    return {name: state for name, _, state in lines if name.startswith("segue.")}


def main() -> int:
    """Run the sample and print the score."""
    parser = argparse.ArgumentParser(description="Mutation score of a part, over a random sample of mutants.")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--sample", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--children", type=int, default=2)
    given = parser.parse_args()
    try:
        mutmut("run", "--max-children", "1", "segue.errors.none")  # makes the mutants; no name matches
    except subprocess.CalledProcessError as error:
        if "mutants" not in error.stdout + error.stderr and not results():
            sys.stderr.write(error.stdout[-2000:] + error.stderr[-2000:])
            return 1
    names = sorted(name for name in results() if name.startswith(PARTS[given.part]))
    chosen = random.Random(given.seed).sample(names, min(given.sample, len(names)))  # noqa: S311 - no secret
    mutmut("run", "--max-children", str(given.children), *chosen)
    found = {name: state for name, state in results().items() if name in set(chosen)}
    by_module: dict[str, Counter[str]] = defaultdict(Counter)
    for name, state in found.items():
        by_module[name.rpartition(".")[0]]["noticed" if state in NOTICED else state] += 1
    for module, states in sorted(by_module.items()):
        print(f"{module:32} {states['noticed']:4} of {states.total():4} noticed   {dict(states)}")
    noticed = sum(states["noticed"] for states in by_module.values())
    print(f"{given.part}: {noticed} of {len(found)} noticed, {100 * noticed / max(1, len(found)):.1f} %"
          f" (a sample of {len(names):,} mutants, seed {given.seed})")  # fmt: skip
    for name in sorted(name for name, state in found.items() if state not in NOTICED):
        print(f"  {found[name]}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
