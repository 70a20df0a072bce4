"""A tokeniser trained on a task's own rows, for teachers that start from nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from distill_lab.errors import ConfigError
from distill_lab.tasks.rows import Part

_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


_MOST = 2**24  # tokens; the largest vocabularies have 2^18
_END = "<|endoftext|>"


def train_tokenizer(
    rows: Part, vocab_size: int, max_length: int, framed: bool = True
) -> PreTrainedTokenizerBase:
    """Train a tokeniser on a task's own texts.

    Byte-level BPE, because its training gives the same vocabulary every time; that of WordPiece
    breaks ties in the order of a hash table, which no seed fixes.

    Args:
        rows: Training rows; nothing else is looked at.
        vocab_size: Upper bound of the vocabulary; 256 bytes and the special tokens are its least.
        max_length: Length that the tokeniser announces as the models' longest.
        framed: In lower case and framed as BERT does, `[CLS] text [SEP] pair [SEP]`; otherwise as
            GPT-2 reads, which loses nothing of a text and knows only its end.

    Raises:
        ConfigError: If no vocabulary has that size.
    """
    if not 0 < vocab_size <= _MOST:
        raise ConfigError(f"teacher.vocab_size={vocab_size}: 1 to {_MOST:,} tokens")
    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL["unk_token"] if framed else None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=framed)
    tokenizer.decoder = decoders.ByteLevel()
    if framed:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_SPECIAL.values()) if framed else [_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(rows.texts(), trainer)
    if not framed:
        return _finished(tokenizer, max_length, eos_token=_END, bos_token=_END, pad_token=_END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return _finished(tokenizer, max_length, model_input_names=names, **_SPECIAL)


@dataclass(frozen=True)
class Words:
    """A vocabulary, token by token.

    Attributes:
        texts: Each token as text, without spaces around it.
        whole: Which are whole words of letters, `[vocabulary]`: in vocabularies that mark the
            beginnings of words (Ġ, ▁) those with a mark, else those that are not marked as
            continuing one (##).
    """

    texts: list[str]
    whole: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Words:
        """Return the vocabulary of a tokeniser."""
        every = list(range(len(tokenizer)))
        tokens = tokenizer.convert_ids_to_tokens(every)
        # As text, because byte-level vocabularies write bytes in signs of their own.
        decoded = tokenizer.batch_decode([[token] for token in every])
        texts = [str(text).strip() for text in decoded]
        marked = any(token.startswith(("Ġ", "▁")) for token in tokens)
        special = set(tokenizer.all_special_ids)
        whole = [
            at not in special
            and token.startswith(("Ġ", "▁")) == marked
            and not token.startswith("##")
            and text.isalpha()
            for at, token, text in zip(every, tokens, texts, strict=True)
        ]
        return cls(texts, np.array(whole, dtype=bool))


def _finished(tokenizer: Tokenizer, max_length: int, **more: Any) -> PreTrainedTokenizerBase:
    finished: PreTrainedTokenizerBase = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, **more
    )
    return finished
