"""What is proved: enclosures of curvature over points and boxes, and bounds on whole boxes."""

from riemann._certified.certify import Certificate as Certificate
from riemann._certified.certify import certify as certify
from riemann._certified.certify import check_certificate as check_certificate
from riemann._certified.enclose import Enclosure as Enclosure
from riemann._certified.enclose import enclose as enclose
from riemann._certified.geodesics import GeodesicEnclosure as GeodesicEnclosure
from riemann._certified.geodesics import enclose_geodesic as enclose_geodesic
from riemann._certified.injectivity import InjectivityBound as InjectivityBound
from riemann._certified.injectivity import bound_injectivity_radius as bound_injectivity_radius
from riemann._certified.rounding import bound_rounding as bound_rounding
from riemann._certified.search import Witness as Witness
from riemann._certified.signs import Signs as Signs
from riemann._certified.signs import certified_signs as certified_signs
