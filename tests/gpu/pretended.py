"""Tensors of a GPU that is none: they say ``cuda``, compute on the CPU, and refuse what a GPU refuses.

Whoever mixes a tensor of the CPU into an operation on the GPU finds out here, on a machine without one.
Numbers, speed and memory are the CPU's.
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("cuda", 0)
ATEN = torch.ops.aten
INDEXING = {
    ATEN.index.Tensor,
    ATEN.index_put.default,
    ATEN.index_put_.default,
    ATEN._index_put_impl_.default,
}
# indices may lie on the CPU, and copies go from one device to another
MIXING = {ATEN.copy_.default, ATEN._to_copy.default, *INDEXING}


class Pretended(Tensor):
    """A tensor on the GPU that is none; ``held`` has its numbers."""

    @staticmethod
    def __new__(cls, held):
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            # for that of a GPU autograd would look for streams
            device=held.device,
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    def __repr__(self, **_):
        return f"Pretended({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is Tensor.to and len(args) > 1 and isinstance(args[1], Pretended):
            return args[0].to(GPU, args[1].dtype)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @property
    def device(self):
        return GPU

    @property
    def is_cuda(self):
        return True

    def cpu(self, *_, **__):
        return ATEN._to_copy.default(self, device=torch.device("cpu"))

    def to(self, *args, **kwargs):
        if args and isinstance(args[0], Tensor):
            device, dtype = args[0].device, args[0].dtype
        else:
            plain = {name: value for name, value in kwargs.items() if name not in ("copy", "memory_format")}
            device, dtype, *_ = torch._C._nn._parse_to(*args, **plain)
        if device is not None and device.type == "cpu":
            return self.cpu() if dtype is None else self.cpu().to(dtype)
        others = {name: kwargs[name] for name in ("copy", "memory_format") if name in kwargs}
        if dtype is None and not others:
            return self
        return super().to(self.dtype if dtype is None else dtype, **others)

    def numpy(self, *_, **__):
        raise TypeError("a tensor of the GPU is no NumPy array; use .cpu() first")

    def tolist(self):
        return self.cpu().tolist()


class Making(TorchDispatchMode):
    """Makes on the GPU that is none what is asked for there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})


def dispatch(func, args, kwargs):
    """Call ``func`` with the numbers of its tensors; its result is on the GPU if they are, or if asked."""
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Pretended)]
    check_places(func, tensors, there)
    asked, wrap = kwargs.get("device"), bool(there)
    if asked is not None:
        wrap = torch.device(asked).type == "cuda"
        kwargs = {**kwargs, "device": torch.device("cpu")} if wrap else kwargs
    elif func is ATEN.copy_.default:
        wrap = isinstance(args[0], Pretended)
    if wrap and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"{func}: a generator of the CPU, for a tensor of the GPU")
    args, kwargs = tree_map_only(Pretended, lambda tensor: tensor.held, (args, kwargs))
    found = func(*args, **kwargs)
    if not wrap:
        return found
    # an operation in place returns the tensor that it was given
    known = {id(tensor.held): tensor for tensor in there}
    return tree_map_only(
        Tensor, lambda tensor: known[id(tensor)] if id(tensor) in known else Pretended(tensor), found
    )


def check_places(func, tensors, there):
    """Refuse a tensor of the CPU, but a single number, among those of the GPU."""
    if not there:
        return
    if func in INDEXING and not isinstance(tensors[0], Pretended):
        raise RuntimeError(f"{func}: indices of the GPU, for a tensor of the CPU")
    for tensor in tensors if func not in MIXING else ():
        if not isinstance(tensor, Pretended) and tensor.ndim:
            raise RuntimeError(f"{func}: a tensor {list(tensor.shape)} of the CPU among those of the GPU")
