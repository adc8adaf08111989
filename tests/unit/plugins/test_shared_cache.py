"""What was read a moment ago is shared."""

from __future__ import annotations

import asyncio

import pytest

from airflow_qianfan.plugins.cache import SharedCache


class Source:
    def __init__(self):
        self.reads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read(self):
        self.reads += 1
        await self.may_answer.wait()
        return self.reads


async def test_an_answer_is_kept_for_some_seconds():
    time, source = [0.0], Source()
    cache = SharedCache(5, 10, now=lambda: time[0])
    assert await cache.get("a", source.read) == 1
    time[0] = 4.9
    assert await cache.get("a", source.read) == 1
    time[0] = 5.0
    assert await cache.get("a", source.read) == 2


async def test_who_asks_meanwhile_waits_for_the_same_answer():
    cache, source = SharedCache(5, 10), Source()
    source.may_answer.clear()
    asking = [asyncio.ensure_future(cache.get("a", source.read)) for _ in range(3)]
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await asyncio.gather(*asking) == [1, 1, 1]


async def test_a_viewer_who_leaves_does_not_end_it_for_the_others():
    cache, source = SharedCache(5, 10), Source()
    source.may_answer.clear()
    leaves, stays = (asyncio.ensure_future(cache.get("a", source.read)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await stays == 1


async def test_an_error_is_shared_as_long_as_an_answer():
    time, reads = [0.0], []

    async def fail():
        reads.append(1)
        raise ValueError("down")

    cache = SharedCache(5, 10, now=lambda: time[0])
    for _ in range(3):
        with pytest.raises(ValueError, match="down"):
            await cache.get("a", fail)
    assert len(reads) == 1
    time[0] = 5.0
    with pytest.raises(ValueError, match="down"):
        await cache.get("a", fail)
    assert len(reads) == 2


async def test_it_keeps_no_more_than_its_size():
    cache, source = SharedCache(60, 2), Source()
    for key in "abc":
        await cache.get(key, source.read)
    assert await cache.get("c", source.read) == 3
    assert await cache.get("a", source.read) == 4
