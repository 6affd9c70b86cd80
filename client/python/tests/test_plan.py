"""plan_memory: what a memory would take, of the real server, which makes nothing."""

import pytest

import evoke


def test_a_plan_says_what_a_memory_would_take_and_makes_nothing(real):
    before = [m.name for m in real.client.list_memories()]
    plan = real.client.plan_memory(key_dim=128, capacity=65_536)
    assert plan["fits"] is True
    assert plan["ram_bytes"] == plan["table_bytes"] + plan["index_bytes"] + plan["session_bytes"]
    assert plan["table_bytes"] > 65_536 * 128 * 4  # the keys alone
    assert plan["disk_bytes"] > 0 and plan["gpu_bytes"] == 0
    assert plan["recovery_seconds_estimate"] > 0 and plan["scan_seconds_estimate"] > 0
    assert [m.name for m in real.client.list_memories()] == before


def test_a_plan_grows_with_the_slots_and_an_ephemeral_memory_takes_no_disk(real):
    small = real.client.plan_memory(key_dim=8, capacity=1000, durability="memory")
    large = real.client.plan_memory(key_dim=8, capacity=100_000, durability="memory")
    assert large["ram_bytes"] > small["ram_bytes"] and large["disk_bytes"] == small["disk_bytes"] == 0


def test_what_does_not_fit_is_said_and_no_error(real):
    plan = real.client.plan_memory(key_dim=4096, capacity=2**31 - 1)
    assert plan["fits"] is False and plan["planned_bytes"] + plan["ram_bytes"] > plan["budget_bytes"] > 0


def test_a_plan_of_a_spec_that_is_wrong_is_refused_as_a_create_would_be(real):
    with pytest.raises(evoke.InvalidArgument, match="key_dim"):
        real.client.plan_memory(key_dim=0, capacity=10)
    with pytest.raises(TypeError):
        real.client.plan_memory(key_dim=8, capacity=10, colour="red")
