"""A tokeniser trained on a task's own rows, for teachers that start from nothing."""

from __future__ import annotations

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import BertTokenizer, PreTrainedTokenizerBase

from distill_lab.tasks.rows import Rows

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def train_tokenizer(rows: Rows, vocab_size: int, max_length: int) -> PreTrainedTokenizerBase:
    """Train a WordPiece tokeniser as BERT's (lower case, `[CLS] text [SEP] pair [SEP]`).

    Args:
        rows: Training rows; nothing else is looked at.
        vocab_size: Upper bound of the vocabulary.
        max_length: Length that the tokeniser announces as the models' longest.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=_SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator([*rows.text, *(rows.pair or [])], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")],
    )
    finished: PreTrainedTokenizerBase = BertTokenizer(
        tokenizer_object=tokenizer, model_max_length=max_length
    )
    return finished
