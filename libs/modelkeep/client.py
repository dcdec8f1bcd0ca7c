"""The SDK: log decisions and outcomes without ever making a request wait or fail.

    from modelkeep import Client

    with Client("127.0.0.1:50051", token=token, model="late", version="v1") as client:
        decision = client.log({"distance": 733.0, "carrier": "UA"}, score=0.31)
        ...
        client.outcome(decision, 1)

`log` puts a copy of a row into a queue and returns; a thread sends columnar batches,
and again with the same ids until they are acknowledged. Memory is bounded: beyond
`max_queued_rows` rows are dropped and counted in `stats`. It works the same from
threads and from coroutines, and needs no event loop.

Forks: the queue is the parent's; a child begins with an empty one and its own thread
and channel. gRPC itself does not survive a fork once it has been used, so fork before
the first row is sent (a server's workers do), or make a Client in each worker.
Exit: a program that ends sends what is queued for up to `exit_s` seconds.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_address
from math import inf, isfinite
from time import time_ns
from typing import Final, Self

import grpc

from modelkeep.sdk import admit as admissions
from modelkeep.sdk import baseline as baselines
from modelkeep.sdk import frames
from modelkeep.sdk.batches import (
    Flags,
    Outcome,
    Source,
    Whole,
    blocks,
)
from modelkeep.sdk.moments import micros
from modelkeep.sdk.outcomes import OutcomeKind, Truth, of_numbers, outcome_of
from modelkeep.sdk.packing import Value, Values
from modelkeep.sdk.resources import Usage, Used, checked
from modelkeep.sdk.sender import Metadata, Sender, Stats
from modelkeep.sdk.uuid7 import (
    derived,
    derived_many,
    fresh,
    mint_many,
    octets,
    octets_many,
)

TOKEN: Final = "MODELKEEP_TOKEN"  # noqa: S105  # the variable's name
MESSAGE_BYTES: Final = 4 << 20

Token = str | Callable[[], str]
Flag = bool | Sequence[str] | None


class Client:
    """One model's version, as it serves in one environment. Thread-safe.

    `token` may be a function, for tokens that are renewed; by default it is what
    MODELKEEP_TOKEN holds. `credentials` make a TLS channel, and are compulsory when the
    target is not this machine, unless `insecure` says otherwise: a token travels with
    each call. `usage` says what was used since it was last asked, for each batch that
    leaves to say so: `modelkeep.sdk.resources.Process()`, or a function of yours.
    `outcome_kind` is what the model's monitor declares: see `outcome`.
    """

    def __init__(
        self,
        target: str,
        *,
        model: str,
        version: str,
        environment: str = "prod",
        token: Token | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        insecure: bool = False,
        outcome_kind: OutcomeKind | None = None,
        max_queued_rows: int = 200_000,
        interval_s: float = 0.2,
        exit_s: float = 5.0,
        usage: Usage | None = None,
    ) -> None:
        if credentials is None and not insecure and not _is_loopback(target):
            raise ValueError(f"{target} is another machine: give credentials")
        self._target, self._credentials = target, credentials
        self._token: Token = os.environ.get(TOKEN, "") if token is None else token
        self._channel: grpc.Channel | None = None
        self._source = Source(model, version, environment)
        self._outcome_kind = outcome_kind
        self._sender = Sender(
            self._source,
            lambda: self.channel,
            lambda: self.metadata,
            limit=max_queued_rows,
            interval_s=interval_s,
            exit_s=exit_s,
            usage=usage,
        )
        _clients.add(self)

    # --- logging: none of these blocks or raises -----------------------------------

    def log(
        self,
        features: Mapping[str, Value],
        score: float,
        *,
        decision_id: str | None = None,
        latency_ms: float | None = None,
        explanation_ms: float | None = None,
        use: str = "",
        explained: bool | None = None,
        reason_codes: Flag = None,
        reference: str | None = None,
        at: datetime | None = None,
    ) -> str:
        """Queue one decision and return its id.

        `explained`: it came with a valid explanation, which took `explanation_ms`.
        `reason_codes`: those given, or whether they were; None where none are owed.
        `reference` is your own id for it, `at` when it was decided, if not now. A
        decision that cannot be logged (a score that is no number) is counted in
        `stats.refused`. `features` may be changed afterwards.
        """
        now = time_ns()
        try:
            if at is not None:
                now = _nanos(at)
            if decision_id is None:
                decision_id = fresh(now)
            else:
                octets(decision_id)
            if not isfinite(score):
                raise ValueError(f"{score} is no score")
            if latency_ms is not None or explanation_ms is not None:
                _check(latency_ms, explanation_ms)
            # Whatever else there is to do is the sender's: see `batches.rowed`.
            self._sender.put(
                (
                    now,
                    decision_id,
                    # dict() takes whatever is a mapping, and twice as long
                    features.copy() if type(features) is dict else dict(features),
                    score,
                    latency_ms,
                    explanation_ms,
                    use,
                    explained,
                    None if reason_codes is None else bool(reason_codes),
                    reference,
                )
            )
        except Exception as error:  # noqa: BLE001  # the request must not fail for its log
            self._sender.refuse(1, f"{type(error).__name__}: {error}")
        return decision_id or fresh(now)

    def log_many(
        self,
        columns: Mapping[str, Values],
        scores: Values,
        *,
        decision_ids: Sequence[str] | None = None,
        latency_ms: Values | None = None,
        use: str = "",
        explained: Flags = None,
        reason_codes: Flags = None,
        references: Sequence[str | None] | None = None,
        at: Sequence[datetime] | None = None,
        readings: Mapping[str, datetime] | None = None,
        explanation_ms: Values | None = None,
        used: Used | None = None,
    ) -> list[str]:
        """Queue many decisions that come as columns (lists, or arrays with a dtype) and
        return their ids. They are packed here, so the arrays may be reused, and leave
        together. `readings` name the feeds behind them, and when each was last read.
        `used` is what all of them used; else the client's `usage` is asked.
        """
        now, n = time_ns(), len(scores)
        ids: list[str] = []
        try:
            moments = [now // 1000] * n if at is None else [micros(one) for one in at]
            if decision_ids is None:
                keys, ids = mint_many([moment * 1000 for moment in moments])
            else:
                ids = list(decision_ids)
                keys = octets_many(ids)
            whole = Whole(
                columns,
                keys,
                moments,
                scores,
                latency_ms,
                explained,
                reason_codes,
                references,
                {feed: micros(last) for feed, last in (readings or {}).items()},
                explanation_ms,
                self._used(used),
            )
            self._sender.put_blocks(list(blocks(self._source, use, whole)))
        except Exception as error:  # noqa: BLE001  # as in log
            self._sender.refuse(n, f"{type(error).__name__}: {error}")
        return ids

    def log_frame(
        self,
        frame: frames.Frame,
        *,
        scores: str | Values = "score",
        names: Sequence[str] | None = None,
        features: Sequence[str] | None = None,
        decision_ids: str | None = None,
        at: str | None = None,
        latency_ms: str | None = None,
        references: str | None = None,
        explanation_ms: str | None = None,
        use: str = "",
        explained: Flags = None,
        reason_codes: Flags = None,
        used: Used | None = None,
        timeout: float = 600.0,
    ) -> list[str]:
        """Queue a batch job's table (dicts, numpy, Arrow, pandas, polars) and return
        the decisions' ids. `scores`, `decision_ids`, `at` (times, or microseconds since
        1970), `latency_ms`, `references` and `explanation_ms` name columns; the others,
        or those in `features`, are features. `names` are an array's columns. `used` is
        what all of them used; else the client's `usage` is asked.

        Unlike `log` it waits for room in the queue, and raises ValueError for what
        cannot be sent and TimeoutError when there is no room. Then `flush`.
        """
        roles = frames.Roles(
            scores, decision_ids, at, latency_ms, references, features, explanation_ms
        )
        about = frames.About(use, explained, reason_codes, self._used(used))
        return frames.log(
            self._source, self._sender, frame, names, roles, about, timeout
        )

    def outcome(
        self,
        decision_id: str,
        value: Truth,
        known_at: datetime | None = None,
    ) -> None:
        """Queue what became true of a decision; None: that will never be known.

        0 and 1 (and truth values) are yes or no, and other floats are numbers, unless
        the client's `outcome_kind` says what all are: say "number" of a model that
        predicts numbers, so that its 1 is one. The server refuses the other kind.
        """
        self.outcomes_many([(decision_id, value, known_at)])

    def outcomes_many(
        self, outcomes: Iterable[tuple[str, Truth, datetime | None]]
    ) -> None:
        """Queue (decision id, outcome, when it was known, or None for now). They leave
        together, and are of one kind: numbers where one is a float beside 0 and 1.
        """
        now = time_ns() // 1000
        told: list[Outcome] = []
        given = list(outcomes)
        numbers = of_numbers(self._outcome_kind, (value for _, value, _ in given))
        for decision_id, value, known_at in given:
            try:
                moment = now if known_at is None else micros(known_at)
                key = octets(decision_id)
                told.append(outcome_of(key, value, moment, number=numbers))
            except Exception as error:  # noqa: BLE001  # as in log
                self._sender.refuse(1, f"{type(error).__name__}: {error}")
        self._sender.put_outcomes(told)

    def decision_id(self, at: datetime, reference: str) -> str:
        """Return the id of your own `reference`, decided `at`: the same each time, so
        that a job that runs again logs nothing twice. Raises ValueError for a time
        without a time zone.
        """
        return derived(micros(at) * 1000, self._seed(reference))

    def decision_ids(
        self, at: Sequence[datetime], references: Sequence[str]
    ) -> list[str]:
        """Return the `decision_id` of each time and reference, faster than one by one.
        Raises ValueError, too when there are more of one than of the other.
        """
        moments = [micros(one) * 1000 for one in at]
        seed = self._seed("")
        return derived_many(moments, [seed + one for one in references])

    def _seed(self, reference: str) -> str:
        return f"{self._source.model}\n{self._source.version}\n{reference}"

    def _used(self, given: Used | None) -> Used | None:
        """Raises ValueError for what a server would refuse."""
        return self._sender.used() if given is None else checked(given)

    @property
    def stats(self) -> Stats:
        return self._sender.stats

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until everything queued so far is acknowledged, refused or dropped; say
        whether it is.
        """
        return self._sender.flush(timeout)

    def close(self, timeout: float = 30.0) -> bool:
        """Flush and stop. Whatever is left is dropped and counted, and so is whatever
        is logged later.
        """
        done = self._sender.close(timeout)
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- everything else: plain calls ----------------------------------------------

    @property
    def channel(self) -> grpc.Channel:
        """For the stubs in `modelkeep.api`; call them with `metadata` and a timeout."""
        if self._channel is None:
            options = (("grpc.max_receive_message_length", MESSAGE_BYTES),)
            self._channel = (
                grpc.insecure_channel(self._target, options)
                if self._credentials is None
                else grpc.secure_channel(self._target, self._credentials, options)
            )
        return self._channel

    @property
    def metadata(self) -> Metadata:
        token = self._token if isinstance(self._token, str) else self._token()
        return (("authorization", f"Bearer {token.strip()}"),)

    def register_baseline(
        self,
        baseline: str,
        columns: Mapping[str, Values],
        scores: Values,
        *,
        outcomes: Sequence[Truth] | None = None,
        importances: Mapping[str, float] | None = None,
        categorical: Sequence[str] = (),
        threshold: float = 0.5,
        period: tuple[datetime, datetime] | None = None,
        note: str = "",
        request_id: str | None = None,
        timeout: float = 30.0,
    ) -> int:
        """Send reference data, what drift is judged against; return the position. What
        is said of `outcome` holds of all `outcomes` together; NaN is None.

        Raises grpc.RpcError: unlike logging, this is not done behind your back.
        """
        return baselines.register(
            self.channel,
            self.metadata,
            self._source,
            baselines.Baseline(
                baseline,
                columns,
                scores,
                outcomes,
                importances or {},
                categorical,
                threshold,
                period,
                note,
                self._outcome_kind,
            ),
            request_id,
            timeout,
        )

    def admit(
        self,
        *artifacts: admissions.Artifact,
        key: admissions.Key,
        use: str = "",
        share: float | None = None,
        lost: admissions.Lost = lambda _: None,
        timeout: float = admissions.CALL_S,
    ) -> admissions.Admission:
        """Ask whether this version, made of these files, may serve; and keep asking.

        `key` is the public key of verdicts, or a file of such; None takes permits on
        trust. Raises NotAdmitted: see `modelkeep.sdk.admit`. Close before the client.
        """
        question = admissions.Question(
            self._source.model,
            self._source.version,
            self._source.environment,
            artifacts,
            use,
            share,
        )
        return admissions.Admission(
            self.channel,
            lambda: self.metadata,
            question,
            key,
            lost=lost,
            call_s=timeout,
        ).start()

    def _after_fork(self) -> None:
        self._channel = None
        self._sender.forget()


def _check(latency_ms: float | None, explanation_ms: float | None) -> None:
    """Refuse the row that would make a server refuse its whole batch."""
    if latency_ms is not None and not 0 <= latency_ms < inf:
        raise ValueError(f"{latency_ms} is no latency")
    if explanation_ms is not None and not 0 <= explanation_ms < inf:
        raise ValueError(f"{explanation_ms} is no time that an explanation took")


def _nanos(at: datetime) -> int:
    found = micros(at) * 1000
    if found < 0:
        raise ValueError("nothing is decided before 1970")
    return found


def _is_loopback(target: str) -> bool:
    if target.startswith("unix:"):
        return True
    host = target.removeprefix("dns:///").rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork()  # noqa: SLF001  # of this module


os.register_at_fork(after_in_child=_after_fork_in_child)
