"""The study `hinton_mnist` as a whole: T at 800 and at 30 units, and a digit left out; three seeds.

    python experiments/hinton_mnist.py MNIST [OVERRIDE ...]

MNIST is the folder of the four files. Runs and store go to the working folder; what is finished
there is skipped. All jobs share one teacher.
"""

from __future__ import annotations

import subprocess
import sys

PARTS = {
    "units_800": ["objective.temperature=4,8,20"],
    "units_30": [
        "student.sizes.hidden_sizes=[30,30]",
        "objective.temperature=1,2.5,4,8,20",
    ],
    "without_3": ["task.left_out=['3']"],
}


def main() -> None:
    """Run what is missing."""
    folder, *more = sys.argv[1:]
    for name, overrides in PARTS.items():
        line = [
            "-m", "experiments=hinton_mnist", f"study=hinton_mnist/{name}",
            f"task.data_dir={folder}", "hydra.launcher.n_jobs=2", *overrides, *more,
        ]  # fmt: skip
        subprocess.run([sys.executable, "-m", "distill_lab", "train", *line], check=True)


if __name__ == "__main__":
    main()
