"""What calls are called: request ids, traceparent, and where a user finds them."""

import asyncio
import pickle
import re
import threading

import numpy as np
import pytest

import evoke
from fake_server import forget_sessions, lose_reply, refuse

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
X = [1.0, 2.0]


def ids(fake, method):
    return [metadata.get("x-request-id") for metadata in fake.metadata[method]]


def traces(fake, method):
    return [metadata.get("traceparent") for metadata in fake.metadata[method]]


def test_every_call_has_an_id_of_its_own_and_no_trace(fake, client):
    client.memory("m").query(X)
    client.memory("m").query(X)
    first, second = ids(fake, "Query")
    assert first != second and re.fullmatch("[0-9a-f]{16}", first)
    assert traces(fake, "Query") == [None, None]


def test_a_scope_names_the_calls_inside_until_it_ends(fake, client):
    memory = client.memory("m")
    with evoke.request_scope(request_id="order-66", traceparent=TRACEPARENT):
        memory.query(X)
        with evoke.request_scope(request_id="order-67"):
            memory.query(X)
        thread = threading.Thread(target=memory.query, args=(X,))
        thread.start()
        thread.join()
    memory.query(X)
    assert ids(fake, "Query")[:2] == ["order-66", "order-67"]
    assert not any("order" in i for i in ids(fake, "Query")[2:])
    assert traces(fake, "Query") == [TRACEPARENT, TRACEPARENT, None, None]


def test_all_attempts_of_a_call_have_one_id(fake, client):
    fake.script["Update"] = [lose_reply(), refuse("UNAVAILABLE", "LOADING")]
    client.memory("m").update(X, [1])
    assert len(set(ids(fake, "Update"))) == 1 and len(ids(fake, "Update")) == 3
    assert ids(fake, "DescribeMemory") == ids(fake, "Update")[:1]  # what a call asks on its way is a part of it


def test_an_update_whose_session_was_forgotten_keeps_its_id(fake, client):
    memory = client.memory("m")
    memory.update(X, [1])
    fake.script["Update"] = [forget_sessions()]
    memory.update(X, [1])
    assert ids(fake, "Update")[1] == ids(fake, "Update")[2] != ids(fake, "Update")[0]


def test_an_error_tells_the_id_to_ask_with(fake, client):
    fake.script["Query"] = [refuse("INTERNAL", "INTERNAL")]
    with pytest.raises(evoke.Internal) as caught:
        client.memory("m").query(X)
    assert caught.value.request_id == ids(fake, "Query")[0]
    assert "(request %s)" % caught.value.request_id in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).request_id == caught.value.request_id


def test_tasks_of_an_event_loop_have_their_own_scopes(fake):
    async def ask(memory, name):
        with evoke.request_scope(request_id=name, traceparent=TRACEPARENT):
            await memory.query(X)
            await memory.update(X, [1])

    async def run():
        async with evoke.aio.Client(fake.address) as client:
            await asyncio.gather(*(ask(client.memory("m"), "task-%d" % i) for i in range(8)))

    asyncio.run(run())
    expected = ["task-%d" % i for i in range(8)]
    assert sorted(ids(fake, "Query")) == expected and sorted(ids(fake, "Update")) == expected
    assert set(traces(fake, "Update")) == {TRACEPARENT}


def test_calls_that_answer_with_a_stream_are_named_too(fake, client, tmp_path):
    async def run():
        async with evoke.aio.Client(fake.address) as async_client:
            with evoke.request_scope(request_id="from-a-task"):
                await async_client.memory("m").snapshot()

    with evoke.request_scope(request_id="from-a-thread"):
        client.memory("m").snapshot()
    asyncio.run(run())
    assert ids(fake, "CreateSnapshot") == ["from-a-thread", "from-a-task"]


@pytest.mark.parametrize("bad", ["", "two words", "a\nb", "x" * 129, "caf\u00e9"])
def test_names_that_cannot_be_sent_are_as_if_they_were_not_there(fake, client, bad):
    with evoke.request_scope(request_id=bad, traceparent=TRACEPARENT.upper()):
        client.memory("m").query(X)
    assert re.fullmatch("[0-9a-f]{16}", ids(fake, "Query")[0]) and traces(fake, "Query") == [None]


def test_the_real_server_sends_the_names_back_and_writes_them_down(real, memory):
    with evoke.request_scope(request_id="order-66"):
        with pytest.raises(evoke.InvalidArgument) as caught:
            memory.query(np.ones((1, 8)), k=100_000)
    assert caught.value.request_id == "order-66"
    created = memory.name
    with open(real.log_path) as log:
        assert re.search("audit .* memory=%s code=OK request_id=[0-9a-f]{16}\n" % re.escape(created), log.read())
