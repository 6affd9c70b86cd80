"""A memory as a module: shapes, flags, types against the fake; gradients against finite differences of the real one."""

import copy
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import evoke  # noqa: E402
import evoke.torch  # noqa: E402


@pytest.fixture
def module(client):
    return evoke.torch.Memory(client.memory("m"))


def test_loss_keeps_the_leading_shape_and_is_never_reduced(module):
    x = torch.randn(2, 3, 4, 2, requires_grad=True)
    answer = module(x, torch.arange(24).reshape(2, 3, 4))
    for t in (answer.loss, answer.values, answer.confidence, answer.answered, answer.outcomes, answer.slots,
              answer.positive_found, answer.negative_found):
        assert t.shape == (2, 3, 4)
    assert torch.equal(answer.values, torch.arange(24).reshape(2, 3, 4))
    answer.loss.sum().backward()
    assert x.grad.shape == x.shape and bool((x.grad == 2).all())


def test_upstream_weight_scales_the_gradient_row_by_row(module):
    x = torch.randn(3, 2, requires_grad=True)
    (module(x, torch.tensor([1, 2, 3])).loss * torch.tensor([0.0, 1.0, 10.0])).sum().backward()
    assert torch.equal(x.grad, torch.tensor([[0.0, 0.0], [2.0, 2.0], [20.0, 20.0]]))


def test_confidence_is_differentiable_when_asked_for(client):
    module = evoke.torch.Memory(client.memory("m"), confidence_gradient=True)
    x = torch.randn(3, 2, requires_grad=True)
    answer = module(x, torch.tensor([1, 2, 3]))
    (answer.loss.sum() + 0.5 * answer.confidence.sum()).backward()
    assert bool((x.grad == 3).all())
    plain = evoke.torch.Memory(client.memory("m"))(x, torch.tensor([1, 2, 3]))
    assert plain.loss.requires_grad and not plain.confidence.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradient_has_the_type_of_the_input(module, dtype):
    x = torch.randn(3, 2, dtype=dtype, requires_grad=True)
    module(x, torch.tensor([1, 2, 3])).loss.sum().backward()
    assert x.grad.dtype == dtype


def test_non_contiguous_input_is_sent_in_its_logical_order(fake, module):
    x = torch.arange(6.0).reshape(2, 3).t()
    module(x)
    sent = np.frombuffer(fake.requests["Query"][0].embeddings.data, "<f4").reshape(3, 2)
    assert np.array_equal(sent, x.numpy())


def test_ignored_labels_and_masked_rows_are_skipped(fake, module):
    mask = torch.tensor([[True, True], [False, True]])
    module(torch.randn(2, 2, 2), torch.tensor([[5, -100], [5, 5]]), mask=mask)
    assert fake.requests["TrainStep"][0].skip == bytes([0b0110])


def test_only_training_mode_writes_unless_told_otherwise(fake, module):
    x, y = torch.randn(2, 2), torch.tensor([1, 2])
    module.eval()
    module(x, y)
    assert fake.step == 0 and not fake.requests["TrainStep"][0].HasField("mutation")
    module(x, y, write=True)
    assert fake.step == 2
    module.train()
    module(x, y)
    module(x, y, write=False)
    module(x, y, write=torch.tensor([True, False]))
    assert fake.step == 5


def test_without_grad_only_scores_are_asked_for(fake, module):
    with torch.no_grad():
        module(torch.randn(2, 2, requires_grad=True), torch.tensor([1, 2]))
    assert fake.requests["TrainStep"][0].form == 1


def test_no_rows_send_nothing(fake, module):
    x = torch.randn(0, 3, 2, requires_grad=True)
    answer = module(x, torch.zeros(0, 3, dtype=torch.long))
    answer.loss.sum().backward()
    assert answer.loss.shape == (0, 3) and x.grad.shape == x.shape and not fake.requests


def test_wrong_shapes_are_refused(module):
    with pytest.raises(ValueError, match="y has shape"):
        module(torch.randn(2, 2), torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match="mask has shape"):
        module(torch.randn(2, 2), torch.tensor([1, 2]), mask=torch.tensor(True))


def test_checkpoint_is_checked_against_the_memory(fake, client, module):
    saved = module.state_dict()
    other = evoke.torch.Memory(client.memory("m"))
    other.load_state_dict(saved)
    module(torch.randn(2, 2), torch.tensor([1, 2]))
    with pytest.raises(evoke.EvokeError, match="step 0, now 2"):
        other.load_state_dict(saved)
    other.on_mismatch = "warn"
    with pytest.warns(UserWarning, match="step 0, now 2"):
        other.load_state_dict(saved)
    other.on_mismatch = "ignore"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.load_state_dict(saved)


def test_checkpoint_fits_a_memory_that_was_restored_to_it(fake, client, module):
    saved, token = module.state_dict(), module.memory.snapshot().token
    module(torch.randn(2, 2), torch.tensor([1, 2]))
    module.memory.restore(token)
    module.load_state_dict(saved)
    assert fake.epoch == 2
    fake.rows = [(0, 1, 1, 0, b"key", ())]
    with pytest.raises(evoke.EvokeError, match="state_hash"):
        module.load_state_dict(saved)


def test_module_copies_and_pickles(module):
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert twin(torch.randn(2, 2), torch.tensor([1, 2])).loss.shape == (2,)


def differences(f, x, step):
    """Central differences [rows, dim] of f: [rows, dim] -> [rows]."""
    out = torch.zeros_like(x)
    for i in range(x.shape[1]):
        e = torch.zeros_like(x)
        e[:, i] = step
        out[:, i] = (f(x + e) - f(x - e)) / (2 * step)
    return out


@pytest.mark.parametrize("what", ["loss", "confidence"])
def test_gradients_agree_with_differences_of_the_service(real, request, what):
    memory = real.client.create_memory("gradient-" + what, key_dim=8, capacity=64, durability="memory",
                                       inverse_temperature=3.0)
    rng = np.random.default_rng(3)
    memory.update(rng.normal(size=(20, 8)), rng.integers(0, 5, 20))
    before = memory.state_hash().state_hash
    module = evoke.torch.Memory(memory, confidence_gradient=True).eval()
    x = torch.from_numpy(rng.normal(size=(16, 8)).astype(np.float32)).requires_grad_()
    y = torch.from_numpy(rng.integers(0, 5, 16))

    def f(z):
        return getattr(module(z, y), what).detach()

    getattr(module(x, y), what).sum().backward()
    fine, coarse = differences(f, x.detach(), 2.0**-7), differences(f, x.detach(), 2.0**-6)
    smooth = (fine - coarse).abs().amax(1) < 2e-3  # rows whose neighbors and hinge did not change within the step
    assert int(smooth.sum()) >= 8
    assert float((x.grad - fine)[smooth].abs().max()) < 2e-3
    assert float(x.grad.abs().max()) > 0.05
    assert memory.state_hash().state_hash == before
    memory.delete()


def test_network_learns_through_the_service(memory):
    """One linear layer learns to point two classes apart: the loss falls."""
    torch.manual_seed(0)
    net, module = torch.nn.Linear(4, 8), evoke.torch.Memory(memory)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    data = torch.randn(32, 4)
    data[:, 0] += 0.5
    labels = (data[:, 1] > 0).long()
    losses = []
    for _ in range(30):
        loss = module(net(data), labels).loss.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[1:6])
