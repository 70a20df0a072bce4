"""Small files in the official layout of SQuAD."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import BAD, FILLER, GOOD

WHO = ["ann", "bob", "cleo", "dan", "eve", "finn"]
WHAT = [*GOOD, *BAD]


def article(title: str, *paragraphs: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "paragraphs": list(paragraphs)}


def paragraph(context: str, *asked: tuple[str, str, list[str]]) -> dict[str, Any]:
    """A paragraph with questions: id, text, accepted answers."""
    return {
        "context": context,
        "qas": [
            {
                "id": name,
                "question": text,
                "answers": [{"text": a, "answer_start": context.find(a)} for a in accepted],
                **({} if accepted else {"is_impossible": True}),
            }
            for name, text, accepted in asked
        ],
    }


def write(path: Path, *articles: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"version": "1.1", "data": list(articles)}))
    return path


def drawn(articles: int, seed: int, unanswerable: bool = False) -> list[dict[str, Any]]:
    """Articles in which somebody likes something, and questions on who likes what."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(articles):
        paragraphs = []
        for part in range(2):
            words, asked = [], []
            people = random.choice(WHO, 3, replace=False)
            for person in people:
                likes = str(random.choice(WHAT))
                words += [*random.choice(FILLER, random.integers(1, 6)), person, "likes", likes]
                asked.append((person, likes))
            words += list(random.choice(FILLER, random.integers(1, 20)))
            questions = [
                (f"{seed}-{number}-{part}-{person}", f"what does {person} like", [likes])
                for person, likes in asked
            ]
            absent = next(p for p in WHO if p not in people)
            if unanswerable:
                name = f"{seed}-{number}-{part}-{absent}"
                questions.append((name, f"what does {absent} like", []))
            paragraphs.append(paragraph(" ".join(words), *questions))
        found.append(article(f"article {number}", *paragraphs))
    return found


def folder(path: Path, unanswerable: bool = False) -> Path:
    """A folder with files for training and evaluation."""
    path.mkdir(parents=True, exist_ok=True)
    write(path / "train.json", *drawn(20, 1, unanswerable))
    write(path / "dev.json", *drawn(6, 2, unanswerable))
    return path
