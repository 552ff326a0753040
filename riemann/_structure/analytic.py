"""What a metric may call and be one analytic function: inside, torch may choose how it computes, not what."""

from typing import Any

import torch

_NUMBERS = (
    "add sub rsub mul div rdiv truediv true_divide neg positive reciprocal pow rpow square sqrt rsqrt exp exp2 "
    "expm1 log log1p log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid erf erfc erfinv "
    "lgamma digamma mvlgamma special_expit special_erf special_erfc special_gammaln special_digamma special_ndtr "
    "special_log_ndtr special_i0 special_i1 special_i0e special_i1e special_bessel_j0 special_bessel_j1 sinc "
    "special_sinc addcmul addcdiv lerp silu gelu mish tanhshrink logaddexp logaddexp2 log_sigmoid logsigmoid xlogy "
    "special_xlogy special_xlog1py special_entr special_erfcx special_multigammaln polygamma special_polygamma "
    "hypot atan2 arctan2 float double to"
)
_SUMS = "sum mean prod cumsum cumprod logsumexp special_logsumexp softmax log_softmax special_softmax var std trace"
_LOSSES = "cross_entropy nll_loss binary_cross_entropy_with_logits mse_loss kl_div"
_MATRICES = (
    "matmul mm bmm mv dot inner outer ger vdot einsum tensordot kron addmm addmv addbmm baddbmm addr chain_matmul "
    "linalg_multi_dot linalg_matmul linalg_vecdot linear bilinear cross linalg_cross det linalg_det logdet slogdet "
    "linalg_slogdet inverse linalg_inv linalg_inv_ex linalg_solve linalg_cholesky linalg_cholesky_ex cholesky "
    "cholesky_solve cholesky_inverse linalg_solve_triangular triangular_solve matrix_exp linalg_matrix_exp "
    "linalg_matrix_power matrix_power"
)
_SHAPES = (
    "view view_as reshape reshape_as flatten unflatten ravel expand expand_as broadcast_to repeat tile transpose "
    "swapaxes t permute movedim moveaxis adjoint unsqueeze squeeze select narrow slice split chunk unbind tensor_split "
    "diagonal diag diag_embed diagflat block_diag tril triu stack cat concat hstack vstack dstack column_stack flip "
    "roll rot90 clone contiguous index_select gather __getitem__ __setitem__ tril_indices triu_indices meshgrid"
)
_CONSTANTS = (
    "eye zeros ones full empty tensor as_tensor arange linspace zeros_like ones_like full_like empty_like new_zeros "
    "new_ones new_full new_empty new_tensor fill_ zero_ copy_ __get__ __set__ size dim ndim numel __len__ stride "
    "is_floating_point is_complex is_contiguous result_type finfo"
)
_DERIVATIVES = "grad _make_dual _unpack_dual _set_grad_enabled set_grad_enabled requires_grad_ enter_dual_level"
_NORMS = frozenset(("norm", "linalg_norm", "linalg_vector_norm", "linalg_matrix_norm"))

NAMES = frozenset(" ".join((_NUMBERS, _SUMS, _LOSSES, _MATRICES, _SHAPES, _CONSTANTS, _DERIVATIVES)).split())
"""By the names under which calls of torch are seen: of functions, of methods and their forms in place."""


def is_analytic(func: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether a call of torch is of an analytic function, away from its poles; a norm is, if it is Euclid's."""
    name = getattr(getattr(func, "overloadpacket", func), "__name__", "")
    if any(isinstance(a, torch.dtype) and not a.is_floating_point for a in (*args, *kwargs.values())):
        return False  # whole numbers jump
    if name in _NORMS:
        given = (*args[1:2], kwargs.get("p"), kwargs.get("ord"))
        return all(p is None or p == "fro" or (isinstance(p, int | float) and p == 2) for p in given)
    if name.startswith("__"):  # of Python: `a + b`, and `a += b`
        return name in NAMES or name.strip("_") in NAMES or name.strip("_").removeprefix("i") in NAMES
    return name in NAMES or name.removesuffix("_") in NAMES
