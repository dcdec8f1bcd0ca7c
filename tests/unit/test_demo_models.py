"""The demo's models: trained honestly, kept as ONNX, explained, and told in a card."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier

from modelkeep.errors import Corrupt, Invalid
from modelkeep.objects import open_objects
from modelkeep_services.demo import (
    artifacts,
    cards,
    clinic,
    credit,
    explain,
    export,
    flights,
    training,
)
from modelkeep_services.demo.artifacts import Artifact
from modelkeep_services.demo.decisions import Columns, Decisions, Numbers
from modelkeep_services.demo.recipes import Recipe

SPRING = flights.midnight("2013-04-01")


@pytest.fixture(scope="module")
def year() -> Decisions:
    return flights.load()


@pytest.fixture(scope="module")
def graph(year: Decisions) -> bytes:
    return training.fit_known(flights.RECIPE, year, flights.JANUARY, SPRING)[0]


@pytest.fixture(scope="module")
def champion(graph: bytes) -> Artifact:
    return artifacts.opened(graph, artifacts.digest_of(graph))


def test_the_same_rows_give_the_same_artifact(year: Decisions, graph: bytes) -> None:
    again, rows = training.fit_known(flights.RECIPE, year, flights.JANUARY, SPRING)
    assert artifacts.digest_of(again) == artifacts.digest_of(graph)
    assert (year.known_at[rows] < SPRING).all()


def test_nobody_trains_on_what_has_not_happened(year: Decisions) -> None:
    rows = year.between(flights.JANUARY, SPRING)
    with pytest.raises(ValueError, match="without an outcome"):
        training.fit(flights.RECIPE, year.take(rows), year.outcome[rows])


def test_the_artifact_says_what_scikit_learn_says() -> None:
    columns, outcome = _toy()
    matrix = np.column_stack([columns["x"], columns["z"]]).astype(np.float64)
    matrix[::7, 1] = np.nan
    fitted = HistGradientBoostingClassifier(early_stopping=False).fit(matrix, outcome)
    graph = export.trees(fitted, ("x", "z"), {}, {"recipe": "toy"})
    model = artifacts.opened(graph, artifacts.digest_of(graph))
    given = model.score({"x": matrix[:, 0], "z": matrix[:, 1]})
    wanted = fitted.predict_proba(matrix)[:, 1]
    assert np.abs(given - wanted).max() < artifacts.TOLERANCE


def test_one_row_scores_as_it_did_among_many(
    year: Decisions, champion: Artifact
) -> None:
    rows = year.between(SPRING, SPRING + np.timedelta64(1, "D"))[:300]
    columns = year.take(rows)
    together = champion.score(columns)
    alone = [champion.score(artifacts.one_row(columns, i))[0] for i in range(len(rows))]
    assert together.tolist() == alone


def test_a_linear_score_does_not_depend_on_its_batch_either() -> None:
    applications = credit.load()
    graph = training.fit(credit.RECIPE, applications.book, applications.book_outcome)
    model = artifacts.opened(graph, artifacts.digest_of(graph))
    columns = applications.arriving.columns
    alone = [model.score(artifacts.one_row(columns, i))[0] for i in range(400)]
    assert model.score(columns).tolist() == alone
    assert model.score({n: v[:0] for n, v in columns.items()}).tolist() == []


def test_a_rerun_is_equal_close_or_different() -> None:
    assert artifacts.rerun(0.25, 0.25) == "equal"
    assert artifacts.rerun(0.25, 0.25 + 5e-7) == "within tolerance"
    assert artifacts.rerun(0.25, 0.26) == "different"
    assert artifacts.rerun(0.25, math.nan) == "different"


def test_an_artifact_is_stored_under_its_digest(graph: bytes, tmp_path: Path) -> None:
    objects = open_objects(tmp_path)
    digest = artifacts.save(graph, objects)
    assert artifacts.save(graph, objects) == digest
    assert [p.name for p in tmp_path.iterdir()] == [digest]
    opened = artifacts.load(objects, digest)
    assert set(opened.features) == set(flights.RECIPE.features)


def test_other_bytes_are_never_loaded(graph: bytes, tmp_path: Path) -> None:
    objects = open_objects(tmp_path)
    digest = artifacts.save(graph, objects)
    (tmp_path / digest).write_bytes(graph[:-1] + bytes([graph[-1] ^ 1]))
    with pytest.raises(Corrupt, match=f"not {digest}"):
        artifacts.load(objects, digest)


def test_an_artifact_may_not_point_outside_itself() -> None:
    weight = TensorProto(name="w", data_type=TensorProto.DOUBLE, dims=[1])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret")
    graph = helper.make_graph([], "g", [], [], initializer=[weight])
    outside = helper.make_model(graph).SerializeToString()
    with pytest.raises(Invalid, match="outside itself"):
        artifacts.opened(outside, artifacts.digest_of(outside))


def test_a_missing_or_mistyped_column_is_named(
    year: Decisions, champion: Artifact
) -> None:
    columns = dict(artifacts.one_row(year.columns, 0))
    with pytest.raises(Invalid, match="carrier"):
        champion.score({n: v for n, v in columns.items() if n != "carrier"})
    with pytest.raises(Invalid, match="distance"):
        champion.score(columns | {"distance": np.array(["far"])})


def test_an_unseen_carrier_and_a_missing_number_still_score(
    year: Decisions, champion: Artifact
) -> None:
    row = dict(artifacts.one_row(year.columns, 0))
    strange = row | {"carrier": np.array(["ZZ"]), "temp": np.array([np.nan])}
    assert 0 < champion.score(strange)[0] < 1


def test_the_champion_is_right_in_rank_and_wrong_in_level_in_april(
    year: Decisions, champion: Artifact
) -> None:
    rows = year.between(SPRING, flights.midnight("2013-05-01"))
    april = training.quality(champion.score(year.take(rows)), year.outcome[rows])
    assert april.n == 27_564
    assert 0.62 < april.auc < 0.69
    assert april.predicted < 0.20
    assert april.actual == pytest.approx(0.279, abs=0.001)


def test_rolling_origins_score_only_later_days(year: Decisions) -> None:
    days = ("2013-03-01", "2013-03-16", "2013-04-01")
    origins = [flights.midnight(day) for day in days]
    held = training.rolling_origin(flights.RECIPE, year, flights.JANUARY, origins)
    assert len(held.folds) == 2
    assert (year.decided_at[held.rows] >= origins[0]).all()
    assert held.pooled.n == len(held.rows) == sum(f.n for f in held.folds)
    assert held.pooled.auc < 0.75  # its own January to March would flatter it


def test_quality_without_outcomes_is_not_a_number() -> None:
    none = training.quality(np.array([0.2]), np.array([np.nan]))
    assert none.n == 0
    assert math.isnan(none.auc)


def test_a_better_ranking_wins_and_a_worse_one_loses() -> None:
    draw = np.random.default_rng(7)
    days = np.repeat(np.arange("2013-01-01", "2013-01-31", dtype="datetime64[D]"), 200)
    truth = draw.random(len(days))
    outcome = (draw.random(len(days)) < truth).astype(np.float64)
    vague = 0.5 + (truth - 0.5) * 0.2 + draw.normal(0, 0.1, len(days))
    assert training.compare(vague, truth, outcome, days).better == "challenger"
    assert training.compare(truth, vague, outcome, days).better == "champion"
    assert training.compare(truth, truth, outcome, days).better == "neither"


def test_contributions_add_up_to_the_score(year: Decisions, champion: Artifact) -> None:
    rows = year.between(SPRING, SPRING + np.timedelta64(1, "D"))
    columns = year.take(rows)
    typical = explain.typical(year.take(year.between(flights.JANUARY, SPRING)))
    explainer = explain.Explainer(champion, flights.RECIPE.groups, typical)
    scores = champion.score(columns)
    given = explainer.contributions(columns, scores)
    assert explainer.valid(given, scores).all()
    assert not explainer.valid(given + 0.01, scores).any()
    for row, reasons in zip(given, explainer.reasons(given), strict=True):
        raised = [row[explainer.names.index(name)] for name in reasons]
        assert raised == sorted(raised, reverse=True)
        assert all(value > 0 for value in raised)


def test_importance_is_shared_among_the_features(
    year: Decisions, champion: Artifact
) -> None:
    columns = year.take(np.arange(0, 70_000, 70))
    shares = explain.importance(champion, columns, explain.typical(columns))
    assert set(shares) == set(flights.RECIPE.features)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["minute_of_day"] > shares["weekday"] > 0


def test_groups_must_name_every_feature_once(champion: Artifact) -> None:
    with pytest.raises(ValueError, match="groups name"):
        explain.Explainer(champion, {"carrier": ("carrier",)}, {})


def test_a_linear_model_is_explained_exactly() -> None:
    """In log-odds it is a sum, so each contribution is weight times distance."""
    columns, outcome = _toy()
    graph = training.fit(_toy_recipe("linear"), columns, outcome)
    model = artifacts.opened(graph, artifacts.digest_of(graph))
    reference: dict[str, float | str] = {"x": 0.0, "z": 0.0, "word": "a"}
    groups = {name: (name,) for name in reference}
    explainer = explain.Explainer(model, groups, reference)
    given = explainer.contributions(columns, model.score(columns))
    slope = given[:, 0] / np.asarray(columns["x"], dtype=np.float64)
    assert np.ptp(slope) < 1e-9
    assert np.abs(given[columns["word"] == "a", 2]).max() < 1e-9


def test_every_refusal_has_reason_codes() -> None:
    applications = credit.load()
    graph = training.fit(credit.RECIPE, applications.book, applications.book_outcome)
    model = artifacts.opened(graph, artifacts.digest_of(graph))
    columns = applications.arriving.columns
    scores = model.score(columns)
    explainer = explain.Explainer(
        model, credit.RECIPE.groups, explain.typical(applications.book)
    )
    reasons = explainer.reasons(explainer.contributions(columns, scores))
    refused = credit.refused(scores)
    assert 0 < refused.sum() < len(scores)
    for groups, no in zip(reasons, refused, strict=True):
        assert not no or credit.notice(groups)


def test_the_credit_model_is_measured_on_rows_it_did_not_see() -> None:
    applications = credit.load()
    apart = training.cross_validated(
        credit.RECIPE, applications.book, applications.book_outcome
    )
    assert apart.n == 600
    assert 0.7 < apart.auc < 0.85


def test_the_vendor_s_replacement_is_another_model_by_the_same_name() -> None:
    book, malignant, decisions = clinic.load()
    approved = clinic.deliver("as approved", book, malignant)
    swapped = clinic.deliver("silent replacement", book, malignant)
    assert artifacts.digest_of(approved) != artifacts.digest_of(swapped)
    before = artifacts.opened(approved, artifacts.digest_of(approved))
    after = artifacts.opened(swapped, artifacts.digest_of(swapped))
    assert before.about == after.about
    assert before.features == after.features
    again = after.score(decisions.columns)
    pairs = zip(before.score(decisions.columns), again, strict=True)
    reruns = [artifacts.rerun(one, other) for one, other in pairs]
    assert reruns.count("different") > 0.95 * len(reruns)


def test_the_card_is_valid_cyclonedx(graph: bytes) -> None:
    card = _card(graph)
    assert card == _card(graph)
    told = json.loads(card)
    assert told["specVersion"] == "1.6"
    model = told["components"][0]
    assert model["hashes"][0]["content"] == artifacts.digest_of(graph)
    assert len(model["modelCard"]["modelParameters"]["inputs"]) == 16
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "auc", "value": "0.7000", "slice": "April (n=10)"} in metrics


def test_the_card_passes_cyclonedx_s_own_schema(graph: bytes) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    fault = validation.JsonStrictValidator(schema).validate_str(_card(graph).decode())
    assert fault is None


def _card(graph: bytes) -> bytes:
    return cards.card(
        model="late-arrival",
        version="1",
        digest=artifacts.digest_of(graph),
        recipe=flights.RECIPE,
        statement=flights.STATEMENT,
        data=cards.dataset("flights.parquet"),
        measured={"April": training.Quality(10, 0.2, 0.3, 0.7, 0.15)},
    )


def _toy() -> tuple[Columns, Numbers]:
    draw = np.random.default_rng(3)
    x, z = draw.normal(size=4000), draw.normal(size=4000)
    word = draw.choice(["a", "b", "c"], size=4000).astype(np.str_)
    odds = x + (word == "c") + x * z
    outcome = (draw.random(4000) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    return {"x": x, "z": z, "word": word}, outcome


def _toy_recipe(method: Literal["trees", "linear"]) -> Recipe:
    groups = {name: (name,) for name in ("x", "z", "word")}
    return Recipe("toy", method, ("x", "z"), ("word",), groups)
