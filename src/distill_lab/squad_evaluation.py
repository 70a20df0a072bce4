"""The official SQuAD evaluators' figures for a file of predictions.

python -m distill_lab.squad_evaluation dev-v1.1.json predictions.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from distill_lab.errors import DataError, UsageError, first_line
from distill_lab.plain_json import read_json
from distill_lab.tasks.questions import read_squad, to_questions
from distill_lab.tasks.squad_score import squad_scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the official scores of a prediction file, in percent; what is not answered scores 0."""
    parser = argparse.ArgumentParser(
        prog="python -m distill_lab.squad_evaluation",
        description="Exact match and F1 of a prediction file, as the official evaluators print.",
    )
    parser.add_argument("data", type=Path, help="SQuAD file, v1.1 or v2.0")
    parser.add_argument("predictions", type=Path, help="JSON file: question id to answer")
    given = parser.parse_args(arguments)
    try:
        found = of_files(given.data, given.predictions)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    print(json.dumps(found, indent=2))
    return 0


def of_files(data: Path, predictions: Path) -> dict[str, float]:
    """Return the official scores in percent, and how many questions there are.

    Raises:
        DataError: If a file cannot be read.
    """
    asked = list(read_squad(data))
    no_answers = any(not one.answers for one in asked)
    questions = to_questions(asked, str(data), no_answers, for_training=False)
    try:
        answers = read_json(predictions.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise DataError(f"{predictions}: no predictions can be read ({reason})") from error
    if not isinstance(answers, dict) or not all(isinstance(a, str) for a in answers.values()):
        raise DataError(f"{predictions}: not an object that has a text for each question id")
    scores = squad_scores(questions, answers, no_answers, 100.0)
    missing = sum(name not in answers for name in questions.names)
    return {
        **scores,
        "total": len(questions),
        **({"missing": missing} if missing else {}),
    }


if __name__ == "__main__":
    sys.exit(main())
