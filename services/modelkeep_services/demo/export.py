"""A fitted estimator as one ONNX file that takes the raw columns by name.

Written node by node with the `onnx` package: the graph is small enough to read, and the
encoding of every category travels inside the artifact that uses it. (skl2onnx 1.20
could not convert a HistGradientBoostingClassifier of scikit-learn 1.9 for onnx 1.23.)

    word ── LabelEncoder ──┐
    word ── LabelEncoder ──┼─ Concat ── TreeEnsembleRegressor or MatMul+Add ── Sigmoid
    number ────────────────┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from modelkeep_services.demo.decisions import Numbers

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

OUTPUT: Final = "score"
_LEAVES: Final = "ai.onnx.ml"
_OPSETS: Final = (helper.make_opsetid("", 21), helper.make_opsetid(_LEAVES, 4))
_IR_VERSION: Final = 10


class Encoding(dict[str, float]):
    """Category → number; `unseen` is the number of any other word."""

    def __init__(self, values: Mapping[str, float], unseen: float) -> None:
        super().__init__(values)
        self.unseen = unseen


def trees(
    model: HistGradientBoostingClassifier,
    features: Sequence[str],
    encodings: Mapping[str, Encoding],
    about: Mapping[str, str],
) -> bytes:
    """Export boosted trees with binary outcome; no native categorical splits."""
    # scikit-learn offers no public view of its trees; every exporter reads these two.
    forest = [stage[0].nodes for stage in model._predictors]  # noqa: SLF001
    base = float(model._baseline_prediction.ravel()[0])  # noqa: SLF001
    nodes = np.concatenate(forest)
    if nodes["is_categorical"].any():
        message = "native categorical splits are not exported: encode the words first"
        raise ValueError(message)
    place = np.concatenate([np.arange(len(tree)) for tree in forest])
    tree_of = np.repeat(np.arange(len(forest)), [len(tree) for tree in forest])
    leaf = nodes["is_leaf"].astype(bool)
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        ["matrix"],
        ["raw"],
        domain=_LEAVES,
        n_targets=1,
        nodes_treeids=tree_of.tolist(),
        nodes_nodeids=place.tolist(),
        nodes_featureids=np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_values_as_tensor=_doubles(np.where(leaf, 0, nodes["num_threshold"])),
        nodes_truenodeids=nodes["left"].astype(int).tolist(),
        nodes_falsenodeids=nodes["right"].astype(int).tolist(),
        nodes_missing_value_tracks_true=nodes["missing_go_to_left"]
        .astype(int)
        .tolist(),
        target_treeids=tree_of[leaf].tolist(),
        target_nodeids=place[leaf].tolist(),
        target_ids=[0] * int(leaf.sum()),
        target_weights_as_tensor=_doubles(nodes["value"][leaf]),
        base_values_as_tensor=_doubles(np.array([base])),
    )
    widen = helper.make_node("Cast", ["raw"], ["log_odds"], to=TensorProto.DOUBLE)
    return _whole([ensemble, widen], features, encodings, about)


def linear(
    weights: Numbers,
    intercept: float,
    features: Sequence[str],
    encodings: Mapping[str, Encoding],
    about: Mapping[str, str],
) -> bytes:
    """Export a logistic regression: one weight a feature, words through their codes."""
    nodes = [
        _constant("weights", weights.reshape(-1, 1)),
        _constant("intercept", np.array([intercept])),
        helper.make_node("MatMul", ["matrix", "weights"], ["weighted"]),
        helper.make_node("Add", ["weighted", "intercept"], ["log_odds"]),
    ]
    return _whole(nodes, features, encodings, about)


def _whole(
    middle: list[NodeProto],
    features: Sequence[str],
    encodings: Mapping[str, Encoding],
    about: Mapping[str, str],
) -> bytes:
    codes = [
        helper.make_node(
            "LabelEncoder",
            [name],
            [f"{name}.code"],
            domain=_LEAVES,
            keys_tensor=numpy_helper.from_array(np.array(list(code), dtype=object)),
            values_tensor=_doubles(np.array(list(code.values()))),
            default_tensor=_doubles(np.array([code.unseen])),
        )
        for name, code in encodings.items()
    ]
    columns = [f"{name}.code" if name in encodings else name for name in features]
    gather = helper.make_node("Concat", columns, ["matrix"], axis=1)
    chance = helper.make_node("Sigmoid", ["log_odds"], [OUTPUT])
    inputs = [
        helper.make_tensor_value_info(
            name,
            TensorProto.STRING if name in encodings else TensorProto.DOUBLE,
            [None, 1],
        )
        for name in features
    ]
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, [None, 1])
    graph = helper.make_graph(
        [*codes, gather, *middle, chance], "decision", inputs, [output]
    )
    model: ModelProto = helper.make_model(
        graph,
        opset_imports=_OPSETS,
        ir_version=_IR_VERSION,
        producer_name="modelkeep",
    )
    helper.set_model_props(model, dict(sorted(about.items())))
    return bytes(model.SerializeToString(deterministic=True))


def _constant(name: str, values: Numbers) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=_doubles(values))


def _doubles(values: Numbers) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=np.float64))
