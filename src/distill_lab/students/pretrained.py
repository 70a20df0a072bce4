"""A student that others have pre-trained."""

from __future__ import annotations

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill_lab.errors import ModelError
from distill_lab.models import load_classifier, load_config, load_tokenizer
from distill_lab.students.base import Student
from distill_lab.tasks import Data
from distill_lab.tasks.tokens import tokenizer_fingerprint
from distill_lab.teachers import Live
from distill_lab.types import Problem


class Pretrained(Student):
    """A pre-trained encoder or classifier from a folder or the hub.

    Args:
        model: Folder or hub name.
    """

    def __init__(self, *, model: str) -> None:
        self.model = model

    def check(self, teacher: PretrainedConfig, data: Data) -> PretrainedConfig:
        """Look at the tokeniser before anything is trained; return the configuration.

        Raises:
            ModelError: If it cannot be loaded, or cuts text otherwise than the teacher's.
        """
        own = load_tokenizer(self.model, "student.model")
        check_same_tokenizer(data.tokenizer, own, self.model)
        return load_config(self.model, "student.model")

    def build(self, teacher: Live, data: Data, problem: Problem) -> PreTrainedModel:
        """Return the student in float32; a head that it lacks is drawn.

        Raises:
            ModelError: If its weights cannot be loaded.
        """
        return load_classifier(self.model, problem, "student.model")


def check_same_tokenizer(
    teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase, name: str
) -> None:
    """Refuse a student whose token ids mean something else than the teacher's.

    Raises:
        ModelError: If vocabulary or cutting differ.
    """
    ours, theirs = teacher.get_vocab(), student.get_vocab()
    if ours != theirs:
        differ = sum(theirs.get(token) != index for token, index in ours.items())
        raise ModelError(
            f"student.model={name}: its tokeniser is not the teacher's ({len(theirs)} tokens"
            f" against {len(ours)}, of which {differ} differ); take a student with the teacher's"
            " vocabulary"
        )
    if tokenizer_fingerprint(teacher) != tokenizer_fingerprint(student):
        probe = "Café ÉCOLE, don't\tstop -- 1,000.5 naïve ﬁne!"
        if teacher(probe)["input_ids"] != student(probe)["input_ids"]:
            raise ModelError(
                f"student.model={name}: its tokeniser has the teacher's vocabulary but cuts text"
                " otherwise (case or accents); take a student with the teacher's tokeniser"
            )
