"""Who else vouches for a log: the witnesses of a policy, and a time-stamping authority.

A checkpoint says what whoever holds the log's key says. That nobody was shown another
history, and that it was there at a time, others say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from modelkeep.proof import timestamp
from modelkeep.proof.checkpoint import open_signed
from modelkeep.proof.cosignature import Cosigned, cosignatures
from modelkeep.proof.errors import ProofError
from modelkeep.proof.evidence import Evidence
from modelkeep.proof.policy import Policy

_MARK: Final = "\n\N{EM DASH} ".encode()
_TRIED: Final = 100
"""Stamps and notes that do not hold, before it is said that none does."""


@dataclass
class Vouching:
    """`cosigned` and `stamped` are sizes, 0 where nobody does; times are in UTC.

    `asked` says that a policy was given, and `authority` that certificates were.
    """

    asked: bool = False
    authority: bool = False
    cosigned: int = 0
    witnesses: list[str] = field(default_factory=list)
    since: datetime | None = None
    stamped: int = 0
    stamped_at: datetime | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def missing(self) -> bool:
        """Whether a quorum was asked for and nothing has it."""
        return self.asked and not self.cosigned

    def proven(self, agreeing: int) -> Iterator[str]:
        """Say what holds, of which the first `agreeing` events are those signed."""
        if 0 < self.cosigned <= agreeing:
            yield (
                f"the first {self.cosigned:,} events were cosigned by"
                f" {', '.join(self.witnesses)} by {_told(self.since)}: they continue"
                " every history these were shown"
            )
        if 0 < self.stamped <= agreeing:
            yield (
                f"the first {self.stamped:,} events were there by"
                f" {_told(self.stamped_at)}, says the time-stamping authority"
            )

    def unproven(self, events: int) -> Iterator[str]:
        if not self.asked:
            yield (
                "that nobody was shown another history: no witnesses were given"
                " (--witnesses)"
            )
        elif self.missing:
            yield "that nobody was shown another history: too few witnesses cosigned"
        elif self.cosigned < events:
            yield (
                f"{events - self.cosigned:,} events after what was cosigned: whoever"
                " holds the log's key alone vouches for them"
            )
        if self.authority and not self.stamped:
            yield "when it was there: no time stamp here holds"

    def json(self) -> dict[str, object]:
        return {
            "cosigned": self.cosigned,
            "witnesses": self.witnesses,
            "since": self.since and _told(self.since),
            "quorum": None if not self.asked else not self.missing,
            "stamped": self.stamped,
            "stamped_at": self.stamped_at and _told(self.stamped_at),
            "warnings": self.warnings,
        }


def vouching(
    evidence: Evidence,
    published: Path,
    *,
    policy: Path | None = None,
    roots: Path | None = None,
) -> Vouching:
    """Look who vouches for checkpoints that the log itself signed.

    `published` is the file or folder they came from, `policy` a file that says whose
    word counts, `roots` one of certificates, in PEM, that vouch for a time-stamping
    authority. Raises Malformed, OSError.
    """
    found = Vouching(asked=policy is not None, authority=roots is not None)
    found.warnings += evidence.eras.warnings
    if policy is not None:
        _cosigned(found, evidence, Policy.load(policy))
    if roots is not None:
        folder = published if published.is_dir() else published.parent
        _stamped(found, evidence, folder, roots)
    return found


def _cosigned(found: Vouching, evidence: Evidence, policy: Policy) -> None:
    own = {era.key.public for era in evidence.eras.all}
    keys = [key for key in policy.keys if key.public not in own]
    if len(keys) < len(policy.keys):
        found.warnings.append("a witness of the policy has the log's own key: ignored")
    tried = 0
    for one in reversed(evidence.all):
        if one.raw.count(_MARK) == 1:
            continue  # the log's own signature: most are such
        try:
            given = cosignatures(one.raw, keys)
        except ProofError:
            tried += 1
            if tried > _TRIED:
                return
            continue
        if _enough(policy, given) and evidence.signers(one):
            found.cosigned = one.checkpoint.size
            found.witnesses = [each.key.name for each in given]
            found.since = _moment(max(each.time for each in given))
            return


def _enough(policy: Policy, given: list[Cosigned]) -> bool:
    return bool(given) and policy.met([one.key for one in given])


def _stamped(found: Vouching, evidence: Evidence, folder: Path, roots: Path) -> None:
    if not timestamp.possible():
        found.warnings.append(
            "time stamps were not looked at: they need the extra `timestamp`"
        )
        return
    vouching = timestamp.certificates(roots)
    for tried, stamp in enumerate(timestamp.kept(folder)):
        if tried == _TRIED:
            return
        try:
            at = timestamp.stamped_at(stamp, vouching)
            size = _size_of(evidence, stamp.raw)
        except ProofError as error:
            found.warnings.append(f"a time stamp was passed over: {error}")
            continue
        found.stamped, found.stamped_at = size, at
        return


def _size_of(evidence: Evidence, raw: bytes) -> int:
    """Return the size in a note that is the log's; raises ProofError."""
    keys = [era.key for era in evidence.eras.all]
    signed, _ = open_signed(raw, keys)
    known = (one.checkpoint for one in evidence.all if one.checkpoint == signed)
    if next(known, None) is None:
        raise ProofError(f"its checkpoint of {signed.size:,} events is not here")
    return signed.size


def _moment(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _told(moment: datetime | None) -> str:
    if moment is None:
        return "a time that is none"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
