"""Question answering: where in a paragraph does the answer stand?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from distill_lab.errors import ConfigError
from distill_lab.spans import best_ends
from distill_lab.tasks.base import Task
from distill_lab.tasks.best_spans import best_spans, best_threshold
from distill_lab.tasks.files import data_folder
from distill_lab.tasks.hub import load_hub
from distill_lab.tasks.model_rows import ModelRows
from distill_lab.tasks.places import inside
from distill_lab.tasks.questions import Questions, carve_groups, read_hub, read_squad, to_questions
from distill_lab.tasks.rows import Ids, Part
from distill_lab.tasks.squad_score import of_question, squad_scores
from distill_lab.tasks.windows import WindowRows, encode_windows
from distill_lab.types import Batch, Problem

_METRICS = ("f1", "exact")
_BESIDE = 3  # special tokens that stand around a question and its paragraph; RoBERTa has four


class Squad(Task):
    """SQuAD v1.1 (Rajpurkar et al. 2016, arXiv 1606.05250) or v2.0 (2018, arXiv 1806.03822).

    Paragraphs longer than a window are read in several that overlap; of all windows' answers the
    one with the largest sum of both logits counts. The selection split holds articles of its own.

    Args:
        name: Short name, for tables.
        files: Names of the training and the evaluation file: `train`, `evaluation`.
        data_dir: Their folder; None reads the hub.
        hub: Hub name of the dataset.
        no_answers: Whether some questions have no answer, as in v2.0.
        metrics: "f1" and "exact", the main one first.
        max_length: Tokens of a window, the question's among them.
        stride: Tokens that a window has in common with the next.
        max_question: Tokens at which a question is cut.
        max_answer: Tokens of the longest answer.
        n_best: How many beginnings and ends of each window are combined.
        no_answer_threshold: How much likelier "no answer" must be than the best answer to be given.
        selection: Share of the training questions that chooses epoch, T and λ.
        selection_max: Upper bound of these questions.

    Raises:
        ConfigError: If the values do not fit together.
    """

    problem = Problem("spans", ("start", "end"))
    rows_class = WindowRows

    def __init__(
        self,
        *,
        name: str,
        files: Mapping[str, str],
        data_dir: str | None = None,
        hub: str = "rajpurkar/squad",
        no_answers: bool = False,
        metrics: Sequence[str] = _METRICS,
        max_length: int = 384,
        stride: int = 128,
        max_question: int = 64,
        max_answer: int = 30,
        n_best: int = 20,
        no_answer_threshold: float = 0.0,
        selection: float = 0.1,
        selection_max: int = 2000,
    ) -> None:
        super().__init__(
            name=name,
            metrics=metrics,
            known=_METRICS,
            max_length=max_length,
            selection=selection,
            selection_max=selection_max,
        )
        counts = {"stride": (stride, 0), "max_question": (max_question, 1)}
        counts |= {"max_answer": (max_answer, 1), "n_best": (n_best, 1)}
        for key, (value, least) in counts.items():
            if value < least:
                raise ConfigError(f"task.{key}={value}: at least {least} is needed")
        if max_question + _BESIDE + stride >= max_length - _BESIDE:
            raise ConfigError(
                f"task.max_length={max_length}: a question of task.max_question={max_question}"
                f" tokens and an overlap of task.stride={stride} leave no room for the paragraph;"
                " take a larger max_length, or smaller ones of the other two"
            )
        if set(files) != {"train", "evaluation"}:
            raise ConfigError(f"task.files={dict(files)}: name two files, train and evaluation")
        self.files = dict(files)
        self.data_dir = data_folder(data_dir)
        self.hub = hub
        self.no_answers = no_answers
        self.stride = stride
        self.max_question = max_question
        self.max_answer = max_answer
        self.n_best = n_best
        self.no_answer_threshold = no_answer_threshold

    def read(self) -> tuple[Questions, Mapping[str, Part]]:
        """Read the questions.

        Raises:
            DataError: If a file or the hub's answer cannot be used.
        """
        return self._part("train"), {"evaluation": self._part("evaluation")}

    def _part(self, part: str) -> Questions:
        train = part == "train"
        if self.data_dir is not None:
            path = inside(self.data_dir, self.files[part], f"task.files.{part}")
            return to_questions(read_squad(path), str(path), self.no_answers, train)
        split = "train" if train else "validation"
        asked = read_hub(load_hub(self.hub, None, split))
        return to_questions(asked, f"{self.hub}/{split}", self.no_answers, train)

    def carve(self, train: Part) -> tuple[Part, Part]:
        """Divide training questions so that no article is in both parts."""
        assert isinstance(train, Questions)
        return carve_groups(train, self.selection, self.selection_max)

    def tokens(self, rows: Part, tokenizer: PreTrainedTokenizerBase) -> WindowRows:
        """Return windows of questions and paragraphs."""
        assert isinstance(rows, Questions)
        return encode_windows(rows, tokenizer, self.max_length, self.stride, self.max_question)

    def cutting(self) -> Mapping[str, Any]:
        """Return what besides tokeniser and length decides how windows are cut."""
        return {"stride": self.stride, "max_question": self.max_question}

    def scoring(self) -> Mapping[str, Any]:
        """Return what decides which answer of a model counts."""
        names = ("no_answers", "max_answer", "n_best", "no_answer_threshold")
        return {name: getattr(self, name) for name in names}

    def tell(self, train: ModelRows) -> None:
        """Say nothing: what is long is read in several windows."""

    def kept(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the likeliest beginnings and ends, see `spans.best_ends`."""
        assert batch.asked is not None
        return best_ends(logits, batch.asked, self.n_best)

    def score(self, answers: Tensor, rows: ModelRows, at: Ids | None = None) -> dict[str, float]:
        """Compute exact match and F1, for v2.0 also those with and without an answer."""
        assert isinstance(rows, WindowRows)
        given = self.given(answers, rows, at)
        asked = rows.questions.take(rows.asked_questions(at))
        found = squad_scores(asked, given, self.no_answers)
        return {**{name: found[name] for name in self.metrics}, **found}

    @property
    def settles(self) -> bool:
        """Whether the selection split settles something: from when on "no answer" is given."""
        return self.no_answers

    def settled_scores(
        self, answers: Tensor, rows: ModelRows, of_selection: Tensor, selection: ModelRows
    ) -> dict[str, float]:
        """Return the scores at the threshold that is best on the selection split.

        The official evaluator looks for it on the rows that are reported, which flatters.
        """
        assert isinstance(rows, WindowRows) and isinstance(selection, WindowRows)
        spans = best_spans(of_selection.numpy(), selection, self.max_answer)
        asked, main = selection.questions, 1 if self.metrics[0] == "f1" else 0
        given, nothing = (
            [of_question(text, accepted, True)[main] for text, accepted in pairs]
            for pairs in (
                [(spans[n].text, a) for n, a in zip(asked.names, asked.answers, strict=True)],
                [("", a) for a in asked.answers],
            )
        )
        margins = [spans[name].none_over_best for name in asked.names]
        threshold = best_threshold(margins, given, nothing)
        found = squad_scores(rows.questions, self.given(answers, rows, None, threshold), True)
        return {f"{name}_threshold": found[name] for name in self.metrics}

    def chance(self, train: ModelRows, rows: ModelRows) -> float:
        """Return what never answering gets."""
        assert isinstance(rows, WindowRows)
        nothing = dict.fromkeys(rows.questions.names, "")
        return squad_scores(rows.questions, nothing, self.no_answers)[self.metrics[0]]

    def table(
        self, rows: ModelRows, answers: Mapping[str, Tensor]
    ) -> dict[str, npt.NDArray[np.generic] | list[Any]]:
        """Return the questions, `label` (accepted answers), and each model's answers.

        `id` is the place in the file and `question` the data's own id; a model's answer is empty
        for "no answer", and `<model>_exact` and `<model>_f1` are its scores.
        """
        assert isinstance(rows, WindowRows)
        asked = rows.questions
        found: dict[str, Any] = {
            "id": asked.ids, "question": asked.names, "label": list(map(list, asked.answers)),
        }  # fmt: skip
        for name, kept in answers.items():
            given = self.given(kept, rows, None)
            found[name] = [given[each] for each in asked.names]
            each = [
                of_question(answer, accepted, self.no_answers)
                for answer, accepted in zip(found[name], asked.answers, strict=True)
            ]
            found[f"{name}_exact"] = [score for score, _ in each]
            found[f"{name}_f1"] = [score for _, score in each]
        return found

    def given(
        self,
        answers: Tensor,
        rows: WindowRows,
        at: Ids | None = None,
        threshold: float | None = None,
    ) -> dict[str, str]:
        """Return the answer to each question by its name, empty for none.

        Args:
            answers: What was kept of each window's logits.
            rows: The windows that are answered.
            at: Which of them; None for all in their order.
            threshold: In place of the task's own for "no answer".
        """
        beyond = self.no_answer_threshold if threshold is None else threshold
        return {
            name: "" if self.no_answers and span.none_over_best > beyond
            else span.text
            for name, span in best_spans(answers.numpy(), rows, self.max_answer, at).items()
        }  # fmt: skip
