"""A tiny voice of Piper's: each phoneme sounds for 10 ms, at a pitch of its own, and the voice says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

RATE = 16_000
HOP = 160
"""Samples of one phoneme, 10 ms; behind each there is a mark that takes as long."""


def make(folder: Path, **fields: Any) -> Path:
    """Write the voice and its description, with these fields of it changed. None leaves one out."""
    path = folder / "voice.onnx"
    onnx.save(_model(fields.get("num_speakers", 1) > 1), str(path))
    described: dict[str, Any] = {
        "audio": {"sample_rate": RATE},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "espeak",
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "num_symbols": 256,
        "num_speakers": 1,
        "speaker_id_map": {},
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "hop_length": HOP,
        **fields,
    }
    described = {name: value for name, value in described.items() if value is not None}
    (folder / "voice.onnx.json").write_text(json.dumps(described))
    return path


def _model(speakers: bool) -> onnx.ModelProto:
    """Waves of as many periods as the phoneme's number, repeated as often as the length says."""
    waves = np.sin(2 * np.pi * np.outer(np.arange(256), np.arange(HOP) / HOP)).astype(np.float32)
    waves[:4] = 0  # marks and pauses
    constants = {
        "waves": waves,
        "second": np.array([1]),
        "shape": np.array([1, 1, 1, -1]),
        "one": np.array([1]),
        "unit": np.array([1], np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["scales", "second"], ["scale"]),
        helper.make_node("Mul", ["scale", "unit"], ["durations"]),
        helper.make_node("Ceil", ["durations"], ["lengths"]),
        helper.make_node("Cast", ["lengths"], ["counts"], to=TensorProto.INT64),
        helper.make_node("Gather", ["waves", "input"], ["pieces"]),  # 1, phonemes, HOP
        helper.make_node("Concat", ["one", "one", "counts"], ["repeats"], axis=0),
        helper.make_node("Tile", ["pieces", "repeats"], ["repeated"]),
        helper.make_node("Reshape", ["repeated", "shape"], ["output"]),
        helper.make_node("Shape", ["input"], ["size"]),
        helper.make_node("Expand", ["lengths", "size"], ["w_ceil"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "samples"])]
    outputs.append(helper.make_tensor_value_info("w_ceil", TensorProto.FLOAT, [1, "phonemes"]))
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "voice", inputs, outputs, initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
