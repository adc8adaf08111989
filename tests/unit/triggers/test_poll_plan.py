"""The plan of polls: its bounds, its direction, and what it saves over a poll every 30 seconds."""

import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_qianfan.triggers.base.plan import KNOWN_SHARE, NEARLY_DONE, REMAINING_SHARE, next_pause

SHORTEST, LONGEST = 30.0, 600.0
HOUR = 3600.0
DAY = 24 * HOUR

ages = st.floats(0, 30 * DAY)
shares = st.floats(0, 1)
known_shares = st.floats(1e-6, NEARLY_DONE, exclude_max=True)
speeds = st.floats(0, 1)
anything = st.floats(allow_nan=True, allow_infinity=True)


@given(anything, st.none() | anything, anything)
@example(0.0, 0.5, 0.0)
@example(5e-324, 5e-324, 5e-324)
@example(math.inf, 0.5, 0.0)
@example(math.nan, math.nan, math.nan)
@example(-1.0, -1.0, -1.0)
def test_whatever_is_known_the_pause_is_a_number_within_the_bounds(age, progress, speed):
    assert SHORTEST <= next_pause(age, progress, SHORTEST, LONGEST, speed=speed) <= LONGEST


@given(st.floats(0.001, 1e6), st.floats(0.001, 1e6), ages, st.none() | shares)
def test_the_shortest_pause_is_kept_even_where_the_longest_is_below_it(shortest, longest, age, progress):
    pause = next_pause(age, progress, shortest, longest)
    assert shortest <= pause <= max(shortest, longest)


@given(ages, ages, st.none() | known_shares)
def test_what_is_older_without_having_come_further_is_polled_more_rarely(one, other, progress):
    young, old = sorted((one, other))
    if young == 0 and progress is not None:
        return  # nothing is known of its speed
    assert next_pause(young, progress, SHORTEST, LONGEST) <= next_pause(old, progress, SHORTEST, LONGEST)


@given(ages, shares.filter(bool), shares.filter(bool), speeds)
def test_what_has_come_further_is_polled_more_often(age, one, other, speed):
    less, more = sorted((one, other))
    pause = next_pause(age, less, SHORTEST, LONGEST, speed=speed)
    if age == 0 and speed == 0:
        assert pause == SHORTEST
    assert next_pause(age, more, SHORTEST, LONGEST, speed=speed) <= pause


@given(ages.filter(bool), known_shares, speeds, speeds)
def test_what_has_become_faster_is_polled_more_often(age, progress, one, other):
    slow, fast = sorted((one, other))
    pause = next_pause(age, progress, SHORTEST, LONGEST, speed=slow)
    assert next_pause(age, progress, SHORTEST, LONGEST, speed=fast) <= pause


@given(ages, st.floats(NEARLY_DONE, 1))
def test_what_is_nearly_done_is_polled_most_often(age, progress):
    assert next_pause(age, progress, SHORTEST, LONGEST) == SHORTEST


@given(st.floats(HOUR, DAY), st.floats(0.01, 0.9))
def test_a_steady_training_is_polled_again_before_it_ends(length, done):
    pause = next_pause(done * length, done, SHORTEST, math.inf)
    shares = min((1 - done) * REMAINING_SHARE, done * KNOWN_SHARE)
    assert pause == pytest.approx(max(SHORTEST, shares * length))
    assert pause < (1 - done) * length


@given(st.floats(HOUR, DAY), st.floats(0.01, NEARLY_DONE, exclude_max=True))
def test_the_end_of_a_steady_training_is_not_slept_through_though_its_percents_are_rounded_down(length, done):
    shown = math.floor(done * 100) / 100
    pause = next_pause(done * length, shown, SHORTEST, math.inf)
    late = done * length + 1.1 * pause - length
    assert late <= 1.1 * SHORTEST


def test_a_first_percent_that_took_long_does_not_hide_the_end():
    """Trainings begin slowly: 1 % after two seconds were followed by the end after twenty."""
    assert next_pause(2, 0.01, 1, LONGEST) == 1
    assert next_pause(60, 0.01, SHORTEST, LONGEST) == SHORTEST


Curve = Callable[[float], float]


def linear(share: float) -> float:
    return share


def plateaus(share: float) -> float:
    """As recorded of real trainings: jumps, and long stretches at which nothing seems to happen."""
    for until, progress in (
        (0.05, 0.01),
        (0.15, 0.03),
        (0.35, 0.34),
        (0.45, 0.40),
        (0.8, 0.65),
        (0.93, 0.96),
    ):
        if share < until:
            return progress
    return 0.99


def slowing(share: float) -> float:
    return 1 - (1 - share) ** 2


def quickening(share: float) -> float:
    return share**2


def unknown(share: float) -> float:
    return math.nan


CURVES = [linear, plateaus, slowing, quickening]


def polls_of(rng: random.Random, curve: Curve, queue: float, length: float, plan: bool) -> tuple[int, float]:
    """Watch one training; return how many polls it took, and how late its end was seen.

    :param queue: seconds until it begins.
    :param length: seconds it then takes.
    :param plan: plan the polls, or poll every 30 s.
    """
    end = queue + length
    count, now = 0, rng.uniform(0, SHORTEST)
    last: tuple[float, float] | None = None
    while True:
        count += 1
        if now >= end:
            return count, now - end
        share = math.nan if now < queue else curve((now - queue) / length)
        progress = None if math.isnan(share) else math.floor(share * 100) / 100
        speed = 0.0
        if progress is not None:
            if last is not None:
                speed = (progress - last[1]) / (now - last[0])
            last = (now, progress)
        pause = next_pause(now, progress, SHORTEST, LONGEST, speed=speed) if plan else SHORTEST
        now += pause * rng.uniform(0.9, 1.1)


def watch_many(
    curve: Curve, length: tuple[float, float], *, plan: bool = True, number: int = 300
) -> tuple[float, float, float]:
    """Return the polls per training, and median and 95th percentile of the delay, in seconds."""
    rng = random.Random(20_240_516)
    counts, delays = [], []
    for _ in range(number):
        queue = rng.choice((0.0, rng.uniform(0, 0.1), rng.uniform(0, 0.5))) * HOUR
        count, delay = polls_of(rng, curve, queue, rng.uniform(*length), plan)
        counts.append(count)
        delays.append(delay)
    return statistics.mean(counts), statistics.median(delays), statistics.quantiles(delays, n=20)[-1]


@pytest.mark.parametrize(
    ("curve", "saving"),
    # The last percents of a slowing training last half an hour, in which its end is always near.
    [(linear, 9), (plateaus, 6), (quickening, 8), (slowing, 4)],
)
def test_three_hours_take_a_fraction_of_the_polls_and_the_end_is_seen_as_soon(curve, saving):
    """The goal is a fifth over a training that is steady or recorded, with and without queueing."""
    length = (2.75 * HOUR, 3.25 * HOUR)
    polls, median, late = watch_many(curve, length)
    fixed_polls, fixed_median, fixed_late = watch_many(curve, length, plan=False)
    assert fixed_polls >= saving * polls
    assert median <= fixed_median + 2
    assert late <= fixed_late + 5


@pytest.mark.parametrize("curve", [*CURVES, unknown])
@pytest.mark.parametrize(
    "length", [(60, 600), (600, HOUR), (12 * HOUR, 3 * DAY)], ids=["minutes", "hour", "days"]
)
def test_no_training_takes_more_polls_than_every_30_seconds_nor_is_its_end_seen_after_the_longest_pause(
    curve, length
):
    polls, _, late = watch_many(curve, length, number=50)
    fixed_polls, _, _ = watch_many(curve, length, plan=False, number=50)
    assert polls <= fixed_polls * 1.02
    assert late <= LONGEST * 1.1


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_a_sudden_failure_is_seen_within_the_longest_pause(share):
    """The longest pause is what a user sets who wants to know sooner."""
    rng = random.Random(7)

    def failing(progress: float) -> float:
        return progress * share

    delays = [polls_of(rng, failing, 0.0, 3 * HOUR * share, True)[1] for _ in range(200)]
    assert max(delays) <= LONGEST * 1.1
