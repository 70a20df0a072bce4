"""Text that a model writes: batched, and for each row the same whatever stands beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from distill_lab.errors import ConfigError

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sampling:
    """How words are drawn.

    Attributes:
        temperature: Of the probabilities; 0 takes the likeliest word each time.
        top_p: Words are drawn from the likeliest ones that together have this probability (Holtzman
            et al. 2020, arXiv 1904.09751).
        top_k: Words are drawn from this many; 0 for all.
        samples: Answers to each prompt.
        seed: With prompt and sample, fixes what is drawn.

    Raises:
        ConfigError: If a value is out of its range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        key, faults = "task.sampling", list[str]()
        if not 0 <= self.temperature < float("inf"):
            faults.append(f"{key}.temperature={self.temperature}: 0 (likeliest word) or above")
        if not 0 < self.top_p <= 1:
            faults.append(f"{key}.top_p={self.top_p}: a probability above 0, at most 1")
        for name, least in {"top_k": 0, "samples": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                faults.append(f"{key}.{name}={getattr(self, name)}: at least {least}")
        if self.samples > 1 and self.temperature == 0:
            faults.append(
                f"{key}.samples={self.samples}: at temperature 0 all answers to a prompt are the"
                f" same; take {key}.temperature=1, or one sample"
            )
        if faults:
            raise ConfigError(faults)

    def ingredients(self) -> dict[str, float | int]:
        """Return what decides the answers, for keys: without a draw, next to nothing."""
        return asdict(self) if self.temperature else {"temperature": 0.0}

    def draws(self, row: int, sample: int, count: int) -> npt.NDArray[np.float64]:
        """Return the numbers between 0 and 1 that choose a row's words."""
        return np.random.default_rng([self.seed, row, sample]).random(count)


GREEDY = Sampling()


class _Drawn(LogitsProcessor):
    """Leaves the one word that each row's own number chooses.

    The draws of a row do not depend on how many rows are written beside it, as those of one
    generator for the whole batch would.
    """

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers
        self.step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        below = scores.softmax(dim=-1, dtype=torch.float32).cumsum(dim=-1)
        whole = below[:, -1:].contiguous()
        at = self.numbers[:, self.step, None].to(below) * whole
        self.step += 1
        # The sum does not grow at words without probability: none of them is the first above, and
        # the first that reaches the whole is the last that has any.
        last = torch.searchsorted(below, whole)
        word = torch.minimum(torch.searchsorted(below, at, right=True), last)
        return torch.full_like(scores, -torch.inf).scatter(1, word, 0.0)


def ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens after which an answer is complete: the tokeniser's, and the model's own."""
    own = getattr(model.generation_config, "eos_token_id", None)
    own = own if isinstance(own, list) else [own]
    found = {end for end in (tokenizer.eos_token_id, *own) if isinstance(end, int)}
    return sorted(end for end in found if 0 <= end < len(tokenizer))


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Tokens],
    most: int,
    sampling: Sampling = GREEDY,
    which: Sequence[tuple[int, int]] = (),
) -> list[Tokens]:
    """Return what a model writes after each prompt, up to the token that ends it.

    What the model's own folder says of sampling plays no part.

    Args:
        model: A causal language model, in evaluation mode.
        tokenizer: Its own; tells padding and end.
        prompts: Tokens of each.
        most: Tokens at which an answer is cut.
        sampling: How words are drawn.
        which: Row and sample of each prompt, which fix what is drawn; not needed where nothing is.

    Returns:
        Tokens of each answer, with its end where it came to one.
    """
    longest, pad = max(map(len, prompts)), tokenizer.pad_token_id or 0
    ids = np.full((len(prompts), longest), pad, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # padded before: what follows must be the answer
        ids[row, longest - len(prompt) :], mask[row, longest - len(prompt) :] = prompt, 1
    end = ends(model, tokenizer)
    settings = GenerationConfig(
        max_new_tokens=most, do_sample=False, num_beams=1, pad_token_id=pad,
        eos_token_id=end or None,
    )  # fmt: skip
    given = (torch.from_numpy(side).to(model.device) for side in (ids, mask))
    with torch.inference_mode(), _own_settings(model):
        written = model.generate(  # type: ignore[operator]
            **dict(zip(("input_ids", "attention_mask"), given, strict=True)),
            generation_config=settings,
            logits_processor=LogitsProcessorList(_drawing(sampling, which, most)),
        )
    new = written[:, longest:].cpu().numpy()
    return [_until(row, end) for row in new]


def _drawing(
    sampling: Sampling, which: Sequence[tuple[int, int]], most: int
) -> list[LogitsProcessor]:
    if sampling.temperature == 0:
        return []
    steps: list[LogitsProcessor] = []
    if sampling.temperature != 1:
        steps.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    numbers = np.stack([sampling.draws(row, sample, most) for row, sample in which])
    return [*steps, _Drawn(torch.from_numpy(numbers))]


def _until(row: Tokens, end: Sequence[int]) -> Tokens:
    """Return a row's tokens up to the first that ends it, with it."""
    at = np.flatnonzero(np.isin(row, end))
    return row if len(at) == 0 else row[: at[0] + 1]


@contextmanager
def _own_settings(model: PreTrainedModel) -> Iterator[None]:
    """Put aside what the model's folder says of sampling, from which unset values are taken.

    The padding too: rows that have come to their end are filled with it, of which transformers
    warns where it has found that nothing need be masked.
    """
    before, pad = model.generation_config, model.config.pad_token_id
    model.generation_config, model.config.pad_token_id = GenerationConfig(), None
    try:
        yield
    finally:
        model.generation_config, model.config.pad_token_id = before, pad
