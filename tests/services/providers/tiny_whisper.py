"""A tiny Whisper model, whose weights are set by hand: it counts, one word for each half second of sound."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
SECONDS_A_WORD = 0.5
WINDOW_SECONDS = 30
"""What a Whisper model hears at once; what is shorter is filled with silence."""

SPECIAL = [
    *("<|endoftext|>", "<|startoftranscript|>", "<|translate|>", "<|transcribe|>"),
    *("<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
]
TOKENS = ["<unk>", *WORDS, *SPECIAL]
END = TOKENS.index("<|endoftext|>")

WIDTH, MELS, POSITIONS = 64, 80, 448
LOUD, STEADY, REST = 0, 62, 63
"""Places in the vectors: how much sound there is, what keeps the norm the same, what is left over. Between them, each
position of the text has its own."""
FIRST = 1
"""The position at which the first word is asked for, behind the two tokens of the prompt."""


def make(folder: Path) -> Path:
    """Write the model, with all that belongs to it."""
    spec = importlib.import_module("ctranslate2.specs").WhisperSpec(1, 1, 1, 1)
    _encoder(spec.encoder)
    _decoder(spec.decoder)
    spec.register_vocabulary(TOKENS)
    spec.config.suppress_ids = spec.config.suppress_ids_begin = spec.config.lang_ids = []
    spec.config.alignment_heads = [(0, 0)]
    spec.validate()
    spec.save(str(folder))
    words = tokenizers.models.WordLevel({token: at for at, token in enumerate(TOKENS)}, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _encoder(spec: Any) -> None:
    """Half of the frames of a sound; each says whether there is some. Of silence at the end, the features are 0."""
    spec.conv1.weight, spec.conv1.bias = _zeros(WIDTH, MELS, 3), _zeros(WIDTH)
    spec.conv1.weight[LOUD, :, 1] = 10 / MELS
    spec.conv2.weight, spec.conv2.bias = _zeros(WIDTH, WIDTH, 3), _zeros(WIDTH)
    spec.conv2.weight[LOUD, LOUD, 1] = 10
    spec.conv2.bias[STEADY] = 1
    spec.position_encodings.encodings = _zeros(50 * WINDOW_SECONDS, WIDTH)
    _layer(spec.layer[0])
    _norm(spec.layer_norm)


def _decoder(spec: Any) -> None:
    """At each position its word, or the end where there was less sound than for the word."""
    spec.embeddings.weight = _zeros(len(TOKENS), WIDTH)
    spec.position_encodings.encodings = _zeros(POSITIONS, WIDTH)
    spec.position_encodings.encodings[:, STEADY] = 100
    for at in range(len(WORDS)):
        spec.position_encodings.encodings[FIRST + at, FIRST + at] = 10
    spec.position_encodings.encodings[FIRST + len(WORDS) :, FIRST + len(WORDS)] = 10
    layer = spec.layer[0]
    _layer(layer)
    _norm(layer.attention.layer_norm)
    for linear, rows in zip(layer.attention.linear, (WIDTH, 2 * WIDTH, WIDTH), strict=True):
        _linear(linear, rows, WIDTH)
    layer.attention.linear[1].weight[WIDTH + LOUD, LOUD] = 1  # all frames alike: the share of those that are loud
    layer.attention.linear[1].weight[WIDTH + LOUD, REST] = -1
    layer.attention.linear[2].weight[LOUD, LOUD] = 10
    _norm(spec.layer_norm)
    _linear(spec.projection, len(TOKENS), WIDTH)
    loud = 10 * np.sqrt(WIDTH) / WINDOW_SECONDS  # what a second of sound is worth
    weight = spec.projection.weight
    for at in range(len(WORDS)):
        weight[1 + at, FIRST + at] = 10
        weight[END, FIRST + at] = 10 + 100 * (at + 0.75) * SECONDS_A_WORD * loud / 10
    weight[END, FIRST + len(WORDS)] = 1000
    weight[END, LOUD] = -100
    weight[END, STEADY] = 0.1
    weight[:, REST] = -weight.sum(axis=1)  # the norm takes the mean away, which so makes no difference


def _layer(spec: Any) -> None:
    """A layer that changes nothing."""
    _norm(spec.self_attention.layer_norm)
    _linear(spec.self_attention.linear[0], 3 * WIDTH, WIDTH)
    _linear(spec.self_attention.linear[1], WIDTH, WIDTH)
    _norm(spec.ffn.layer_norm)
    _linear(spec.ffn.linear_0, WIDTH, WIDTH)
    _linear(spec.ffn.linear_1, WIDTH, WIDTH)


def _norm(spec: Any) -> None:
    spec.gamma, spec.beta = np.ones(WIDTH, np.float32), _zeros(WIDTH)


def _linear(spec: Any, rows: int, columns: int) -> None:
    spec.weight, spec.bias = _zeros(rows, columns), _zeros(rows)


def _zeros(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.zeros(shape, np.float32)
