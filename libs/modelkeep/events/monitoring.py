"""What happens to models at work: decisions logged, windows closed, alerts raised.

Streams: `monitor-<tenant>.<model>` holds baselines, contracts, configuration, windows,
alerts and dispositions; `decisions-<tenant>.<model>` holds batches, contract breaches
and outcomes. Every figure is stored with its sample size and limits, so that no reader
and no replay needs statistics. Shares and rates are 0 to 1, times of rows are the
world's, intervals are [start, end) and bounds two-sided 95 %.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from modelkeep.decisions.rows import Proof
from modelkeep.events.base import Data, Event, upcaster
from modelkeep.events.false_alarms import FalseAlarms
from modelkeep.events.lineage import NodeId, TtlHours
from modelkeep.events.types import (
    Count,
    Digest,
    Finite,
    Instant,
    Money,
    Person,
    RiskVector,
    Sealed,
    Severity,
    Share,
    Slug,
    Subject,
    Text,
    Tier,
    Title,
    Value,
)

MAX_COLUMNS = 2_000

Uuid = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    ),
]
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=100)]
"""A feature, a feed or a metric, as its owner spells it."""

Hours = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Tolerance = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
"""Of a difference of shares."""
Json = Annotated[str, StringConstraints(min_length=2, max_length=900_000)]
"""A document of `modelkeep.stats.profile`, as text: a Baseline's or a Profile's."""

SeasonKind = Literal["none", "hour_of_day", "hour_of_week"]
Seasons = Annotated[dict[Slug, Json], Field(max_length=168)]

OutcomeKind = Literal["binary", "number"]
"""What becomes true of a model's decisions: yes or no, or a number."""

Dtype = Literal["f64", "f32", "i64", "bool", "utf8"]
MoneyBasis = Literal["assumption", "confirmed", "contradicted"]
AlertKind = Literal[
    "feature_drift",
    "prediction_drift",
    "missing_values",
    "performance",
    "calibration",
    "slo",
    "latency",
    "contract",
    "stale_input",
    "silence",
    "unapproved_use",
    "out_of_bounds",
    "undeployed_version",
    "explanations",
    "reason_codes",
    "override_drift",
    "rubber_stamping",
    "fairness",
    "label_drift",
    "concept_drift",
    "multivariate_drift",
    "unseen_categories",
    "range_drift",
]
"""The rule that raised an alert: precision is counted by it."""

Metric = Name
"""`auc brier log_loss accuracy false_positive_rate precision recall base_rate
calibration_gap calibration_error`, of numbers `rmse mae mean_error`,
`latency_p50_ms latency_p95_ms latency_p99_ms`,
`feature_psi prediction_psi missing_rate unseen_share beyond_share
explanation_coverage reason_codes_missing` and what the rules of `AlertKind` count."""

Names = Annotated[tuple[Name, ...], Field(max_length=MAX_COLUMNS)]
Examples = Annotated[tuple[Uuid, ...], Field(max_length=10)]
"""Ids of some of the rows that were counted."""

Word = Annotated[str, StringConstraints(max_length=200)]
ColumnKind = Literal["number", "integer", "string", "boolean", "moment"]
"""What a column's values mean, whatever their dtype. An integer may travel as whole
floats. A moment is an i64 of microseconds since 1970 or ISO 8601 text; without a zone,
UTC."""

Rule = Literal[
    "present",
    "dtype",
    "null_rate",
    "minimum",
    "maximum",
    "category",
    "unknown",
    "integer",
    "length",
    "format",
    "unique",
    "freshness",
    "rows",
    "feature_view",
    "stale_view",
]
"""What a contract promises of a column; of the data as a whole (`rows`); or of a
feature view, which then stands where the column would."""


class Estimate(Value):
    """A figure, the rows it rests on and its 95 % bounds."""

    metric: Metric
    value: Finite
    lower: Finite | None = None
    upper: Finite | None = None
    n: Count


Sum = Annotated[
    str, StringConstraints(pattern=r"^-?[0-9a-f]+p-?[0-9]+$", max_length=700)
]
"""An exact sum: a whole number in hexadecimal, times that power of two."""


class ErrorSums(Value):
    """What the errors of `n` predictions of numbers add up to: see
    `modelkeep.stats.regression`.
    """

    n: Count
    predicted: Sum
    actual: Sum
    signed: Sum
    absolute: Sum
    squared: Sum
    fourth: Sum
    beyond: Count = 0


class LossCells(Value):
    """Rows, mean loss and its variance by score cell: see `modelkeep.stats.scores`."""

    rows: Annotated[tuple[Count, ...], Field(max_length=64)]
    means: Annotated[tuple[Positive, ...], Field(max_length=64)]
    variances: Annotated[tuple[Positive, ...], Field(max_length=64)]


# --- what is watched, and how ------------------------------------------------------


class BaselineRegistered(Event, name="monitoring.baseline-registered"):
    """Reference data of one version, counted: drift is judged against the latest.

    `threshold` is the score from which a decision says yes.
    """

    model: Slug
    version: Slug
    baseline: Slug
    profile: Json
    layout: Annotated[str, StringConstraints(max_length=64)]
    rows: Count
    features: Names
    threshold: Share = 0.5
    performance: Annotated[tuple[Estimate, ...], Field(max_length=20)] = ()
    outcomes: Count = 0
    origin: Literal["sent", "logged"] = "sent"
    period_start: Instant | None = None
    period_end: Instant | None = None
    note: Text | None = None
    fine: Json | None = None
    """Numeric columns in 256 cells each: `modelkeep.stats.fine`. Without it windows
    say no distance in the column's own unit."""
    components: Json | None = None
    """What its columns have in common: `modelkeep.stats.reconstruction`."""
    score_outcomes: Annotated[tuple[Count, ...], Field(max_length=128)] = ()
    """Rows by outcome (64 score cells of no, then 64 of yes)."""
    brier_cells: LossCells | None = None
    """Squared errors of the scores."""
    season: SeasonKind = "none"
    seasons: Seasons = Field(default_factory=dict)
    """The same rows by season, in the same layout: `h00` to `h23`, or `d0h00` (Monday)
    to `d6h23`, in UTC. Those without rows are left out."""


class ColumnContract(Value):
    """What a column promised to be. Rates are shares of a batch's rows.

    Nulls, invalid values (words and numbers beside `categories`) and duplicates may be
    tolerated up to a rate and a number of rows; both hold where both are given. No
    duplicate is looked for where neither is. `missing_words` count as nulls. The newest
    value may be `max_age_hours` old at the batch's last row, or when a snapshot is
    checked.
    """

    column: Name
    dtype: Dtype | None = None
    required: bool = True
    minimum: Finite | None = None
    maximum: Finite | None = None
    categories: Annotated[tuple[Word, ...], Field(max_length=1_000)] = ()
    max_null_rate: Share | None = None
    kind: ColumnKind | None = None
    exclusive_minimum: Finite | None = None
    exclusive_maximum: Finite | None = None
    max_nulls: Count | None = None
    missing_words: Annotated[tuple[Word, ...], Field(max_length=100)] = ()
    max_invalid_rate: Share | None = None
    max_invalids: Count | None = None
    max_duplicate_rate: Share | None = None
    max_duplicates: Count | None = None
    min_length: Count | None = None
    max_length: Count | None = None
    max_age_hours: Hours | None = None


class Unenforced(Value):
    """A promise of the document that nothing here checks, and why."""

    place: Title
    """Such as `schema[0].properties[2].quality[0]`."""
    promise: Title
    reason: Title


class ViewContract(Value):
    """A feature view that a model learned from, as lineage registered it: what serves
    the model must be the same one, and no older than its TTL.
    """

    node: NodeId
    name: Title
    namespace: Title
    digest: Digest
    owner: Subject | None = None
    ttl_hours: TtlHours


class ContractRegistered(Event, name="monitoring.contract-registered"):
    """`on_breach`: quarantined batches are kept and proven, but counted in no window;
    marked ones are counted, and say so.

    `document` is the Open Data Contract Standard's YAML that `columns` were read from,
    and `unenforced` what of it is not checked.
    """

    model: Slug
    contract: Slug
    columns: Annotated[tuple[ColumnContract, ...], Field(max_length=MAX_COLUMNS)]
    on_breach: Literal["quarantine", "mark"]
    closed: bool = False
    """A column that the contract does not name is a breach."""
    document: Annotated[str, StringConstraints(max_length=262_144)] | None = None
    document_digest: Digest | None = None
    document_version: Title | None = None
    schema_object: Title | None = None
    """Which table of the document binds."""
    least_rows: Count | None = None
    most_rows: Count | None = None
    """Of a snapshot: a batch is but a part of the data."""
    feature_views: Annotated[tuple[ViewContract, ...], Field(max_length=100)] = ()
    unenforced: Annotated[tuple[Unenforced, ...], Field(max_length=1_000)] = ()


class Deadlines(Value):
    """Hours until an alert of that severity must be resolved."""

    low: Hours = 720
    medium: Hours = 336
    high: Hours = 168
    critical: Hours = 48


class Fairness(Value):
    """Which groups are compared: values of a logged column, as text (`true`, `false`,
    whole numbers plainly), and which decision favours somebody. A decision is yes from
    the baseline's threshold on; those merit favour whose outcome is what it says.
    """

    column: Name
    reference: Word
    groups: Annotated[tuple[Word, ...], Field(min_length=1, max_length=20)]
    favourable: Literal["yes", "no"]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len({self.reference, *self.groups}) <= len(self.groups):
            raise ValueError("a group is there twice")
        return self


class Thresholds(Value):
    """The limits that rules compare with; the PSI's own depend on sample sizes.

    `version` names this document. A limit that is None has no rule.
    """

    version: Slug = "default-1"
    psi_warning: Positive = 0.10
    psi_hard: Positive = 0.25
    psi_hard_factor: Positive = 2.5
    psi_confidence: Share = 0.99
    missing_rise: Share = 0.05
    """Points by which a missing rate may exceed the baseline's, chance excluded."""
    auc_drop: Share | None = 0.03
    brier_rise: Share | None = 0.02
    accuracy_drop: Share | None = 0.05
    fpr_rise: Share | None = 0.05
    calibration_gap: Share | None = 0.03
    """Largest distance of mean outcome from mean score, chance excluded."""
    latency_p95_ms: Positive | None = None
    explanation_coverage: Share | None = None
    explanation_p95_ms: Positive | None = None
    rmse_rise: Positive | None = 0.1
    mae_rise: Positive | None = 0.1
    mean_error: Positive | None = 0.1
    """Of outcomes that are numbers, so in shares of the baseline's: its RMSE, its MAE,
    and of how much of that RMSE predictions may be off on average, chance excluded."""
    least_outcomes: Count = 100
    """Below so many outcomes no rule on performance speaks."""
    parity_tolerance: Tolerance | None = 0.1
    opportunity_tolerance: Tolerance | None = 0.1
    """How far a group's share may lie from the reference's, chance excluded."""
    impact_ratio: Annotated[Share, Field(gt=0)] | None = 0.8
    """How little of the reference's rate of favour is enough, chance excluded."""
    label_shift: Share | None = None
    """Points by which the share of true outcomes may move, chance excluded."""
    concept_shift: Share | None = 0.03
    """Points by which the same scores may come true more or less, chance excluded."""
    misfit_rise: Positive | None = None
    """Variances by which a row's misfit may change, chance excluded. None: how columns
    move together is not even counted."""
    unseen_rise: Share | None = 0.01
    """Points by which categories that the baseline does not keep may be more frequent
    than there, chance excluded."""
    beyond_rise: Share | None = 0.01
    """Points by which values beyond the baseline's range may be more frequent than
    chance explains, chance excluded."""


Cadence = Literal["streaming", "micro_batch", "batch"]
"""Windows of seconds, of minutes, or of runs that callers close."""


class MonitorConfigured(Event, name="monitoring.monitor-configured"):
    """How a model is watched from now on.

    `cadence_hours` None: no cadence, so no silence. `closed_by` the clock: windows of
    one cadence, from `anchor` on, close `grace_hours` after their end. `next_due_at` is
    when the clock first looks. `allowed_lateness_hours`, where stated, is that grace
    and makes a watermark of it: rows recorded later are late, counted as such, and
    restate their window.
    """

    model: Slug
    cadence_hours: Hours | None = None
    anchor: Instant | None = None
    grace_hours: Positive = 0
    closed_by: Literal["caller", "clock"] = "caller"
    next_due_at: Instant | None = None
    replaces_due_at: Instant | None = None
    """When the clock would have looked next, as configured before."""
    outcome_maturity_hours: Positive = 0
    feature_sla_hours: dict[Name, Hours] = Field(
        default_factory=dict, max_length=MAX_COLUMNS
    )
    reason_codes_compulsory: bool = False
    play: Title | None = None
    deadlines: Deadlines = Deadlines()
    thresholds: Thresholds = Thresholds()
    fairness: Annotated[tuple[Fairness, ...], Field(max_length=5)] = ()
    cadence: Cadence | None = None
    allowed_lateness_hours: Positive | None = None
    outcome_kind: OutcomeKind = "binary"
    """What its outcomes are; those of the other kind are refused."""
    false_alarms: FalseAlarms | None = None
    """Then drift and performance are watched by a budget of false alarms, and the fixed
    limits of their rules raise nothing."""


class ProofChosen(Event, name="monitoring.proof-chosen"):
    """What a model's decisions are proven by from now on, as far as it may be chosen:
    `tier` and `regime_flags` are those it was chosen at, and single rows are proven
    again as soon as they, or compulsory reason codes, ask for it.
    """

    model: Slug
    proof: Proof
    reason: Text
    tier: Tier | None = None
    regime_flags: Annotated[tuple[Slug, ...], Field(max_length=100)] = ()
    by: Person


# --- the decision log --------------------------------------------------------------


class Sent(Value):
    """A batch as its sender named it, and how many rows of the object are its.

    `digest` is SHA-256 over its rows' leaf hashes: it tells a retry from a reused id.
    """

    batch: Uuid
    rows: Count
    digest: Digest


class Reading(Value):
    """When the newest reading of an input was taken, behind the batch's last row."""

    feed: Name
    last_at: Instant


class ServedView(Value):
    """The feature view that a batch's values came from, and when they were computed."""

    node: NodeId
    materialized_at: Instant


class Resources(Value):
    """What decisions used: CPU seconds and money added up, memory at its peak, of the
    `rows` whose sender said so.
    """

    rows: Count
    cpu_seconds: Positive | None = None
    memory_bytes: Count | None = None
    cost: Annotated[tuple[Money, ...], Field(max_length=20)] = ()
    """One sum a currency."""


class LatencyCell(Value):
    """A cell of `modelkeep.stats.latency`, and its rows."""

    cell: Annotated[Count, Field(lt=1_026)]
    rows: Count


class BatchRecorded(Event, name="monitoring.batch-recorded"):
    """One durable object of decisions. `root` is its identity: the Merkle root over its
    rows' canonical bytes (`modelkeep.decisions`); `file_digest` is only an address.

    `explained` and `reason_codes` count rows that say so, of `rows`;
    `explanations_said` and `reason_codes_owed` those that say yes or no at all.
    """

    model: Slug
    version: Slug
    environment: Slug
    batch: Uuid
    sent: Annotated[tuple[Sent, ...], Field(max_length=65_536)]
    rows: Count
    root: Digest
    row_schema: Digest
    address: Annotated[str, StringConstraints(max_length=400)]
    file_digest: Digest
    file_bytes: Count
    first_id: Uuid
    last_id: Uuid
    first_at: Instant
    last_at: Instant
    use: Slug | None = None
    use_approved: bool | None = None
    """None: nothing is known of approved uses."""
    deployed: bool = True
    profile: Json | None = None
    """Counts in the layout of the version's baseline; None when there was none."""
    fine: Json | None = None
    together: Json | None = None
    """Fine cells and second moments, as that baseline's `fine` and `components` ask:
    JSON, their counts packed. No moments where no limit is stated for what they tell.
    """
    unseen: dict[Name, Annotated[tuple[Word, ...], Field(max_length=5)]] = Field(
        default_factory=dict, max_length=MAX_COLUMNS
    )
    """Some categories that the baseline does not know, by column."""
    explained: Count = 0
    explanations_said: Count = 0
    reason_codes_missing: Count = 0
    reason_codes_owed: Count = 0
    breaches: Count = 0
    quarantined: bool = False
    out_of_bounds: Count = 0
    out_of_bounds_examples: Examples = ()
    readings: Annotated[tuple[Reading, ...], Field(max_length=MAX_COLUMNS)] = ()
    feature_views: Annotated[tuple[ServedView, ...], Field(max_length=100)] = ()
    """The oldest of each."""
    explanation_ms: Annotated[tuple[LatencyCell, ...], Field(max_length=1_026)] = ()
    """How long explanations took."""
    resources: Resources | None = None
    proof: Proof = "rows"
    """What the leaves under `root` are: rows, or the columns of each batch of `sent`
    (`modelkeep.decisions.columns`), of which no single row can be proven.
    """

    @property
    def parts(self) -> tuple[int, ...]:
        """The rows of each batch sent, where columns are proven; else none."""
        if self.proof == "rows":
            return ()
        return tuple(one.rows for one in self.sent)


class ContractBreached(Event, name="monitoring.contract-breached"):
    """`count` of `of` rows broke `rule` in one batch; a missing column breaks it in
    all of them.
    """

    model: Slug
    version: Slug
    contract: Slug
    batch: Uuid
    column: Name
    rule: Rule
    count: Count
    of: Count
    examples: Annotated[tuple[Uuid, ...], Field(max_length=20)] = ()
    quarantined: bool = False


class SnapshotBreach(Value):
    """`count` of `of` rows broke `rule`. Examples are the rows' keys, or their numbers
    from 0 on.
    """

    column: Name
    rule: Rule
    count: Count
    of: Count
    examples: Annotated[tuple[Word, ...], Field(max_length=20)] = ()


class SnapshotChecked(Event, name="monitoring.snapshot-checked"):
    """Data at rest against the contract that bound then, before a model learned from
    them or scored them. The verdict is about the data of `digest`, as their sender
    named them; `node` is that digest's dataset in lineage, where it was named.
    """

    model: Slug
    contract: Slug
    digest: Digest
    node: Annotated[str, StringConstraints(max_length=100)] | None = None
    purpose: Literal["training", "scoring"]
    rows: Count
    columns: Count
    kept: bool
    breaches: Annotated[tuple[SnapshotBreach, ...], Field(max_length=MAX_COLUMNS)] = ()
    method: Title


class OutcomesRecorded(Event, name="monitoring.outcomes-recorded"):
    """What became true of decisions, as one durable object.

    `never` of them will never be known (cancelled, withdrawn); `duplicates` repeat what
    was known, `contradictions` say otherwise (the later word counts).
    """

    model: Slug
    batch: Uuid
    rows: Count
    root: Digest
    address: Annotated[str, StringConstraints(max_length=400)]
    file_digest: Digest
    file_bytes: Count
    first_id: Uuid
    last_id: Uuid
    first_known_at: Instant
    last_known_at: Instant
    matched: Count
    unmatched: Count
    duplicates: Count
    contradictions: Count
    never: Count
    outcome_kind: OutcomeKind = "binary"


# --- windows -----------------------------------------------------------------------


class FeatureFigure(Value):
    """A feature in a window. `lo` and `hi` are the PSI limits its sizes allow,
    `by_chance` what no drift at all would show; None where nothing can be said.

    `js` is the Jensen-Shannon distance in bits, `js_by_chance` the root of what its
    square would be without drift. `chi_square_p` is the chance of as much without
    drift, `chi_square_effect` Cramer's V. The Kolmogorov-Smirnov distance of the rows
    lies between `ks` and `ks_most`; `wasserstein` is in standard deviations of the
    baseline. `unseen` rows have a category that the baseline does not keep (it keeps
    the most frequent), `unseen_risen` where chance is excluded on both sides: from
    `unseen_lower` down, from `baseline_unseen_upper` up. `beyond` rows lie outside the
    baseline's `low` to `high`, more than chance explains where `beyond_left`:
    `beyond_lower` is then above `beyond_by_chance`. A probability of 0 is below a
    millionth.
    """

    feature: Name
    psi: Finite | None = None
    lo: Finite | None = None
    hi: Finite | None = None
    by_chance: Finite | None = None
    bins: Count = 0
    n: Count
    baseline_n: Count = 0
    importance: Share = 0.0
    missing_rate: Share | None = None
    missing_lower: Share | None = None
    missing_upper: Share | None = None
    baseline_missing_rate: Share | None = None
    baseline_missing_upper: Share | None = None
    js: Share | None = None
    js_by_chance: Positive | None = None
    chi_square_p: Share | None = None
    chi_square_effect: Share | None = None
    ks: Share | None = None
    ks_most: Share | None = None
    ks_p: Share | None = None
    wasserstein: Positive | None = None
    unseen: Count | None = None
    unseen_share: Share | None = None
    unseen_risen: bool = False
    unseen_examples: Annotated[tuple[Word, ...], Field(max_length=5)] = ()
    low: Finite | None = None
    high: Finite | None = None
    beyond: Count | None = None
    beyond_share: Share | None = None
    beyond_left: bool = False
    unseen_lower: Share | None = None
    baseline_unseen_upper: Share | None = None
    beyond_lower: Share | None = None
    beyond_by_chance: Share | None = None


class PredictionFigure(Value):
    """The scores of a window against the baseline's."""

    psi: Finite
    lo: Finite
    hi: Finite
    n: Count
    mean: Finite | None = None
    baseline_mean: Finite | None = None


class LatencyFigure(Value):
    """Milliseconds; quantiles are within 1.54 %."""

    p50: Positive
    p95: Positive
    p99: Positive
    n: Count


class PerformanceFigure(Value):
    """A metric over the outcomes that have arrived, beside the baseline's own."""

    metric: Metric
    value: Finite
    lower: Finite | None = None
    upper: Finite | None = None
    n: Count
    baseline: Finite | None = None
    baseline_lower: Finite | None = None
    baseline_upper: Finite | None = None


class EstimatedPerformance(Value):
    """What to expect of all `n` rows before their outcomes are mature, from scores and
    what the baseline's came to. `caveat` says what no such estimate can see.
    """

    figures: Annotated[tuple[PerformanceFigure, ...], Field(max_length=20)]
    n: Count
    caveat: Title


Judged = Literal["holds", "breached", "unsure"]
"""By the whole 95 % interval; unsure: not enough to say."""


class GroupGap(Value):
    """A group beside the reference: a difference of shares, or a ratio. Withheld, and
    unsure, where either has too few people. No judgement where there is no limit.
    """

    value: Finite | None = None
    lower: Finite | None = None
    upper: Finite | None = None
    n: Count
    reference_n: Count
    judgement: Judged | None = None


class GroupFigure(Value):
    """`favoured` of `n` rows; of `qualified`, who merited favour as far as outcomes
    have arrived, some were. The reference has no gaps.
    """

    group: Word
    n: Count
    favoured: Count
    qualified: Count = 0
    qualified_favoured: Count = 0
    parity: GroupGap | None = None
    opportunity: GroupGap | None = None
    impact: GroupGap | None = None


class FairnessFigure(Value):
    """Groups of one column, the reference first; `undeclared` rows are in none."""

    column: Name
    reference: Word
    favourable: Literal["yes", "no"]
    groups: Annotated[tuple[GroupFigure, ...], Field(max_length=21)]
    undeclared: Count = 0


class LabelDriftFigure(Value):
    """The share of true outcomes less the baseline's."""

    difference: Finite
    lower: Finite
    upper: Finite
    share: Share
    baseline_share: Share
    n: Count
    baseline_n: Count


class ConceptDriftFigure(Value):
    """That difference in two: other cases came (`mix`), or the same cases came to mean
    something else (`rate`, with its bounds), over score cells. `p` is the chance of
    as much change of the rates without drift. `covered` of the rows are in cells that
    the baseline knows; nothing is said of the others.
    """

    mix: Finite
    rate: Finite
    lower: Finite
    upper: Finite
    p: Share
    n: Count
    baseline_n: Count
    covered: Share


class MisfitFigure(Value):
    """How far rows lie from what the baseline's columns had in common: the mean square
    in variances of a column. The bounds are of the error less the baseline's, and
    `by_column` has its largest parts, by column.
    """

    error: Finite
    baseline_error: Finite
    lower: Finite
    upper: Finite
    by_column: dict[Name, Finite] = Field(default_factory=dict, max_length=10)
    n: Count
    baseline_n: Count


class InputAge(Value):
    """How old an input was behind the window's last decision that used it."""

    feed: Name
    last_at: Instant
    age_hours: Positive
    sla_hours: Hours | None = None


class WindowFigures(Value):
    """What is said of [start, end): of one version, in one environment.

    Rows of quarantined batches are in `quarantined` alone. `outcomes` have arrived,
    `never` will not, `pending` are neither. `bad` counts bad events by kind, for
    budgets. `mature`: the outcomes have had their time, so performance is unbiased;
    until then `performance` speaks of the few that came early and `estimated` of all,
    or `unestimated` says why nothing does.
    """

    rows: Count
    quarantined: Count = 0
    batches: Count = 0
    baseline: Slug | None = None
    features: Annotated[tuple[FeatureFigure, ...], Field(max_length=MAX_COLUMNS)] = ()
    prediction: PredictionFigure | None = None
    latency_ms: LatencyFigure | None = None
    explained: Count = 0
    explanation_coverage: Share | None = None
    reason_codes_owed: Count = 0
    reason_codes_missing: Count = 0
    bad: dict[Name, Count] = Field(default_factory=dict, max_length=100)
    outcomes: Count = 0
    never: Count = 0
    pending: Count = 0
    positives: Count = 0
    mature: bool = False
    matures_at: Instant | None = None
    performance: Annotated[tuple[PerformanceFigure, ...], Field(max_length=20)] = ()
    predicted_mean: Finite | None = None
    """Mean score of the rows whose outcome has arrived."""
    actual_mean: Finite | None = None
    inputs: Annotated[tuple[InputAge, ...], Field(max_length=MAX_COLUMNS)] = ()
    breaches: dict[Name, Count] = Field(default_factory=dict, max_length=MAX_COLUMNS)
    """Rows that broke the contract, by `column.rule`."""
    unapproved_use: dict[Name, Count] = Field(default_factory=dict, max_length=100)
    out_of_bounds: Count = 0
    undeployed: Count = 0
    sources: Annotated[tuple[Uuid, ...], Field(max_length=50)] = ()
    """Ids of the batch events counted; the first fifty."""
    estimated: EstimatedPerformance | None = None
    fairness: Annotated[tuple[FairnessFigure, ...], Field(max_length=5)] = ()
    label_drift: LabelDriftFigure | None = None
    concept_drift: ConceptDriftFigure | None = None
    misfit: MisfitFigure | None = None
    explanation_ms: LatencyFigure | None = None
    """How long explanations took, where their sender said so."""
    resources: Resources | None = None
    late: Count = 0
    """Rows recorded after the watermark had passed the window's end."""
    outcome_kind: OutcomeKind = "binary"
    unestimated: Title | None = None


class WindowClosed(Event, name="monitoring.window-closed"):
    """`method` names the code and the thresholds that made the figures."""

    model: Slug
    version: Slug
    environment: Slug
    window: Slug
    start: Instant
    end: Instant
    figures: WindowFigures
    method: Title
    profile: Json | None = None
    score_outcomes: Annotated[tuple[Count, ...], Field(max_length=128)] = ()
    """Rows by outcome (64 score cells of no, then 64 of yes)."""
    errors: ErrorSums | None = None
    """Of outcomes that are numbers."""


class WindowRestated(Event, name="monitoring.window-restated"):
    """Late truth about a closed window: the figures it corrects stay in the log."""

    model: Slug
    version: Slug
    environment: Slug
    window: Slug
    start: Instant
    end: Instant
    figures: WindowFigures
    method: Title
    score_outcomes: Annotated[tuple[Count, ...], Field(max_length=128)] = ()
    profile: Json | None = None
    errors: ErrorSums | None = None
    restatement: Count
    """1 for the first correction of this window."""
    replaces_matures_at: Instant | None = None
    """When the figures it corrects would have been mature; None if they were."""


class SlotCounts(Value):
    """What a stretch of time means to risk budgets, as far as its outcomes are known.

    Fields mean what they mean in `WindowFigures`. `timed` rows have a latency; they are
    counted where a limit says which of them are slow.
    """

    rows: Count
    quarantined: Count = 0
    timed: Count = 0
    bad: dict[Name, Count] = Field(default_factory=dict, max_length=100)
    breaches: dict[Name, Count] = Field(default_factory=dict, max_length=MAX_COLUMNS)
    outcomes: Count = 0
    never: Count = 0
    pending: Count = 0
    positives: Count = 0
    sources: Annotated[tuple[Uuid, ...], Field(max_length=50)] = ()


class SlotCounted(Event, name="monitoring.slot-counted"):
    """Counted for budgets and judged by nobody. Of the same slot the latest stands."""

    model: Slug
    version: Slug
    environment: Slug
    start: Instant
    end: Instant
    counts: SlotCounts


class CadenceReached(Event, name="monitoring.cadence-reached"):
    """The clock looked at [start, end) when it was due, and found `rows`."""

    model: Slug
    start: Instant
    end: Instant
    due_at: Instant
    next_due_at: Instant
    rows: Count


class SilenceDetected(Event, name="monitoring.silence-detected"):
    """A declared cadence went by without a single decision."""

    model: Slug
    start: Instant
    expected_by: Instant


class MoneyChecked(Event, name="monitoring.money-checked"):
    """What an hour beyond an SLO's hard limit cost, as its KPI tells, beside what was
    declared: `observed` and its 95 % bounds are in minor units, None where there is
    not enough to compare. Confirmed when the bounds lie within the tolerance of what
    was declared, contradicted when all between them lies without, else not yet.

    `slo_defined` is the event that declared it, `sources` are the KPIs compared and
    the windows beyond the limit, `left_out` counts KPIs that could not be used.
    `method` names the code and the document with its limits.
    """

    model: Slug
    slo: Slug
    kpi: Slug
    verdict: Literal["confirmed", "contradicted", "not_yet"]
    because: Text
    declared: Money
    observed: Finite | None = None
    lower: Finite | None = None
    upper: Finite | None = None
    tolerance: Share
    periods_in_band: Count
    periods_out_of_band: Count
    left_out: Count
    hours_beyond: Finite
    slo_defined: Uuid
    sources: Annotated[tuple[Uuid, ...], Field(max_length=100)] = ()
    method: Title


# --- alerts ------------------------------------------------------------------------


class AlertRaised(Event, name="monitoring.alert-raised", version=2):
    """A breach that someone must act on. `money_per_hour` comes from the SLO that maps
    the metric, and is an assumption until KPIs confirm or contradict it: `money_check`
    is the event that last said so.
    """

    model: Slug
    alert: Slug
    version: Slug | None = None
    environment: Slug | None = None
    kind: AlertKind
    vector: RiskVector
    severity: Severity
    metric: Metric
    feature: Name | None = None
    value: Finite
    threshold: Finite
    baseline: Finite | None = None
    n: Count
    window: Slug | None = None
    start: Instant | None = None
    end: Instant | None = None
    owner: Subject | None = None
    play: Title | None = None
    slo: Slug | None = None
    money_per_hour: Money | None = None
    money_basis: MoneyBasis | None = None
    cause: Text
    sources: Annotated[tuple[Uuid, ...], Field(max_length=50)] = ()
    due_at: Instant
    thresholds: Slug
    money_check: Uuid | None = None


@upcaster("monitoring.alert-raised", 1)
def _alert_before_overrides(data: Data) -> Data:
    """Kinds about people's overrides were added: nothing said before changes."""
    return data


class AlertRepeated(Event, name="monitoring.alert-repeated"):
    """An open alert's rule was broken again: nobody is called a second time."""

    model: Slug
    alert: Slug
    window: Slug | None = None
    value: Finite
    threshold: Finite
    n: Count


class AlertAcknowledged(Event, name="monitoring.alert-acknowledged"):
    model: Slug
    alert: Slug
    by: Person


class AlertResolved(Event, name="monitoring.alert-resolved"):
    """`true_alarm` says whether there was something to act on: it makes precision."""

    model: Slug
    alert: Slug
    by: Person
    true_alarm: bool
    reason: Text
    due_at: Instant | None = None


class AlertOverdue(Event, name="monitoring.alert-overdue"):
    model: Slug
    alert: Slug
    severity: Severity
    vector: RiskVector
    owner: Subject | None = None
    due_at: Instant


# --- people ------------------------------------------------------------------------


class DispositionRecorded(Event, name="monitoring.disposition-recorded"):
    """What a person did with a decision. A later word on it replaces an earlier."""

    model: Slug
    decision: Uuid
    disposition: Literal["accepted", "overridden", "escalated"]
    reason: Text
    by: Person
    comment: Sealed | None = None
