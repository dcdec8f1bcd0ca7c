"""Nothing serves but by an ALLOW in this very stream, for that very digest."""

from __future__ import annotations

import pytest
from tests.unit.inventory_words import (
    ENGINEER,
    OFFICER,
    OWNER,
    REACTOR,
    V1,
    V2,
    V3,
    classify,
    days,
    deploy,
    fraud,
    registered,
    verdict,
)

from modelkeep.errors import Invalid, NotFound
from modelkeep.events import inventory as e
from modelkeep.testing.deciding import NOON, Past
from modelkeep_services.inventory import commands as c

BUILT = (registered("1", "a"), registered("2", "b"), registered("3", "c"))


def deployed(version: str, digest: str, source: str, share: float) -> e.Deployed:
    return e.Deployed(
        model="fraud",
        version=version,
        digest=digest,
        environment="prod",
        share=share,
        verdict_source=source,
        by=ENGINEER.person,
    )


FIRST = deployed("1", V1, "v-1", 1.0)


def traffic(version: str, digest: str, share: float, source: str = "") -> c.SetTraffic:
    return c.SetTraffic(
        model="fraud",
        version=version,
        digest=digest,
        environment="prod",
        share=share,
        verdict_source=source or None,
    )


# --- deploying ---------------------------------------------------------------------


def test_a_version_is_deployed_by_its_verdict() -> None:
    past = fraud(*BUILT, verdict()).when(deploy(), by=ENGINEER).then(FIRST)
    past.when(deploy(), by=ENGINEER).then_nothing()


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (verdict("v-9"), "verdict-known"),
        (verdict(allow=False), "verdict-allows"),
        (verdict(expires_at=NOON), "verdict-unexpired"),
        (verdict(digest=V2), "verdict-digest"),
        (verdict(environment="staging"), "verdict-environment"),
        (verdict(action="retire"), "verdict-action"),
        (verdict(max_traffic_share=0.1), "verdict-share"),
    ],
)
def test_any_other_verdict_is_refused(said: e.VerdictReceived, rule: str) -> None:
    fraud(*BUILT, said).when(deploy(), by=ENGINEER).then_refused(f"inventory.{rule}")


def test_a_verdict_for_no_digest_allows_none() -> None:
    nothing = verdict().model_copy(update={"digest": None})
    past = fraud(*BUILT, nothing)
    past.when(deploy(), by=ENGINEER).then_refused("inventory.verdict-digest")


def test_a_revoked_verdict_is_refused() -> None:
    gone = e.VerdictRevoked(
        model="fraud", request="r", reason="new finding", verdicts=("v-1",), source="s"
    )
    past = fraud(*BUILT, verdict(), gone)
    past.when(deploy(), by=ENGINEER).then_refused("inventory.verdict-in-force")


def test_the_digest_is_the_registered_one() -> None:
    past = fraud(*BUILT, verdict())
    past.when(deploy(digest=V2)).then_refused("inventory.same-digest")
    past.when(deploy(version="9")).then_raises(NotFound)


def test_shares_of_an_environment_never_sum_to_more_than_one() -> None:
    past = fraud(*BUILT, verdict(), FIRST, verdict("v-2", V2))
    second = deploy(version="2", digest=V2, verdict_source="v-2", share=0.1)
    past.when(second, by=ENGINEER).then_refused("inventory.shares-of-one")
    elsewhere = deploy(
        version="2", digest=V2, verdict_source="v-3", share=1.0, environment="staging"
    )
    staging = verdict("v-3", V2, environment="staging")
    past = fraud(*BUILT, verdict(), FIRST, staging)
    past.when(elsewhere, by=ENGINEER).and_then()


def test_a_replacement_takes_the_others_traffic_in_one_step() -> None:
    past = fraud(*BUILT, verdict(), FIRST, verdict("v-2", V2))
    command = deploy(version="2", digest=V2, verdict_source="v-2", replace=True)
    yielded, came = past.when(command, by=ENGINEER).events
    assert isinstance(yielded, e.TrafficSet)
    assert (yielded.version, yielded.share, yielded.previous_share) == ("1", 0, 1)
    assert isinstance(came, e.Deployed)
    assert came.share == 1


def test_a_suspended_model_gets_no_traffic() -> None:
    halted = e.Suspended(model="fraud", reason="drill", by=OFFICER.person)
    past = fraud(*BUILT, verdict(), halted)
    past.when(deploy(), by=ENGINEER).then_refused("inventory.suspended")
    past = past.when(c.Resume(model="fraud", reason="over"), by=OFFICER).and_then()
    past.when(deploy(), by=ENGINEER).and_then()


# --- traffic -----------------------------------------------------------------------


def test_less_traffic_needs_no_verdict_and_more_does() -> None:
    past = fraud(*BUILT, verdict(), FIRST)
    past = past.when(traffic("1", V1, 0.5), by=ENGINEER).and_then()
    past.when(traffic("1", V1, 0.5), by=ENGINEER).then_nothing()
    past.when(traffic("1", V1, 0.6), by=ENGINEER).then_raises(Invalid)
    promoted = traffic("1", V1, 0.6, "v-1")
    past.when(promoted, by=ENGINEER).then_refused("inventory.verdict-action")


def test_more_traffic_comes_by_a_verdict_for_traffic() -> None:
    allowed = verdict("v-2", action="set_traffic", max_traffic_share=0.8)
    past = fraud(*BUILT, verdict(), deployed("1", V1, "v-1", 0.5), allowed)
    past.when(traffic("1", V1, 0.8, "v-2"), by=ENGINEER).and_then()
    beyond = past.when(traffic("1", V1, 0.9, "v-2"), by=ENGINEER)
    beyond.then_refused("inventory.verdict-share")


def test_traffic_goes_to_what_is_deployed() -> None:
    past = fraud(*BUILT, verdict())
    past.when(traffic("1", V1, 0.0)).then_refused("inventory.deployed-first")


# --- rolling back ------------------------------------------------------------------


def second_serves() -> Past:
    past = fraud(*BUILT, verdict(), FIRST, verdict("v-2", V2))
    command = deploy(version="2", digest=V2, verdict_source="v-2", replace=True)
    return past.when(command, by=ENGINEER).and_then()


BACK = c.Rollback(model="fraud", environment="prod", reason="worse on Fridays")


def test_a_rollback_returns_to_what_was_deployed_before() -> None:
    (said,) = second_serves().when(BACK, by=ENGINEER).events
    assert isinstance(said, e.RolledBack)
    assert (said.from_version, said.to_version, said.share) == ("2", "1", 1.0)
    assert said.verdict_source == "v-1"


def test_an_expired_verdict_is_no_bar_to_a_rollback_but_a_void_one_is() -> None:
    lapsed = verdict(expires_at=days(1))
    past = fraud(*BUILT, lapsed, FIRST, verdict("v-2", V2))
    command = deploy(version="2", digest=V2, verdict_source="v-2", replace=True)
    past = past.when(command, by=ENGINEER).and_then()
    past.when(BACK, by=ENGINEER, at=days(9)).and_then()
    revoke = c.RecordRevocation(
        model="fraud", request="request-of-v-1", reason="unsafe", source="s"
    )
    past = past.when(revoke, by=REACTOR).and_then()
    past.when(BACK, by=ENGINEER).then_refused("inventory.last-good")


def test_nobody_rolls_back_to_what_was_rolled_back_from() -> None:
    past = second_serves().when(BACK, by=ENGINEER).and_then()
    past.when(BACK, by=ENGINEER).then_refused("inventory.last-good")
    again = deploy(version="2", digest=V2, verdict_source="v-2", replace=True)
    past.when(again, by=ENGINEER).then_refused("inventory.verdict-spent")


def test_a_rollback_keeps_the_share_of_a_canary() -> None:
    past = fraud(*BUILT, verdict(), deployed("1", V1, "v-1", 0.9), verdict("v-2", V2))
    canary = deploy(version="2", digest=V2, verdict_source="v-2", share=0.1)
    (said,) = past.when(canary, by=ENGINEER).and_then().when(BACK, by=ENGINEER).events
    assert isinstance(said, e.RolledBack)
    assert (said.from_version, said.to_version, said.share) == ("2", "1", 1.0)


def test_a_rollback_may_name_both_ends() -> None:
    past = second_serves()
    third = deploy(version="3", digest=V3, verdict_source="v-3", replace=True)
    past = _with(past, verdict("v-3", V3)).when(third, by=ENGINEER).and_then()
    first = BACK.model_copy(update={"to_version": "1"})
    (said,) = past.when(first, by=ENGINEER).events
    assert isinstance(said, e.RolledBack)
    assert said.to_version == "1"
    wrong = BACK.model_copy(update={"from_version": "2"})
    past.when(wrong, by=ENGINEER).then_refused("inventory.serving-first")
    unknown = BACK.model_copy(update={"to_version": "9"})
    past.when(unknown, by=ENGINEER).then_raises(NotFound)


def _with(past: Past, said: e.VerdictReceived) -> Past:
    command = c.RecordVerdict.model_validate(dict(said))
    return past.when(command, by=REACTOR).and_then()


def test_there_is_nothing_to_roll_back_from_where_nothing_serves() -> None:
    fraud(*BUILT).when(BACK, by=ENGINEER).then_refused("inventory.serving-first")


# --- the end -----------------------------------------------------------------------

RETIRE = c.Retire(model="fraud", reason="replaced")


def test_a_model_with_traffic_is_not_retired() -> None:
    past = fraud(*BUILT, verdict(), FIRST)
    past.when(RETIRE, by=OWNER).then_refused("inventory.retire-idle")
    past = past.when(traffic("1", V1, 0.0), by=ENGINEER).and_then()
    past.when(RETIRE, by=OWNER).and_then()


def test_a_retired_model_is_left_alone_and_its_reviews_are_cancelled() -> None:
    past = fraud(*BUILT, verdict()).when(classify(), by=OWNER).and_then()
    retired, cancelled = past.when(RETIRE, by=OWNER).events
    assert isinstance(retired, e.Retired)
    assert isinstance(cancelled, e.ReviewCancelled)
    past = past.when(RETIRE, by=OWNER).and_then()
    past.when(RETIRE, by=OWNER).then_nothing()
    past.when(deploy(), by=ENGINEER).then_refused("inventory.retired")
    past.when(classify(purpose=1), by=OWNER).then_refused("inventory.retired")


def test_a_retired_model_that_serves_is_noted_once_a_batch() -> None:
    served = c.RecordServedAfterRetirement(
        model="fraud",
        version="1",
        environment="prod",
        decisions=12,
        last_at=days(2),
        source="batch-1",
    )
    fraud(*BUILT).when(served, by=REACTOR).then_nothing()
    past = fraud(*BUILT).when(RETIRE, by=OWNER).and_then()
    past = past.when(served, by=REACTOR).then(
        e.RetiredModelServed.model_validate(dict(served))
    )
    past.when(served, by=REACTOR).then_nothing()
