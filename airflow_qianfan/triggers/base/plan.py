"""When to poll next: rarely while a training has long to go, often when it is about to end."""

from __future__ import annotations

UNKNOWN_SHARE = 0.2
"""Share of its age after which something without progress is polled again."""

REMAINING_SHARE = 0.6
"""Share of the time left after which something with progress is polled again. Progress is shown in whole
percents, rounded down: at 97 % only two of the last three may be left, and a tenth is added at random."""

KNOWN_SHARE = 0.5
"""Share of its age after which something with progress is polled again at the latest: the first percents
are known to take longer, each, than those that follow."""

NEARLY_DONE = 0.98
"""Progress from which on the shortest pause is taken: what is left may be over at once, or last long."""


def next_pause(
    age: float, progress: float | None, shortest: float, longest: float, *, speed: float = 0.0
) -> float:
    """Return the seconds until the next poll.

    The time left is estimated from the average speed and from the latest, whichever promises an earlier end.
    A share of it is waited, so that the polls get denser towards the end and a wrong estimate is corrected.

    :param age: seconds since the waiting began.
    :param progress: share that is done, from 0 to 1; None where it is not known.
    :param shortest: the shortest pause in seconds; ``poll_interval``.
    :param longest: the longest pause in seconds; ``max_poll_interval``.
    :param speed: progress per second between the last two polls; 0 where it is not known.
    """
    if progress is None or progress <= 0:
        pause = age * UNKNOWN_SHARE
    elif progress >= NEARLY_DONE:
        pause = shortest
    else:
        rest = age * (1 - progress) / progress
        if speed > 0:
            rest = min(rest, (1 - progress) / speed)
        pause = min(rest * REMAINING_SHARE, age * KNOWN_SHARE)
    return max(shortest, min(pause, longest))


def within_budget(planned: float, shortest: float, affordable: float) -> float:
    """Return the pause to take: the plan saves polls where there are too many, not where there are few.

    :param planned: see :func:`next_pause`.
    :param shortest: the shortest pause in seconds.
    :param affordable: the pause in seconds with which all that wait are polled within the budget, which is
        ``[qianfan] polls_per_second``.
    """
    return min(planned, max(shortest, affordable))
