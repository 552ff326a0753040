"""Operations without derivatives that can be relied on, and what to write instead."""

from typing import Any

from riemann._arithmetic.dispatch import Arithmetic
from riemann._arithmetic.jet import Refused, rule

_POLYNOMIALS = (
    [f"special_{kind}chebyshev_polynomial_{letter}" for kind in ("", "shifted_") for letter in "tuvw"]
    + [f"special_{name}" for name in ("hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l")]
    + ["special_legendre_polynomial_p"]
)
_REFLECTIONS = "multiply the reflections I - tau v v^T yourself"
_SPECTRUM = "use `torch.linalg.eigh` of a symmetric matrix, or traces of powers of this one"
_NUMBERS = "turns a tensor into numbers, which have no derivatives; use `torch.where` for a choice"

REFUSED: dict[str, str] = {
    **dict.fromkeys(("linalg_householder_product", "orgqr", "ormqr"), f"has no rule for derivatives; {_REFLECTIONS}"),
    "geqrf": "has no rule for derivatives; use `torch.linalg.qr`",
    **dict.fromkeys(
        ("linalg_lu", "linalg_ldl_factor_ex"),
        "has no rule for derivatives; use `torch.linalg.solve`, `det` or `cholesky`",
    ),
    **dict.fromkeys(
        ("igamma", "igammac", "special_gammainc", "special_gammaincc"),
        "has no rule for derivatives; write its integral or series, for half-integers `erf` and powers",
    ),
    **dict.fromkeys(
        (
            *(
                "_sparse_coo_tensor_with_dims_and_tensors",
                "sparse_compressed_tensor",
                "_sparse_compressed_tensor_unsafe",
            ),
            *(f"_to_sparse{kind}" for kind in ("", "_csr", "_csc", "_bsr", "_bsc")),
        ),
        "makes a sparse tensor of values of the point; write them into a dense one",
    ),
    "linalg_lstsq": "has no rule for derivatives; use `torch.linalg.pinv(A) @ B`",
    **dict.fromkeys(("linalg_eig", "_linalg_eigvals", "linalg_eigvals"), f"has no rule for derivatives; {_SPECTRUM}"),
    **dict.fromkeys(
        ("scatter_reduce", "index_reduce", "segment_reduce", "_segment_reduce_backward"),
        "has no rule for derivatives; use a product or a maximum over a padded axis, or `scatter_add` for sums",
    ),
    **dict.fromkeys(
        ("_embedding_bag", "_embedding_bag_forward_only"),
        "has no rule for derivatives; use `torch.nn.functional.embedding` and a sum",
    ),
    **dict.fromkeys(_POLYNOMIALS, "has no rule for derivatives; use its recurrence or its sum of powers"),
    "special_airy_ai": "has no rule for derivatives; write a series or an integral of it",
    "special_zeta": "has no rule for derivatives; use `torch.polygamma` or a series",
    **dict.fromkeys(
        (
            *(f"adaptive_max_pool{k}d" for k in (1, 2, 3)),
            *(f"fractional_max_pool{k}d" for k in (2, 3)),
        ),
        "has no rule for derivatives; use `unfold` and `amax`",
    ),
    **dict.fromkeys(
        ("scatter.reduce", "scatter.value_reduce"),
        "has no rule for derivatives; use `scatter_add`, or a product over a padded axis",
    ),
    "nextafter": "is constant between its jumps; write `x + step`",
    "frexp": "takes a number apart; use `torch.log2`",
    "renorm": "has kinks; divide by `torch.linalg.vector_norm` where you mean to",
    **dict.fromkeys(("_local_scalar_dense", "item", "is_nonzero", "equal", "_is_all_true", "_is_any_true"), _NUMBERS),
    **dict.fromkeys(
        ("nonzero", "nonzero_static", "masked_select", "_unique2", "unique_dim", "unique_consecutive"),
        "has as many results as the point decides; use `torch.where`, or a fixed index",
    ),
}


def _refuse(name: str) -> None:
    def refused(A: Arithmetic, *_: Any, **__: Any) -> Any:
        raise Refused(REFUSED[name])

    rule(name)(refused)


for _name in REFUSED:
    _refuse(_name)
