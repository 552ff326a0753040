"""The function mode under which every user's function runs, so that torch differentiates it right or not at all.

Inside `Safe`, calls of torch functions are rewritten, guarded at their kinks, or refused (the tables of `_rewrites` and
`_kinks`); Python numbers keep the dtype of the tensors they meet; fresh tensors have the dtype and device of the point
and can be filled in place under `vmap`; and what would cut a value off from its derivatives raises.
"""

import contextlib
import functools
import numbers
import re
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._python_dispatch import _disable_current_modes

from riemann._arithmetic.fresh import Fresh, storage, without_transforms, writes
from riemann._arithmetic.jet import Refusal, note_kink
from riemann._kinks import KINKS, PIECEWISE_LINEAR, kinked, square_of, tie_of, tied, with_ties
from riemann._messages.frames import called, warn
from riemann._messages.remedies import CUTS, PYTHON, remedy
from riemann._modules import is_hooked
from riemann._points.weight import can_weigh, weighed
from riemann._rewrites import EXACT, GENERIC, REFUSED, REWRITES, Refused

_OWN_DTYPE = frozenset(
    ("zeros", "ones", "empty", "full", "eye", "linspace", "logspace", "arange", "tensor", "as_tensor", "asarray")
    + ("scalar_tensor",)
)
_FRESH = _OWN_DTYPE | frozenset(
    (
        "zeros_like",
        "ones_like",
        "empty_like",
        "full_like",
        "new_zeros",
        "new_ones",
        "new_empty",
        "new_full",
        "new_tensor",
    )
    + ("clone",)
)
_LIKE_ANOTHER = frozenset(("to", "type_as", "expand_as", "view_as", "reshape_as"))
_RANDOM = re.compile(
    "rand|normal|bernoulli|binomial|multinomial|poisson|dropout|rrelu|gumbel|attention|exponential|geometric"
)
_COMPARISONS = frozenset(
    ("eq", "__eq__", "ne", "not_equal", "lt", "le", "less", "less_equal", "gt", "ge", "greater", "greater_equal")
)
_COPIES = frozenset(("tensor", "as_tensor", "asarray", "new_tensor"))
_POWERS = frozenset(("pow", "square", "mul", "multiply"))
# 0-dim tensors that meet a Python number here get float64 tangents from torch, whatever their dtype.
_SCALED = frozenset(
    (
        "add",
        "sub",
        "subtract",
        "rsub",
        "mul",
        "multiply",
        "div",
        "divide",
        "true_divide",
        "lerp",
        "xlogy",
        "special_xlogy",
    )
    + ("atan2", "hypot", "logaddexp", "fmod", "remainder", "copysign", "clamp_min", "clamp_max")
)
_NAMES = {"axis": "dim", "keepdims": "keepdim", "x2": "other"}  # numpy's names, which torch takes, too
_FIRST = ("input", "self", "A", "x", "x1", "a")
_WRITTEN_IN_PYTHON = frozenset(("torch.nn.functional", "torch.functional", "torch._tensor", "torch._jit_internal"))
_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


Traced = Literal["numbers", "expressions"] | None


def not_differentiable(name: str, operation: str | None, error: Exception) -> Refusal:
    """The refusal of what torch does not differentiate, in the function that messages call `name`."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    what = f"`{operation}`" if operation else "something"
    return Refusal(
        f"the {name} calls {what}, which torch cannot differentiate here ({reason[:160]}): "
        f"{remedy(operation or '', reason)}."
    )


class Safe(TorchFunctionMode):
    """Right derivatives or an error for the function that runs inside.

    Args:
        x: the point, as the function gets it (inside `vmap`): its dtype and device are those of fresh tensors.
        level: the `vmap` level at which points are batched; what is batched there or above depends on the point.
        name: how messages call the function.
        traced: over what the operations will run, if they are recorded: then constants are computed outside. For
            expressions the table `GENERIC` comes first.
    """

    def __init__(self, x: Tensor, level: int, name: str = "metric", traced: Traced = None):
        super().__init__()
        self.x, self.level, self.name, self.traced = x, level, name, traced
        self.zero = x.new_zeros(())
        self.gradients, self.inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        self.written: dict[int, StorageWeakRef] = {}  # the references keep the keys from being used again
        self.fillable: dict[int, StorageWeakRef] = {}
        self.made = Fresh()
        self.entered: set[types.FunctionType] = set()
        self.piecewise_linear: set[str] = set()

    @contextlib.contextmanager
    def inside(self, x: Tensor) -> Iterator[None]:
        """A function of a point inside: its fresh tensors take the values of this point, too."""
        kept = self.x, self.zero
        with torch._C.DisableTorchFunction():  # of the point, as this mode would not have it
            self.x, self.zero = x, x.new_zeros(())
        try:
            yield
        finally:
            self.x, self.zero = kept

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__" and func != _DATA:
            result = func(*args)
            return self.constant(func, func, args, {}) if isinstance(result, Tensor) and _is_constant(args) else result
        if torch.is_inference_mode_enabled() and not self.inference:
            raise Refusal(
                f"the {self.name} enters `torch.inference_mode`, which cuts values off from their gradients. "
                "Use it outside, around the call of riemann."
            )
        for a in _tensors(args, kwargs):
            if type(a) is not Tensor and _is_parameter(type(a)) and self.depends(a):
                raise self.parameter()
        if not self.fillable or name.endswith("_"):
            return self.call(name, func, args, kwargs or {})
        copies: dict[int, Tensor] = {}
        result = self.call(name, func, tuple(self.read(a, copies) for a in args), kwargs or {})
        if copies and any(storage(leaf) in copies for leaf in _tensors(result)):  # a view, that may be written into
            result = self.call(name, func, args, kwargs or {})
        return result

    def call(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """The call, with what is wrong with it said in the metric's terms, and with the kinks of comparisons."""
        try:
            if writes(name):
                self.before_writing(args, kwargs)
            if name in _LIKE_ANOTHER and _is_constant(args[:1]):
                args = (args[0], *map(self.stand_in, args[1:]))
            handler = functools.partial(_HANDLERS.get(name, Safe.plain), self, name, func)
            if _is_constant(args, kwargs) and (args[0] in self.made if writes(name) else not _RANDOM.search(name)):
                return self.constant(func if self.traced else handler, func, args, kwargs)
            if self.traced and name in EXACT:
                return func(*args, **kwargs)
            if self.traced == "expressions" and name in GENERIC and square_of(args[0] if args else None) is None:
                return GENERIC[name](*args, **kwargs)
            result = handler(args, dict(kwargs))
            if not any(map(self.depends, _tensors(args, kwargs))):  # of other transforms, around or inside
                self.made.note(func, args, kwargs, result)
        except Refused as refused:
            raise Refusal(f"the {self.name} calls `{name}`, which {refused}.") from None
        except RuntimeError as error:
            if _is_refusal_of_torch(error):
                raise not_differentiable(self.name, name, error) from error
            raise
        if name in _COMPARISONS and any(self.depends(a) for a in args):
            return tied(result, *args[:2])
        if any(isinstance(a, Tensor) and tie_of(a) is not None for a in (*args, *kwargs.values())):
            return with_ties(result, (*args, *kwargs.values()))
        return result

    def parameter(self) -> "Refusal":
        return Refusal(
            f"the {self.name} calls `Parameter` on a value of the point, which cuts it off from its derivatives. Use "
            "the value itself."
        )

    def depends(self, value: Any) -> bool:
        """Whether a tensor depends on the point: it is batched at the level of the points, or inside."""
        while isinstance(value, Tensor) and _functorch.is_functorch_wrapped_tensor(value):
            if _functorch.is_batchedtensor(value) and _functorch.maybe_get_level(value) >= self.level:
                return True
            value = _functorch.get_unwrapped(value)
        return False

    def constant(self, call: Callable[..., Any], func: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """A call of constants, outside the transforms: plain tensors, which may outlive them."""
        with _outside(self.traced):
            result = call(*args, **kwargs) if call is func else call(args, dict(kwargs))
        self.made.note(func, args, kwargs, result)
        return result

    def stand_in(self, x: Any) -> Any:
        """A plain tensor of the shape, dtype and device of x, for calls that use no more of it."""
        if not isinstance(x, Tensor):
            return x
        with _outside(self.traced):
            return torch.empty((), dtype=x.dtype, device=x.device).expand(x.shape)

    def before_writing(self, args: tuple, kwargs: dict) -> None:
        """What was made plain takes values of the point; what backward may have saved of it stays as it is."""
        for target in _tensors(args[:1]):
            if target not in self.made:
                continue
            if any(map(self.depends, _tensors(args[1:], kwargs))):
                if not (target.is_floating_point() or target.is_complex()):
                    continue  # torch refuses
                for y in self.made.replace(target, lambda y: y + self.zero.to(y.dtype), forget=True):
                    self.fillable[storage(y)] = _reference(y)
            elif self.gradients:
                with _outside(self.traced):
                    self.made.replace(target, Tensor.clone, forget=False)

    # ------------------------------------------------------------------ one method for each thing done to a call

    def plain(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """A call that torch differentiates right, or a Python function that is entered."""
        if isinstance(func, types.FunctionType) and func.__module__ in _WRITTEN_IN_PYTHON:
            return self.enter(func, args, kwargs)
        if kwargs.get("out") is not None:
            raise Refused("has no derivatives with `out=`; assign the result")
        if name.endswith("_") and not name.endswith("__") or name == "__setitem__":
            return self.in_place(name, func, args, kwargs)
        if isinstance(func, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
            raise Refused(
                "is called through `torch.ops`, where derivatives cannot be made right; use the function of `torch`"
            )
        return func(*args, **kwargs)

    def enter(self, func: types.FunctionType, args: tuple, kwargs: dict) -> Any:
        """A function of torch written in Python: what it calls is to be seen, too."""
        if func in self.entered:  # a method that extends one of the same name below Python
            return func(*args, **kwargs)
        self.entered.add(func)
        try:
            with self:
                return _body(func)(*args, **kwargs)
        finally:
            self.entered.discard(func)

    def in_place(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """Writes into a tensor: through the table, if it holds the function that is not in place."""
        base = name[:-1]
        try:
            if base in _TABLED:
                plain = next(getattr(place, base) for place in (Tensor, torch, torch._C._nn) if hasattr(place, base))
                value = _HANDLERS[base](self, base, plain, args, kwargs)
                result = args[0].copy_(value[0] if isinstance(value, tuple) else value)
            else:
                result = func(*(self.same_dtype(args) if base in _SCALED else args), **kwargs)
        except RuntimeError as error:
            if "ZeroTensors" in str(error):
                raise Refused("torch cannot do in place here; use the form that is not in place") from error
            if any(words in str(error) for words in ("captured Tensor", "broadcast shape", "is not possible because")):
                raise Refused(
                    "would write values of the point into a tensor from outside; write into its `clone()`, or call "
                    "`.eval()` on a module in training mode, which counts its calls"
                ) from error
            raise
        if isinstance(args[0], Tensor):
            self.written[storage(args[0])] = _reference(args[0])
        return result

    def tabled(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """A call with right derivatives in place of one with wrong ones."""
        if isinstance(func, types.FunctionType) and func.__module__ in _WRITTEN_IN_PYTHON:
            return self.enter(func, args, kwargs)
        if kwargs:
            if kwargs.pop("out", None) is not None:
                raise Refused("has no derivatives with `out=`; assign the result")
            kwargs = {_NAMES.get(key, key): value for key, value in kwargs.items()}
            if not args:
                first = next(key for key in _FIRST if key in kwargs)
                args = (kwargs.pop(first),)
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        constant = not any(map(_functorch.is_functorch_wrapped_tensor, tensors))
        integer = not any(a.is_floating_point() or a.is_complex() for a in tensors)
        if tensors and (constant and (name in REFUSED or name in KINKS) or integer):
            return func(*args, **kwargs)
        if name in PIECEWISE_LINEAR:
            self.piecewise_linear.add(name)
        if name in REFUSED:
            raise Refused(REFUSED[name])
        if name in _SCALED:
            args = self.same_dtype(args)
        if name in KINKS:
            note_kink(name)
            return kinked(name, func, args, kwargs)
        return REWRITES[name](*args, **kwargs)

    def scaled(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """Arithmetic, where Python numbers become tensors of the dtype of the tensors beside them."""
        return self.plain(name, func, self.same_dtype(args), kwargs)

    def same_dtype(self, args: tuple) -> tuple:
        dtypes = [a.dtype for a in args if isinstance(a, Tensor)]
        if not dtypes or dtypes[0] not in (torch.float32, torch.float16, torch.bfloat16):
            return args
        return tuple(
            torch.scalar_tensor(a, dtype=dtypes[0], device=self.x.device) if isinstance(a, numbers.Real) else a
            for a in args
        )

    def power(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """`norm(x) ** 2` and its like, from the smooth square that a root remembers, unless it was written to."""
        square = square_of(args[0])
        if square is not None and storage(args[0]) not in self.written:
            if name == "square" or (len(args) == 2 and args[1] is args[0]):
                return square.clone()  # the result may be written into
            if name == "pow" and isinstance(args[1], int | float) and args[1] > 0 and args[1] % 2 == 0:
                return square ** (args[1] // 2)
        return (self.tabled if name in REWRITES else self.scaled)(name, func, args, kwargs)

    def cut(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """What has no derivatives, allowed for constants."""
        name = "data" if name == "__get__" else name
        if any(self.depends(a) for a in args):
            python = called()
            for known, why in PYTHON.items() if python else ():
                if known in python:
                    raise Refusal(f"the {self.name} calls `{python}`, which {why}.")
            raise Refusal(f"the {self.name} calls `{name}` on a value that depends on the point, which {CUTS[name]}.")
        if name in ("item", "tolist", "__float__", "__int__", "__complex__"):
            args = (args[0].detach(), *args[1:])  # without torch's warning that the number has no gradient
        return func(*args, **kwargs)

    def fresh(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """A fresh tensor, plain (see `Fresh`), in the point's dtype and device if none is said."""
        if name in _COPIES:
            data = args[1] if name == "new_tensor" else args[0] if args else kwargs["data"]
            if isinstance(data, Tensor) and name != "tensor":
                return func(*args, **kwargs)
            if any(map(self.depends, _tensors(data))):
                raise Refusal(
                    f"the {self.name} puts values that depend on the point into `torch.{name}([...])`, which copies "
                    "numbers and drops their derivatives. Use `torch.stack([...])` (of rows, for a matrix)."
                )
        if kwargs.get("out") is not None:
            raise Refused("has no derivatives with `out=`; assign the result")
        if name in _OWN_DTYPE:
            if kwargs.get("device") is None and self.x.device.type != "cpu":
                kwargs["device"] = self.x.device
            if kwargs.get("dtype") is None:
                kwargs.pop("dtype", None)
                with _outside(self.traced):
                    own = func(*args, **kwargs).dtype
                if own == torch.get_default_dtype():
                    kwargs["dtype"] = self.x.dtype
        elif name != "clone" and args and _functorch.is_functorch_wrapped_tensor(args[0]):  # only its shape is used
            args = (self.stand_in(args[0]), *args[1:])
        constant = not any(map(_functorch.is_functorch_wrapped_tensor, _tensors(args, kwargs)))
        return self.constant(func, func, args, kwargs) if constant else func(*args, **kwargs)

    def read(self, value: Any, copies: dict[int, Tensor]) -> Any:
        """A copy of what may be written into later: `g[2, 2] = g[1, 1] * y` would change what backward has saved."""
        if not isinstance(value, Tensor) or storage(value) not in self.fillable:
            return value
        copy = value.clone()
        copies[storage(copy)] = copy
        return copy

    def grad_mode(self, name: str, func: Any, args: tuple, kwargs: dict) -> Any:
        """`no_grad` inside would make gradients through the jet wrong: the caller of riemann decides."""
        return func(args[0] or self.gradients)


_TABLED = frozenset((*REWRITES, *KINKS, *REFUSED))
_HANDLERS: dict[str, Callable[[Safe, str, Any, tuple, dict], Any]] = {
    **dict.fromkeys(_SCALED, Safe.scaled),
    **dict.fromkeys(_TABLED, Safe.tabled),
    **dict.fromkeys(_POWERS, Safe.power),
    **dict.fromkeys(CUTS, Safe.cut),
    **dict.fromkeys(_FRESH, Safe.fresh),
    "__get__": Safe.cut,  # of `.data`
    "_set_grad_enabled": Safe.grad_mode,
}


@functools.cache
def _is_parameter(kind: type) -> bool:
    return torch.nn.Parameter in kind.__mro__


def _tensors(*values: Any) -> Iterator[Tensor]:
    """The tensors among values, in order; also those in tuples, lists and dictionaries."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(*value)
        elif isinstance(value, dict):
            yield from _tensors(*value.values())


def _reference(x: Tensor) -> Any:
    """A weak reference to the memory of a tensor."""
    x = without_transforms(x)
    return StorageWeakRef(x.untyped_storage()) if x.layout == torch.strided else None


def _is_constant(*values: Any) -> bool:
    """Whether there are tensors among values, and no transform knows of any."""
    found = False
    for x in _tensors(*values):
        if _functorch.is_functorch_wrapped_tensor(x):
            return False
        found = True
    return found


@contextlib.contextmanager
def _outside(traced: Traced) -> Iterator[None]:
    """Outside all transforms, and of what records operations."""
    with temporarily_clear_interpreter_stack(), _disable_current_modes() if traced else contextlib.nullcontext():
        yield


def _is_refusal_of_torch(error: RuntimeError) -> bool:
    text = str(error)
    return text.startswith(("vmap:", "vmap over", "In order to use an autograd.Function")) or any(
        words in text
        for words in (
            "forward AD",
            "forward gradient",
            "Batching rule",
            "randomness",
            "ZeroTensor",
            "inference tensor",
            "functorch transform",
        )
        + ("Batch norm got a batched", "required rank 4", "data pointer", "requires special handling")
    )


@functools.cache
def _body(func: types.FunctionType) -> types.FunctionType:
    """A Python function of torch without dispatch of its own, so that the mode sees the calls inside it."""
    return _twin(func, _namespace(func.__globals__["__name__"]))


def _namespace(module: str) -> dict[str, Any]:
    """The names of a module, its functions without dispatch."""
    if module not in _namespaces:
        names = _namespaces[module] = dict(vars(sys.modules[module]))
        for name, value in list(names.items()):
            if name.startswith("has_torch_function"):
                names[name] = _no
            elif isinstance(value, types.FunctionType) and value.__globals__ is vars(sys.modules[module]):
                names[name] = _twin(value, names)
    return _namespaces[module]


_namespaces: dict[str, dict[str, Any]] = {}


def _twin(func: types.FunctionType, names: dict[str, Any]) -> types.FunctionType:
    def inner(cell: types.CellType) -> types.CellType:  # decorators keep the function in a cell (and themselves)
        value = cell.cell_contents
        entered = isinstance(value, types.FunctionType) and value.__module__ in _WRITTEN_IN_PYTHON and value is not func
        return types.CellType(_body(value)) if entered else cell

    closure = tuple(inner(cell) for cell in func.__closure__ or ())
    twin = types.FunctionType(func.__code__, names, func.__name__, func.__defaults__, closure)
    twin.__kwdefaults__ = func.__kwdefaults__
    return twin


def _no(*_: Any) -> bool:
    return False


# ---------------------------------------------------------------------------------- what a function mode cannot see


def _current() -> Safe | None:
    """The mode that is active, if any."""
    return next((mode for mode in _get_current_function_mode_stack() if isinstance(mode, Safe)), None)


def audit(f: Any, values: Callable[[], Any], name: str) -> None:
    """Refuses a function that calls what `torch.jit` has compiled, of which the mode sees nothing; once a function.

    `values` are those of the function at the point. While somebody else keeps a record, nothing can be found out.
    """
    f = unwrapped(f)
    if _current() is not None or torch.compiler.is_compiling() or not can_weigh() or _is_audited(f):
        return
    with torch.no_grad():
        scripts = weighed(values)[1].scripts
    if scripts:
        raise Refusal(
            f"the {name} calls `{scripts[0]}`, compiled by `torch.jit`, where derivatives cannot be made right. Use "
            "the plain Python function or module."
        )
    remember(f)


def remember(f: Any) -> None:
    """Takes a function for audited."""
    with contextlib.suppress(TypeError):  # it has no hash, or cannot be referred to weakly
        _AUDITED.add(f)


def _is_audited(f: Any) -> bool:
    try:
        return f in _AUDITED
    except TypeError:
        return False


_AUDITED: weakref.WeakSet[Any] = weakref.WeakSet()


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """What `torch.compile` has wrapped runs as plain Python, which the mode sees."""
    with contextlib.ExitStack() as stack:
        if "torch._dynamo" in sys.modules and not torch.compiler.is_compiling():
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def unwrapped(f: Any) -> Any:
    """The function inside wrappers of torch that keep its meaning (DistributedDataParallel, `torch.compile`)."""
    if isinstance(f, torch.nn.Module) and is_hooked(f):
        return f
    for where, name in (("torch._dynamo", "_orig_mod"), ("torch.nn.parallel", "module")):
        if type(f).__module__.startswith(where) and hasattr(f, name):
            return unwrapped(getattr(f, name))
    compiled = getattr(f, "_torchdynamo_orig_callable", None)  # of what is no module
    return f if compiled is None else unwrapped(getattr(compiled, "__wrapped__", compiled))


def call(f: Callable[[Tensor], Any], x: Tensor, level: int, name: str, order: int, traced: Traced = None) -> Any:
    """`f(x)` at one point, inside the transforms that map it over points, under `Safe`."""
    if (outer := _current()) is not None:
        with outer.inside(x):
            return f(x)
    safe = Safe(x, level, name, traced)
    try:
        with _eager(), safe:
            y = f(x)
        if isinstance(y, torch.nn.Parameter) and safe.depends(y):
            raise safe.parameter()
    except Exception as error:
        if isinstance(error, RuntimeError) and _is_refusal_of_torch(error):  # from outside what the mode sees
            raise not_differentiable(name, None, error) from error
        error.riemann_call = f, name  # type: ignore[attr-defined]  # for the explanation, outside of all transforms
        raise
    if order >= 2 and safe.piecewise_linear:
        warn(
            f"the {name} calls {', '.join(sorted(safe.piecewise_linear))}: piecewise linear, so its second derivatives "
            "are 0 between kinks and the curvature misses what happens at them. Use a smooth activation (tanh, "
            "softplus, silu)."
        )
    return y
