"""The catalogue: spaces with a name, each a metric that can be called, with its exact form and what is known of it.

Every entry comes from one symbolic line element; torch code is generated from it. What `facts` holds is proven by the
tests, on the exact and on the numeric side.
"""

import difflib
from typing import TYPE_CHECKING, Any

from riemann._messages.names import only as _only
from riemann._moved import belong as _belong
from riemann.spaces._black_holes import kerr as kerr
from riemann.spaces._black_holes import kerr_de_sitter as kerr_de_sitter
from riemann.spaces._black_holes import kerr_newman as kerr_newman
from riemann.spaces._black_holes import kottler as kottler
from riemann.spaces._black_holes import reissner_nordstroem as reissner_nordstroem
from riemann.spaces._black_holes import schwarzschild as schwarzschild
from riemann.spaces._black_holes import taub_nut as taub_nut
from riemann.spaces._bodies import bardeen as bardeen
from riemann.spaces._bodies import btz as btz
from riemann.spaces._bodies import c_metric as c_metric
from riemann.spaces._bodies import curzon as curzon
from riemann.spaces._bodies import hayward as hayward
from riemann.spaces._bodies import interior_schwarzschild as interior_schwarzschild
from riemann.spaces._bodies import janis_newman_winicour as janis_newman_winicour
from riemann.spaces._bodies import myers_perry as myers_perry
from riemann.spaces._bodies import schwarzschild_tangherlini as schwarzschild_tangherlini
from riemann.spaces._bodies import vaidya as vaidya
from riemann.spaces._bodies import zipoy_voorhees as zipoy_voorhees
from riemann.spaces._constant_curvature import euclidean as euclidean
from riemann.spaces._constant_curvature import flat_torus as flat_torus
from riemann.spaces._constant_curvature import hyperbolic as hyperbolic
from riemann.spaces._constant_curvature import space_form as space_form
from riemann.spaces._constant_curvature import sphere as sphere
from riemann.spaces._distributions import beta_distribution as beta_distribution
from riemann.spaces._distributions import categorical as categorical
from riemann.spaces._distributions import cauchy as cauchy
from riemann.spaces._distributions import gamma_distribution as gamma_distribution
from riemann.spaces._distributions import gaussian as gaussian
from riemann.spaces._distributions import gumbel as gumbel
from riemann.spaces._distributions import inverse_gaussian as inverse_gaussian
from riemann.spaces._distributions import isotropic_gaussian as isotropic_gaussian
from riemann.spaces._distributions import laplace as laplace
from riemann.spaces._distributions import logistic as logistic
from riemann.spaces._distributions import student_t as student_t
from riemann.spaces._distributions import weibull as weibull
from riemann.spaces._homogeneous import berger_sphere as berger_sphere
from riemann.spaces._homogeneous import bianchi_cartan_vranceanu as bianchi_cartan_vranceanu
from riemann.spaces._homogeneous import complex_hyperbolic as complex_hyperbolic
from riemann.spaces._homogeneous import complex_projective as complex_projective
from riemann.spaces._homogeneous import eguchi_hanson as eguchi_hanson
from riemann.spaces._homogeneous import euclidean_schwarzschild as euclidean_schwarzschild
from riemann.spaces._homogeneous import euclidean_taub_nut as euclidean_taub_nut
from riemann.spaces._homogeneous import heisenberg as heisenberg
from riemann.spaces._homogeneous import line_times as line_times
from riemann.spaces._homogeneous import polydisk as polydisk
from riemann.spaces._homogeneous import positive_matrices as positive_matrices
from riemann.spaces._homogeneous import product_of_spheres as product_of_spheres
from riemann.spaces._homogeneous import sol as sol
from riemann.spaces._space import ENTRIES as _ENTRIES
from riemann.spaces._space import Space as Space
from riemann.spaces._surfaces import catenoid as catenoid
from riemann.spaces._surfaces import cigar as cigar
from riemann.spaces._surfaces import cone as cone
from riemann.spaces._surfaces import cylinder as cylinder
from riemann.spaces._surfaces import ellipsoid as ellipsoid
from riemann.spaces._surfaces import enneper as enneper
from riemann.spaces._surfaces import graph as graph
from riemann.spaces._surfaces import grushin as grushin
from riemann.spaces._surfaces import helicoid as helicoid
from riemann.spaces._surfaces import hyperbolic_paraboloid as hyperbolic_paraboloid
from riemann.spaces._surfaces import moebius_strip as moebius_strip
from riemann.spaces._surfaces import monkey_saddle as monkey_saddle
from riemann.spaces._surfaces import paraboloid as paraboloid
from riemann.spaces._surfaces import pseudosphere as pseudosphere
from riemann.spaces._surfaces import scherk as scherk
from riemann.spaces._surfaces import surface_of_revolution as surface_of_revolution
from riemann.spaces._surfaces import torus as torus
from riemann.spaces._universes import anti_de_sitter as anti_de_sitter
from riemann.spaces._universes import bertotti_robinson as bertotti_robinson
from riemann.spaces._universes import de_sitter as de_sitter
from riemann.spaces._universes import einstein_static as einstein_static
from riemann.spaces._universes import flrw as flrw
from riemann.spaces._universes import goedel as goedel
from riemann.spaces._universes import kantowski_sachs as kantowski_sachs
from riemann.spaces._universes import kasner as kasner
from riemann.spaces._universes import milne as milne
from riemann.spaces._universes import minkowski as minkowski
from riemann.spaces._universes import nariai as nariai
from riemann.spaces._universes import rindler as rindler
from riemann.spaces._waves import alcubierre as alcubierre
from riemann.spaces._waves import cosmic_string as cosmic_string
from riemann.spaces._waves import ellis_wormhole as ellis_wormhole
from riemann.spaces._waves import global_monopole as global_monopole
from riemann.spaces._waves import levi_civita as levi_civita
from riemann.spaces._waves import melvin as melvin
from riemann.spaces._waves import morris_thorne as morris_thorne
from riemann.spaces._waves import pp_wave as pp_wave
from riemann.spaces._waves import rosen_wave as rosen_wave


def names() -> tuple[str, ...]:
    """Names of all entries, sorted.

    Example:
        >>> from riemann import spaces
        >>> spaces.names()[:3]
        ('alcubierre', 'anti_de_sitter', 'bardeen')
    """
    return tuple(sorted(_ENTRIES))


def get(name: str, *args: Any, **arguments: Any) -> Space:
    """The entry of a name, made with the arguments of its function.

    Raises:
        ValueError: there is not such a entry; the message names those with a name alike.

    Example:
        >>> from riemann import spaces
        >>> spaces.get("sphere", n=3).dim
        3
    """
    if name not in _ENTRIES:
        alike = difflib.get_close_matches(str(name), _ENTRIES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(alike)}?" if alike else "`spaces.names()` lists them all"
        raise ValueError(f"there is no space called {name!r}; {hint}")
    return _ENTRIES[name](*args, **arguments)


__all__ = [
    "Space",
    "alcubierre",
    "anti_de_sitter",
    "bardeen",
    "berger_sphere",
    "bertotti_robinson",
    "beta_distribution",
    "bianchi_cartan_vranceanu",
    "btz",
    "c_metric",
    "categorical",
    "catenoid",
    "cauchy",
    "cigar",
    "complex_hyperbolic",
    "complex_projective",
    "cone",
    "cosmic_string",
    "curzon",
    "cylinder",
    "de_sitter",
    "eguchi_hanson",
    "einstein_static",
    "ellipsoid",
    "ellis_wormhole",
    "enneper",
    "euclidean",
    "euclidean_schwarzschild",
    "euclidean_taub_nut",
    "flat_torus",
    "flrw",
    "gamma_distribution",
    "gaussian",
    "get",
    "global_monopole",
    "goedel",
    "graph",
    "grushin",
    "gumbel",
    "hayward",
    "heisenberg",
    "helicoid",
    "hyperbolic",
    "hyperbolic_paraboloid",
    "interior_schwarzschild",
    "inverse_gaussian",
    "isotropic_gaussian",
    "janis_newman_winicour",
    "kantowski_sachs",
    "kasner",
    "kerr",
    "kerr_de_sitter",
    "kerr_newman",
    "kottler",
    "laplace",
    "levi_civita",
    "line_times",
    "logistic",
    "melvin",
    "milne",
    "minkowski",
    "moebius_strip",
    "monkey_saddle",
    "morris_thorne",
    "myers_perry",
    "names",
    "nariai",
    "paraboloid",
    "polydisk",
    "positive_matrices",
    "pp_wave",
    "product_of_spheres",
    "pseudosphere",
    "reissner_nordstroem",
    "rindler",
    "rosen_wave",
    "scherk",
    "schwarzschild",
    "schwarzschild_tangherlini",
    "sol",
    "space_form",
    "sphere",
    "student_t",
    "surface_of_revolution",
    "taub_nut",
    "torus",
    "vaidya",
    "weibull",
    "zipoy_voorhees",
]


if not TYPE_CHECKING:  # which knows the names
    __dir__, __getattr__ = _only(__name__, __all__)


_belong("riemann.spaces", __all__)
