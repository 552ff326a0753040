"""What to write instead of what cannot be differentiated: the ends of sentences that refuse it."""

_NUMBERS = (
    "turns a tensor into numbers, which have no derivatives; write it with torch functions, not with `math`, `float` "
    "or SciPy"
)
_ARRAY = (
    "turns a tensor into an array of NumPy, which has no derivatives; use the torch function of the same name, that of "
    "`torch.special` for one of `scipy.special`, and a fixed quadrature or number of steps in torch for a solver"
)
BRANCH = (
    "makes the result branch on the value of a coordinate; use `torch.where` for `if`, `torch.maximum` for `max`, a "
    "fixed number of steps for a `while` loop (an implicit function has all its digits and derivatives after some ten "
    "of Newton's)"
)

CUTS = {
    **dict.fromkeys(("detach", "detach_", "data"), "cuts the value off from its derivatives; use the value itself"),
    "Parameter": "cuts the value off from its derivatives. Use the value itself",
    **dict.fromkeys(("item", "tolist", "__float__", "__int__", "__complex__"), _NUMBERS),
    "__deepcopy__": "copies the numbers without their derivatives; use `clone`",
    **dict.fromkeys(("numpy", "__array__"), _ARRAY),
    "__index__": "makes a value of the point an index: the result would branch on data; use `torch.where`",
    **dict.fromkeys(("__bool__", "is_nonzero", "equal", "allclose", "_is_all_true"), BRANCH),
}
"""What cuts a value off from its derivatives, by the name of the function."""

PYTHON = {
    "torch.autograd.functional": "works on tensors cut off from all other derivatives; use `torch.func.jacrev`, "
    "`jacfwd`, `hessian`, `jvp` or `vjp`, which are differentiated like any function",
    "torch.distributions": "looks at values to see whether they are valid; pass `validate_args=False`",
    "torch._tensor.__format__": "writes numbers of a tensor that is being differentiated; print outside of it",
}
"""Functions of torch, written in Python, that do so inside: by module, or by module and name."""

GRADIENTS = "use `torch.func.grad`, `jacrev` or `hessian` of a function, which are differentiated like any function"
_BY_NAME = {
    **dict.fromkeys(("requires_grad_", "backward", "retain_grad", "_set_grad_enabled"), GRADIENTS),
    "cond": "use `torch.where(condition, one, other)`, where both are computed, and finite",
    **dict.fromkeys(("while_loop", "scan", "associative_scan", "map"), "use a Python loop of a fixed number of steps"),
}
_BY_REASON = {
    "randomness": "draw random numbers once, outside, so that it is one function of the point",
    "dynamic shape": "a mask chooses how many entries there are: use `torch.where`, or a fixed index",
    "inference tensor": "leave out `torch.inference_mode`; `torch.no_grad` may stay",
    "fallback path": "use the form that returns a new tensor",
}


def remedy(name: str, reason: str) -> str:
    """What to do where torch refuses the function of this name, for the reason it gives."""
    for words, instead in _BY_REASON.items():
        if words in reason:
            return instead
    return _BY_NAME.get(
        name, "write it with elementwise operations, sums, products, `torch.linalg.inv` or `torch.where`"
    )
