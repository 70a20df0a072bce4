"""Blocks of a corpus as rows: what follows, or what is masked, is to be predicted."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill_lab.tasks.cuts import Cuts
from distill_lab.tasks.model_rows import ModelRows, rows_at_once
from distill_lab.tasks.rows import Ids
from distill_lab.tasks.token_file import TokenFile
from distill_lab.types import Batch

Own = TypeVar("Own", bound="BlockRows")


class BlockRows(ModelRows):
    """Blocks of a mapped corpus.

    Args:
        ids: Stable ids of the blocks.
        file: The corpus as tokens.
        cuts: Where the blocks lie.
        classes: Words of the vocabulary.
        pad: What fills a batch.
        whole: Whether these blocks predict the whole corpus, so that its bytes are theirs.
    """

    def __init__(
        self, ids: Ids, file: TokenFile, cuts: Cuts, classes: int, pad: int, whole: bool
    ) -> None:
        super().__init__(ids, np.zeros((len(ids), 0), dtype=np.int64))
        self.pad = pad
        self.file = file
        self.cuts = cuts
        self.classes = classes
        self.bytes = file.size if whole else None

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each block, `[blocks]`."""
        return self.cuts.ends - self.cuts.starts

    @property
    def at_once(self) -> int:
        """How many blocks are scored at once: their logits take half a GiB."""
        return rows_at_once(self, self.classes)

    def tokens_of(self, position: int) -> npt.NDArray[np.int64]:
        """Return the tokens of a block."""
        part = self.file.tokens[self.cuts.starts[position] : self.cuts.ends[position]]
        return part.astype(np.int64)

    def take(self: Own, index: Ids) -> Own:
        """Return the blocks at these positions, with their ids."""
        some = copy.copy(self)
        some.ids, some.labels = self.ids[index], self.labels[index]
        some.cuts, some.bytes = self.cuts.take(index), None
        return some

    def as_scored(self) -> BlockRows:
        """Return the blocks as they are when they are scored rather than trained on."""
        return self

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the blocks at these positions as one batch."""
        blocks = [self.tokens_of(at) for at in positions]
        longest = max(map(len, blocks))
        shape = (len(blocks), longest)
        ids, mask = np.full(shape, self.pad), np.zeros(shape, dtype=np.int64)
        asked, labels = np.zeros(shape, dtype=bool), list[npt.NDArray[np.int64]]()
        for row, (at, block) in enumerate(zip(positions, blocks, strict=True)):
            given, where, words = self.posed(at, block, getattr(positions, "draw", 0))
            ids[row, : len(block)], mask[row, : len(block)] = given, 1
            asked[row, where] = True
            labels.append(words)
        return Batch(
            torch.from_numpy(self.ids_of(positions)),
            {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)},
            torch.from_numpy(np.concatenate(labels)),
            torch.from_numpy(asked),
            form="tokens",
            per_step=getattr(positions, "per_step", {}),
        )

    def ids_of(self, positions: Sequence[int]) -> Ids:
        """Return the ids under which a teacher's signals for these blocks are found."""
        ids: Ids = self.ids[np.asarray(positions)]
        return ids

    def posed(
        self, position: int, block: npt.NDArray[np.int64], draw: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return what a model reads of a block, where it is asked, and what is right there.

        Args:
            position: Of the block among these rows.
            block: Its tokens.
            draw: Which of the draws, where there is something to be drawn.
        """
        raise NotImplementedError

    def padded(self, positions: Sequence[int]) -> dict[str, Tensor]:
        """Return the models' inputs for these blocks."""
        return self.__getitems__(positions).inputs


class CausalRows(BlockRows):
    """Blocks in which each token is to be predicted from those before it."""

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """How many tokens of each block are asked for: its first has nothing before it."""
        return self.lengths - np.maximum(self.cuts.scored, 1)

    def posed(
        self, position: int, block: npt.NDArray[np.int64], draw: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Ask at each token for the next one."""
        first = max(int(self.cuts.scored[position]), 1)
        return block, np.arange(first - 1, len(block) - 1), block[first:]


@dataclass(frozen=True)
class Masking:
    """How words are hidden: Devlin et al. 2019 (arXiv 1810.04805), section 3.1.

    Attributes:
        share: Of a block's tokens that are asked for.
        mask: Token that stands for most of them.
        frame: Tokens before and behind each block.
        words: Tokens from which random ones are drawn, `[words]`.
        weights: How likely each token of the vocabulary is to be asked for, relative to others;
            None for alike (DistilBERT smooths by frequency).
        kept, random: Shares of the asked tokens that stay, and that are replaced by any other.
        draws: So many ways to hide a block's words are taken one after another; None for others in
            each epoch.
    """

    share: float
    mask: int
    frame: tuple[list[int], list[int]]
    words: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None = None
    kept: float = 0.1
    random: float = 0.1
    draws: int | None = None


class MaskedRows(BlockRows):
    """Blocks of which some tokens are hidden, drawn from row id and epoch.

    Args:
        masking: How.
    """

    def __init__(
        self,
        ids: Ids,
        file: TokenFile,
        cuts: Cuts,
        classes: int,
        pad: int,
        whole: bool,
        masking: Masking,
    ) -> None:
        super().__init__(ids, file, cuts, classes, pad, whole)
        self.masking = masking
        self.unrolled = False

    def as_scored(self) -> MaskedRows:
        """Return the blocks with words hidden alike, however rare they are."""
        plain = copy.copy(self)
        plain.masking = replace(self.masking, weights=None, draws=None)
        return plain

    @property
    def drawn(self) -> str:
        """Why there is no end of different rows."""
        return "" if self.masking.draws else "other words are hidden in each epoch (task.draws)"

    @property
    def distinct(self) -> MaskedRows:
        """Each block as often as there are ways to hide its words, each with an id of its own."""
        draws = self.masking.draws or 1
        every = self.take(np.tile(np.arange(len(self)), draws))
        every.ids = every.ids * draws + np.repeat(np.arange(draws), len(self))
        every.unrolled = True
        return every

    def ids_of(self, positions: Sequence[int]) -> Ids:
        """Return the ids under which a teacher's signals for these blocks are found."""
        ids, draws = super().ids_of(positions), self.masking.draws
        if draws is None or self.unrolled:
            return ids
        return ids * draws + getattr(positions, "draw", 0) % draws

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """How many tokens of each block are hidden: the share, at least one."""
        content = self.lengths - sum(map(len, self.masking.frame))
        counts: npt.NDArray[np.int64] = np.rint(self.masking.share * content).astype(np.int64)
        return np.maximum(counts, 1)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each block with what stands around it, `[blocks]`."""
        around = sum(map(len, self.masking.frame))
        lengths: npt.NDArray[np.int64] = super().lengths + np.int64(around)
        return lengths

    def tokens_of(self, position: int) -> npt.NDArray[np.int64]:
        """Return the tokens of a block with what stands around it."""
        before, behind = self.masking.frame
        return np.concatenate([before, super().tokens_of(position), behind]).astype(np.int64)

    def posed(
        self, position: int, block: npt.NDArray[np.int64], draw: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Hide some tokens: most behind the mask, some behind another word, some stay."""
        how, row = self.masking, int(self.ids[position])
        if how.draws is not None:
            row, draw = divmod(row, how.draws) if self.unrolled else (row, draw % how.draws)
        random = np.random.default_rng([row, draw])
        before, behind = map(len, how.frame)
        content = np.arange(before, len(block) - behind)
        count = max(round(how.share * len(content)), 1)
        weights = None
        if how.weights is not None:
            weights = how.weights[block[content]]
            weights = weights / weights.sum()
        where = np.sort(random.choice(content, count, replace=False, p=weights))
        given, fate = block.copy(), random.random(count)
        given[where[fate >= how.kept + how.random]] = how.mask
        other = where[(fate >= how.kept) & (fate < how.kept + how.random)]
        given[other] = random.choice(how.words, len(other))
        return given, where, block[where]
