"""evoke.torch.Memory: submitted calls, checkpointing, half precision, devices, copies; beside the NumPy oracle."""

import copy
import functools
import gc
import importlib.util
import io
import os
import pickle
import subprocess
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import evoke  # noqa: E402
import evoke.torch  # noqa: E402
from evoke import _recompute  # noqa: E402
from exact_memory import ExactMemory  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

SPEC = dict(seed=3, choose_k=8, age_noise=2)


def layout_of_torch2():
    """The checkpoint function of checkpoint_of_torch2.py, as if PyTorch had it."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpoint_of_torch2.py")
    spec = importlib.util.spec_from_file_location("torch.utils.checkpoint", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return functools.partial(loaded.checkpoint, use_reentrant=False)


REENTRANT = functools.partial(checkpoint, use_reentrant=True)
MODES = pytest.mark.parametrize("checkpointed", [
    pytest.param(REENTRANT, id="reentrant"),
    pytest.param(functools.partial(checkpoint, use_reentrant=False), id="not-reentrant")] + (
        [pytest.param(layout_of_torch2(), id="as-of-torch2")] if torch.__version__ < "2" else []))


@pytest.fixture
def module(client):
    return evoke.torch.Memory(client.memory("m"))


@pytest.fixture
def served(real, request):
    """A module on a fresh memory of the real server, and one on the oracle: key_dim 8, 32 slots."""
    name = "later-" + request.node.name.replace("[", "-").replace("]", "").replace("/", "-")[:80]
    memory = real.client.create_memory(name, key_dim=8, capacity=32, durability="memory", **SPEC)
    yield evoke.torch.Memory(memory, confidence_gradient=True), oracle()
    memory.delete()


def oracle():
    return evoke.torch.Memory(ExactMemory(8, 32, **SPEC), confidence_gradient=True)


def batches(count, rows=6, seed=7):
    rng = np.random.default_rng(int(os.environ.get("EVOKE_TEST_SEED", seed)))
    centers = rng.normal(size=(5, 8))
    for _ in range(count):
        y = rng.integers(0, 5, rows)
        yield torch.from_numpy((centers[y] + 0.5 * rng.normal(size=(rows, 8))).astype(np.float32)), torch.from_numpy(y)


class Held:
    """For the fake's script: answered when the test says so."""

    def __init__(self):
        self.arrived, self.go = threading.Event(), threading.Event()

    def __call__(self, fake, apply, context):
        self.arrived.set()
        assert self.go.wait(30)
        return apply()


# ---- submit ----

def test_submit_returns_while_the_call_is_under_way(fake, module):
    held = Held()
    fake.script["TrainStep"] = [held]
    x = torch.randn(3, 2, requires_grad=True)
    handle = module.submit(x, torch.tensor([1, 2, 3]))
    assert held.arrived.wait(30) and not handle.done()
    with pytest.raises(Exception) as caught:
        handle.result(timeout=0.01)
    assert "TimeoutError" in type(caught.value).__name__
    held.go.set()
    handle.result().loss.sum().backward()
    assert bool((x.grad == 2).all()) and handle.done() and handle.result() is handle.result()


def test_result_hangs_on_x_as_if_it_had_been_there_at_submit(module):
    net = torch.nn.Linear(2, 2)
    handle = module.submit(net(torch.randn(3, 2)), torch.tensor([1, 2, 3]))
    with torch.no_grad():
        loss = handle.result().loss
    loss.sum().backward()
    assert net.weight.grad is not None
    with torch.no_grad():
        handle = module.submit(net(torch.randn(3, 2)), torch.tensor([1, 2, 3]))
    assert not handle.result().loss.requires_grad


def test_arguments_may_change_after_submit(fake, module):
    held = Held()
    fake.script["TrainStep"] = [held]
    x, y, payloads = torch.ones(2, 2), torch.tensor([1, 2]), [b"a", b"b"]
    first = module.submit(x, y, payloads=payloads)
    second = module.submit(x, y, payloads=payloads)  # waits behind the first one
    x.zero_(), y.zero_(), payloads.clear()
    held.go.set()
    first.result(), second.result()
    for request in fake.requests["TrainStep"]:
        assert np.frombuffer(request.embeddings.data, "<f4").tolist() == [1.0] * 4
        assert np.frombuffer(request.values, "<i8").tolist() == [1, 2] and list(request.payloads) == [b"a", b"b"]


def test_calls_take_effect_in_the_order_in_which_they_were_made(served):
    """Eight submitted calls, a call and a query behind them: the bits of eight calls one after another."""
    module, exact = served
    data = list(batches(12))
    handles = [module.submit(x, y) for x, y in data[:8]]
    last, query = module(*data[8]), module(data[9][0])
    for handle, (x, y) in zip(handles, data):
        theirs = exact(x, y)
        assert torch.equal(handle.result().loss, theirs.loss) and torch.equal(handle.result().slots, theirs.slots)
    assert torch.equal(last.loss, exact(*data[8]).loss)
    assert torch.equal(query.values, exact(data[9][0]).values)
    assert module.memory.describe().step == exact.memory.step


def test_error_comes_with_the_result_and_the_module_goes_on(module):
    bad = module.submit(torch.randn(2, 2), torch.tensor([1, 2]), payloads=[b""])
    good = module.submit(torch.randn(2, 2), torch.tensor([1, 2]))
    with pytest.raises(evoke.InvalidArgument):
        bad.result()
    assert good.result().loss.shape == (2,)
    with pytest.raises(ValueError, match="y has shape"):
        module.submit(torch.randn(2, 2), torch.tensor([1]))
    assert module.submit(torch.randn(0, 2), torch.zeros(0, dtype=torch.long)).result().loss.shape == (0,)


def test_call_is_made_though_nobody_waits_for_it(fake, client):
    module = evoke.torch.Memory(client.memory("m"))
    lane = module._lane
    for _ in range(3):
        module.submit(torch.randn(2, 2), torch.tensor([1, 2]))
    last = lane._last
    del module, lane
    gc.collect()
    last.result(30)
    assert fake.step == 6


def test_overlapped_training_is_bitwise_the_same(served):
    """A network that asks for the result after its other layers: parameters and memory as without submit."""
    def train(module, overlapped):
        torch.manual_seed(1)
        net, other = torch.nn.Linear(8, 8), torch.nn.Linear(8, 1)
        optimiser = torch.optim.SGD(list(net.parameters()) + list(other.parameters()), lr=0.1)
        for x, y in batches(10):
            h = net(x)
            answer = module.submit(h, y) if overlapped else module(h, y)
            loss = other(h).square().mean()
            answer = answer.result() if overlapped else answer
            optimiser.zero_grad()
            (loss + answer.loss.mean() + answer.confidence.mean()).backward()
            optimiser.step()
        return [p.detach().clone() for p in list(net.parameters()) + list(other.parameters())]

    module, _ = served
    one = train(module, True)
    hash_one = module.memory.state_hash().state_hash
    module.memory.clear()
    fresh = module.memory.client.create_memory("later-again", key_dim=8, capacity=32, durability="memory", **SPEC)
    two = train(evoke.torch.Memory(fresh, confidence_gradient=True), False)
    assert all(torch.equal(a, b) for a, b in zip(one, two)) and fresh.state_hash().state_hash == hash_one
    fresh.delete()


FORK = """
import os, sys, threading
sys.path[:0] = {path!r}
import torch, evoke, evoke.torch

parent, called, go = os.getpid(), threading.Event(), threading.Event()

class Slow:
    def query(self, rows, skip=None):
        if os.getpid() == parent:  # the child must not touch events: a copy of one in use may be locked for ever
            called.set()
            assert go.wait(30)
        raise evoke.Unavailable("answered")

module = evoke.torch.Memory(Slow())
handle = module.submit(torch.ones(1, 2))
assert called.wait(30)  # PyTorch itself does not survive a fork while another thread calls it for the first time
pid = os.fork()
go.set() if pid else None
for h, expected in ((handle, evoke.Unavailable if pid else RuntimeError), (module.submit(torch.ones(1, 2)), evoke.Unavailable)):
    try:
        h.result(30)
    except expected as error:
        os.write(1, b"%r %s%c" % (pid > 0, str(error).encode(), 10))
if not pid:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""


def test_forked_child_does_not_wait_for_what_its_parent_submitted():
    program = FORK.format(path=[p for p in sys.path if p])
    out = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
    assert sorted(out.splitlines()) == ["False UNAVAILABLE: answered",
                                        "False this call was submitted by the process that forked this one",
                                        "True UNAVAILABLE: answered", "True UNAVAILABLE: answered"]


# ---- activation checkpointing ----

class Block(torch.nn.Module):
    """Embeds, asks the memory, and goes on with what it said: downstream needs the recomputed confidence too."""

    def __init__(self, memory):
        super().__init__()
        self.embed, self.head = torch.nn.Linear(8, 8), torch.nn.Linear(9, 3)
        self.memory = memory

    def forward(self, x, y):
        h = torch.tanh(self.embed(x))
        answer = self.memory(h, y)
        mixed = self.head(torch.cat([h, answer.confidence.unsqueeze(-1)], -1))
        return answer.loss.mean() + torch.sigmoid(mixed).pow(2).mean()


def learn(block, checkpointed, steps=4, backwards=1):
    """Gradients of all parameters after each of some steps; None: without checkpointing."""
    seen = []
    for x, y in batches(steps):
        x.requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = block(x, y) if checkpointed is None else checkpointed(block, x, y)
        block.zero_grad()
        for i in range(backwards):
            loss.backward(retain_graph=i + 1 < backwards)
        seen.append([x.grad.clone()] + [p.grad.clone() for p in block.parameters()])
    return seen


def block_on(memory):
    torch.manual_seed(2)
    return Block(memory)


@MODES
def test_recomputed_forward_writes_once_and_has_the_gradient_of_the_first(served, checkpointed):
    module, exact = served
    module.memory.update(*[a.numpy() for a in next(batches(1, rows=20, seed=1))])
    exact.memory.update(*[a.numpy() for a in next(batches(1, rows=20, seed=1))])
    mine, theirs = learn(block_on(module), checkpointed), learn(block_on(exact), None)
    for a, b in zip(mine, theirs):
        assert all(torch.allclose(p, q, rtol=1e-4, atol=1e-5) for p, q in zip(a, b))
    assert any(float(p.abs().max()) > 1e-3 for p in mine[-1])
    d = module.memory.describe()
    assert (d.step, d.live_slots) == (exact.memory.step, int(exact.memory.live.sum()))


@MODES
def test_recomputation_sends_nothing(fake, module, checkpointed):
    torch.manual_seed(0)
    net = torch.nn.Linear(2, 2)

    def f(x):
        return module(net(x), torch.tensor([1, 2, 3])).loss.sum() + module(net(x)).confidence.sum()

    checkpointed(f, torch.randn(3, 2, requires_grad=True)).backward()
    assert len(fake.requests["TrainStep"]) == len(fake.requests["Query"]) == 1 and fake.step == 3
    assert bool((net.bias.grad != 0).any())


@MODES
def test_submitted_call_is_recomputed_with_its_first_outcome(fake, module, checkpointed):
    net = torch.nn.Linear(2, 2)

    def f(x):
        h = net(x)
        handle = module.submit(h, torch.tensor([1, 2, 3]))
        return torch.exp(h).sum() + handle.result().loss.sum()

    checkpointed(f, torch.randn(3, 2, requires_grad=True)).backward()
    assert len(fake.requests["TrainStep"]) == 1 and fake.step == 3


@MODES
def test_many_segments_and_equal_calls_in_one_get_their_own_outcomes(served, checkpointed):
    """Two segments with the same input, each with the same call twice: four outcomes, found again in backward's order."""
    module, exact = served
    x, y = next(batches(1))
    for m in (module, exact):
        m.memory.update((x + 0.3).numpy(), ((y + 1) % 5).numpy())  # a first call misses, the next one hits

    def two(m):
        net = torch.nn.Linear(8, 8)
        with torch.no_grad():
            net.weight.copy_(torch.eye(8)), net.bias.zero_()

        def segment(z):
            h = net(z)
            first, second = m(h, y), m(h, y)
            return (first.loss * torch.exp(second.confidence)).sum() + second.loss.sum()
        return net, segment

    net, segment = two(module)
    z = x.clone().requires_grad_()
    (checkpointed(segment, z) + 3 * checkpointed(segment, z)).backward()
    other, plain = two(exact)
    w = x.clone().requires_grad_()
    (plain(w) + 3 * plain(w)).backward()
    assert torch.allclose(z.grad, w.grad, rtol=1e-4, atol=1e-5)
    assert torch.allclose(net.weight.grad, other.weight.grad, rtol=1e-4, atol=1e-5)
    assert module.memory.describe().step == exact.memory.step == 5 * len(x)


def test_nested_checkpoints_write_once(fake, module):
    net = torch.nn.Linear(2, 2)

    def inner(h):
        return module(h, torch.tensor([1, 2, 3])).loss

    def outer(x):
        return checkpoint(inner, net(x), use_reentrant=True).exp().sum()

    checkpoint(outer, torch.randn(3, 2, requires_grad=True), use_reentrant=True).backward()
    assert len(fake.requests["TrainStep"]) == 1 and fake.step == 3 and bool((net.bias.grad != 0).any())


def test_second_backward_through_a_checkpoint_sends_nothing_either(served):
    module, exact = served
    learn(block_on(module), REENTRANT, steps=2, backwards=3)
    learn(block_on(exact), None, steps=2)
    assert module.memory.describe().step == exact.memory.step


@MODES
def test_outcomes_are_kept_no_longer_than_the_graph(fake, module, checkpointed):
    kept, keep = [], _recompute.Region.keep
    net = torch.nn.Linear(2, 2)

    def watch(self, owner, what, embeddings, outcome):
        kept.append(weakref.ref(outcome))
        return keep(self, owner, what, embeddings, outcome)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_recompute.Region, "keep", watch)
        loss = checkpointed(lambda x: module(net(x), torch.tensor([1, 2])).loss.sum(), torch.ones(2, 2, requires_grad=True))
    assert kept and kept[0]() is not None
    del loss
    gc.collect()
    assert kept[0]() is None


def test_recomputation_that_is_another_call_is_refused_and_sends_nothing(fake, module):
    labels = [torch.tensor([1, 2]), torch.tensor([3, 4])]
    net = torch.nn.Linear(2, 2)
    loss = checkpoint(lambda x: module(net(x), labels.pop()).loss.sum(), torch.ones(2, 2, requires_grad=True),
                      use_reentrant=True)
    with pytest.raises(RuntimeError, match="Nothing was sent"):
        loss.backward()
    assert len(fake.requests["TrainStep"]) == 1


def test_embeddings_that_are_recomputed_with_other_bits_get_the_outcome_all_the_same(fake, module):
    """As a GPU may: the sum of a matrix product in another order."""
    noise = [1.0 + 2.0**-20, 1.0]
    net = torch.nn.Linear(2, 2)
    loss = checkpoint(lambda x: module(net(x) * noise.pop(), torch.tensor([1, 2])).loss.sum(),
                      torch.ones(2, 2, requires_grad=True), use_reentrant=True)
    loss.backward()
    assert len(fake.requests["TrainStep"]) == 1


def test_backward_that_calls_a_memory_of_its_own_accord_says_whether_it_writes(fake, module):
    class Logged(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, write):
            ctx.write = write
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            module(gradient, torch.tensor([1, 2]), write=ctx.write)
            return gradient, None

    Logged.apply(torch.ones(2, 2, requires_grad=True), True).sum().backward()
    assert fake.step == 2
    with pytest.raises(RuntimeError, match="Nothing was sent"):
        Logged.apply(torch.ones(2, 2, requires_grad=True), None).sum().backward()
    assert fake.step == 2


# ---- types, strides, devices ----

@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_its_gradient_is_half(served, dtype):
    module, exact = served
    for x, y in batches(6):
        q, wide = x.to(dtype).requires_grad_(), x.to(dtype).float().requires_grad_()
        mine, theirs = module(q, y), exact(wide, y)
        assert mine.loss.dtype == torch.float32 and torch.equal(mine.loss, theirs.loss)
        (mine.loss.sum() + mine.confidence.sum()).backward()
        (theirs.loss.sum() + theirs.confidence.sum()).backward()
        assert q.grad.dtype == dtype
        assert torch.allclose(q.grad.float(), wide.grad.to(dtype).float(), rtol=2.0**-7, atol=1e-4)
    assert module.memory.describe().step == exact.memory.step


@MODES
def test_autocast_with_checkpointing_trains_a_float32_network(served, checkpointed):
    module, exact = served
    torch.manual_seed(0)
    net = torch.nn.Linear(8, 8)
    for x, y in batches(3):
        x.requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = checkpointed(lambda z: module(net(z), y).loss.sum(), x)
            plain = net(x)
        assert plain.dtype == torch.bfloat16
        assert torch.equal(loss.detach(), exact(plain.detach().float(), y).loss.sum())
        loss.backward()
    assert net.weight.grad.dtype == torch.float32 and bool((net.weight.grad != 0).any())
    assert module.memory.describe().step == exact.memory.step


@pytest.mark.parametrize("strides", ["transposed", "sliced", "expanded", "flipped", "middle"])
def test_any_strides_mean_what_they_show(served, strides):
    module, exact = served
    base, y = torch.randn(6, 16, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 0, 1, 2, 2])
    x = {"transposed": lambda: base[:, :8, 0].t().contiguous().t(), "sliced": lambda: base[:, ::2, 1],
         "expanded": lambda: base[:1, :8, 0].expand(6, 8), "flipped": lambda: base[:, :8, 0].flip(0),
         "middle": lambda: base[:, :8, :].transpose(1, 2)[:, 1]}[strides]()
    for submitted in (False, True):
        z, w = x.detach().requires_grad_(), x.detach().contiguous().requires_grad_()
        answer = module.submit(z, y).result() if submitted else module(z, y)
        theirs = exact(w, y)
        assert torch.equal(answer.loss, theirs.loss) and torch.equal(answer.slots, theirs.slots)
        answer.loss.sum().backward(), theirs.loss.sum().backward()
        assert torch.allclose(z.grad, w.grad, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def elsewhere():
    """A device that is not the CPU, whose tensors NumPy cannot read: a GPU, or PyTorch's lazy one, computed on the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    try:
        from torch._lazy import ts_backend
        ts_backend.init()
        torch.ones(1, device="lazy").cpu()
    except (ImportError, RuntimeError) as error:
        pytest.skip("no device but the CPU: %s" % error)
    return torch.device("lazy")


@pytest.mark.parametrize("submitted", [False, True])
def test_tensors_of_another_device_come_back_there(served, elsewhere, submitted):
    module, exact = served
    for x, y in batches(4):
        q, mask = x.to(elsewhere).requires_grad_(), torch.tensor([True] * 5 + [False])
        given = dict(mask=mask.to(elsewhere), write=(y != 3).to(elsewhere))
        answer = module.submit(q, y.to(elsewhere), **given).result() if submitted else module(q, y.to(elsewhere), **given)
        w = x.clone().requires_grad_()
        theirs = exact(w, y, mask=mask, write=y != 3)
        for name in ("values", "confidence", "answered", "loss", "positive_found", "negative_found", "outcomes", "slots"):
            assert getattr(answer, name).device.type == elsewhere.type, name
        assert torch.equal(answer.loss.detach().cpu(), theirs.loss.detach())
        answer.loss.sum().backward(), theirs.loss.sum().backward()
        assert q.grad.device.type == elsewhere.type and torch.allclose(q.grad.cpu(), w.grad, rtol=1e-4, atol=1e-5)


# ---- copies and pickles ----

def test_deep_copy_reads_and_does_not_write(fake, module):
    net = torch.nn.ModuleDict({"embed": torch.nn.Linear(2, 2), "memory": module})
    twin = copy.deepcopy(net)["memory"]
    assert twin.training and twin.read_only and twin.memory is module.memory
    x, y = torch.randn(2, 2, requires_grad=True), torch.tensor([1, 2])
    twin(x, y).loss.sum().backward()
    twin.submit(x, y, write=False).result()
    twin(x)
    assert fake.step == 0 and x.grad is not None
    for write in (True, torch.tensor([True, False])):
        with pytest.raises(ValueError, match="deep copy"):
            twin(x, y, write=write)
    assert copy.deepcopy(twin).read_only and not module.read_only
    module(x, y)
    assert fake.step == 2
    twin.read_only = False
    twin(x, y)
    assert fake.step == 4


def test_pickle_writes_if_the_module_did(fake, module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    options = {"weights_only": False} if torch.__version__ >= "2" else {}
    x, y = torch.randn(2, 2), torch.tensor([1, 2])
    for twin in (torch.load(buffer, **options), pickle.loads(pickle.dumps(module))):
        before = fake.step
        twin.submit(x, y).result()
        assert fake.step == before + 2 and not twin.read_only and twin.memory is not module.memory
    assert len({r.mutation.session for r in fake.requests["TrainStep"]}) == 2
    reader = pickle.loads(pickle.dumps(copy.deepcopy(module)))
    reader(x, y)
    assert reader.read_only and fake.step == before + 2
