"""BERT's tokens (uncased): basic tokenization, then the longest pieces of a vocabulary (Devlin et al., 2019)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_LONGEST = 100  # characters of a word; longer ones are unknown


class WordPiece:
    """Texts to token ids by the vocabulary in a file of one piece a line."""

    def __init__(self, vocabulary: Path) -> None:
        pieces = vocabulary.read_text(encoding="utf-8").splitlines()
        self._ids = {piece: index for index, piece in enumerate(pieces)}

    def feeds(self, texts: Sequence[str], longest: int) -> dict[str, np.ndarray]:
        """The inputs of a BERT for a batch of texts, cut to `longest` tokens and padded to the longest of them."""
        rows = [self.ids(text, longest) for text in texts]
        shape = (len(rows), max(map(len, rows)))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)], mask[index, : len(row)] = row, 1
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64)}

    def ids(self, text: str, longest: int) -> list[int]:
        """The tokens of a text between [CLS] and [SEP], `longest` at most with these."""
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self._ids["[CLS]"], *pieces[: longest - 2], self._ids["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        """Each piece is the longest that the vocabulary has; a word it cannot spell is unknown."""
        found, start = [], 0
        while start < len(word) <= _LONGEST:
            ends = range(len(word), start, -1)
            prefix = "##" if start else ""
            end = next((end for end in ends if prefix + word[start:end] in self._ids), None)
            if end is None:
                return [self._ids["[UNK]"]]
            found.append(self._ids[prefix + word[start:end]])
            start = end
        return found or [self._ids["[UNK]"]]


def _words(text: str) -> list[str]:
    """Lower case without accents, punctuation by itself."""
    plain = (c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _is_punctuation(c) else c for c in plain).split()


def _is_punctuation(character: str) -> bool:
    is_symbol = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return is_symbol or unicodedata.category(character).startswith("P")
