"""What results mean: the state machine of one probe, on a clock of plain numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.health.standing import RECHECK_RATIO, STALE_AFTER, Health, Standing, overall

INTERVAL_S = 5.0
SOON_S = INTERVAL_S * RECHECK_RATIO


def standing(*results, critical=True):
    """One that was probed at 0, 5, 10, ... seconds, each time for 10 ms."""
    made = Standing("it", critical=critical, interval_s=INTERVAL_S)
    for number, passed in enumerate(results):
        made.begin(number * INTERVAL_S)
        made.end(number * INTERVAL_S + 0.01, passed=passed)
    return made


@pytest.mark.parametrize(
    ("results", "health"),
    [
        ([], Health.UNKNOWN),
        ([True], Health.HEALTHY),
        ([False], Health.UNHEALTHY),
        ([True, False], Health.HEALTHY),
        ([True, False, True], Health.HEALTHY),
        ([True, False, False], Health.UNHEALTHY),
        ([True, False, True, False], Health.HEALTHY),
        ([True, False, False, True], Health.HEALTHY),
        ([False, True, False], Health.HEALTHY),
        ([True, False, False, False, False], Health.UNHEALTHY),
    ],
)
def test_standing_follows_results_without_flapping_on_a_lost_one(results, health):
    assert standing(*results).health(len(results) * INTERVAL_S) is health


def test_standing_is_probed_once_an_interval_while_all_is_well():
    assert standing(True).due_s() == INTERVAL_S


def test_standing_is_probed_soon_after_a_lost_probe():
    assert standing(True, False).due_s() == INTERVAL_S + 0.01 + SOON_S


def test_standing_is_probed_once_an_interval_while_it_is_down():
    assert standing(False).due_s() == INTERVAL_S


def test_outage_shows_within_two_intervals_whenever_it_begins():
    """The worst case: it begins right after a probe, and each probe takes its whole timeout of two fifths."""
    timeout_s = INTERVAL_S * 0.4
    it = standing(True)
    for _ in range(2):
        begun_s = it.due_s()
        it.begin(begun_s)
        it.end(begun_s + timeout_s, passed=False)
    assert it.health(begun_s + timeout_s) is Health.UNHEALTHY
    assert begun_s + timeout_s <= 2 * INTERVAL_S + 0.01


def test_recovery_shows_with_the_next_probe():
    it = standing(False)
    it.begin(it.due_s())
    it.end(it.due_s() + 0.01, passed=True)
    assert it.health(INTERVAL_S + 0.01) is Health.HEALTHY


def test_result_older_than_three_intervals_is_unhealthy():
    it = standing(True)
    assert it.health(0.01 + STALE_AFTER * INTERVAL_S) is Health.HEALTHY
    assert it.health(0.02 + STALE_AFTER * INTERVAL_S) is Health.UNHEALTHY


def test_probe_that_hangs_for_ever_makes_it_stale():
    it = standing(True)
    it.begin(INTERVAL_S)
    assert it.health(100.0) is Health.UNHEALTHY


def test_alarm_counts_at_once_and_has_it_probed_soon():
    it = standing(True)
    it.alarm()
    assert it.health(0.02) is Health.UNHEALTHY
    assert it.due_s() == 0.01 + SOON_S


def test_alarm_ends_with_the_first_probe_that_passes():
    it = standing(True)
    it.alarm()
    it.begin(1.1)
    assert it.health(1.1) is Health.UNHEALTHY
    it.end(1.2, passed=True)
    assert it.health(1.2) is Health.HEALTHY
    assert it.due_s() == 1.1 + INTERVAL_S


def test_alarm_during_a_probe_is_not_ended_by_that_probe():
    it = standing(True)
    it.begin(5.0)
    it.alarm()
    it.end(5.01, passed=True)
    assert it.health(5.01) is Health.UNHEALTHY
    assert it.due_s() == 5.01 + SOON_S
    it.begin(6.1)
    it.end(6.2, passed=True)
    assert it.health(6.2) is Health.HEALTHY


def test_storm_of_alarms_has_it_probed_no_more_often():
    it = standing(True)
    probes, now_s = 0, 0.02
    while now_s < 60.0:
        it.alarm()
        if it.due_s() <= now_s:
            it.begin(now_s)
            it.end(now_s, passed=False)
            probes += 1
        now_s += 0.01
    assert probes == pytest.approx(60.0 / SOON_S, abs=2)


def test_age_and_latency_are_those_of_the_last_result():
    it = standing(True, False)
    assert it.latency_s == pytest.approx(0.01)
    assert it.age_s(7.01) == pytest.approx(2.0)


def test_age_and_latency_are_absent_before_the_first_result():
    assert standing().latency_s is None
    assert standing().age_s(1.0) is None


UP, DOWN, NEVER = [True], [False], []


@pytest.mark.parametrize(
    ("critical", "other", "health"),
    [
        ([], [], Health.HEALTHY),
        ([UP], [UP], Health.HEALTHY),
        ([UP], [DOWN], Health.DEGRADED),
        ([UP], [NEVER], Health.DEGRADED),
        ([DOWN], [UP], Health.UNHEALTHY),
        ([NEVER], [UP], Health.UNHEALTHY),
        ([UP, DOWN], [DOWN], Health.UNHEALTHY),
        ([], [DOWN], Health.DEGRADED),
    ],
)
def test_overall_health_is_unhealthy_for_a_critical_failure_and_degraded_for_another(critical, other, health):
    standings = [standing(*results) for results in critical]
    standings += [standing(*results, critical=False) for results in other]
    assert overall(standings, 0.02) is health


@given(st.lists(st.sampled_from(["pass", "fail", "alarm"]), max_size=30))
def test_standing_is_healthy_only_if_a_probe_passed_after_the_last_alarm(events):
    it = Standing("it", critical=True, interval_s=INTERVAL_S)
    now_s = 0.0
    for event in events:
        now_s += SOON_S
        if event == "alarm":
            it.alarm()
        else:
            it.begin(now_s)
            it.end(now_s, passed=event == "pass")
    since_alarm = events[len(events) - events[::-1].index("alarm") :] if "alarm" in events else events
    assert it.health(now_s) is not Health.HEALTHY or "pass" in since_alarm
    assert it.health(now_s) is not Health.HEALTHY or events[-2:] != ["fail", "fail"]
    assert it.due_s() <= now_s + INTERVAL_S
