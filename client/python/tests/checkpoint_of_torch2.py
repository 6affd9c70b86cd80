"""Non-reentrant checkpointing laid out as PyTorch does it since 2.1, as little of it as evoke's recomputation looks at.

Loaded under the name torch.utils.checkpoint by tests that run where PyTorch is older: a generator `gen` with a
`new_frame`, and hooks that pack and unpack through a closure named `frame`. (It does not stop a recomputation early:
before PyTorch 2 a hook that raises would not come through.)
"""

import weakref

import torch
from torch.autograd.graph import saved_tensors_hooks


class _Holder:
    pass


class _CheckpointFrame:
    def __init__(self, recompute_fn):
        self.recompute_fn = recompute_fn
        self.weak_holders = []
        self.recomputed = weakref.WeakKeyDictionary()


class _recomputation_hook(saved_tensors_hooks):
    def __init__(self, target):
        count = 0

        def pack_hook(x):
            nonlocal count
            holder = target.weak_holders[count]()
            if holder is not None:
                target.recomputed[holder] = x.detach()
            count += 1
            return x.detach()

        super().__init__(pack_hook, lambda x: x)


class _checkpoint_hook(saved_tensors_hooks):
    def __init__(self, frame):
        def pack_hook(x):
            holder = _Holder()
            frame.weak_holders.append(weakref.ref(holder))
            return holder

        def unpack_hook(holder):
            if holder not in frame.recomputed:
                with _recomputation_hook(frame), torch.enable_grad():
                    frame.recompute_fn()
            return frame.recomputed.pop(holder)

        super().__init__(pack_hook, unpack_hook)


def _checkpoint_without_reentrant_generator(fn, *args):
    autocast = torch.autocast("cpu", dtype=torch.get_autocast_cpu_dtype(), enabled=torch.is_autocast_cpu_enabled())

    def recompute_fn():
        with autocast:
            fn(*args)

    new_frame = _CheckpointFrame(recompute_fn)
    with _checkpoint_hook(new_frame):
        yield


def checkpoint(function, *args, use_reentrant):
    assert not use_reentrant
    gen = _checkpoint_without_reentrant_generator(function, *args)
    next(gen)
    ret = function(*args)
    try:
        next(gen)
    except StopIteration:
        return ret
