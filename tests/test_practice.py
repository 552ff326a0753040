"""Models as people train them: raw targets, odd batches, autocast, accumulation, checkpoints, scikit-learn."""

import copy
import io
import json
import runpy
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

import riemann as rm
import riemann_nn as nn
from riemann_nn._fields.factored import normal_vectors, squared_distances
from tests.helpers import assert_equal

F = torch.nn.functional
FAMILIES = ("cholesky", "diagonal", "conformal", "low_rank")


def net(n, family, **options):
    metric = nn.MetricNet(n, (8, 8), family, **options).double()
    for p in metric.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return metric


def trained(model, x, y, loss, steps=300):
    step = nn.TrainingStep(model, loss, nn.EvolutionLoss(curvature=0.0, volume=0.0, monitor=None))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        total, _ = step(x, y)
        total.backward()
        optimizer.step()
    return total.item()


# ------------------------------------------------------------------------------------------------------------- heads


@pytest.mark.parametrize("head", ["mahalanobis", "kernel", "linear"])
@pytest.mark.parametrize("offset, scale", [(0.0, 1.0), (150.0, 80.0), (-1e5, 1e-1)])
@pytest.mark.filterwarnings("ignore:the metrics of this model are decorative")
def test_values_of_any_offset_and_scale(head, offset, scale):
    x = torch.randn(200, 2, dtype=torch.float64)
    y = offset + scale * (x[:, :1] * x[:, 1:] + x[:, :1])
    model = nn.NeuralDifferentialManifold(2, [4], 1, head=head, task=F.mse_loss).double()
    assert trained(model, x, y, F.mse_loss) < 0.2 * float(y.var())


def test_the_default_head_regresses_without_being_told():
    x = torch.randn(200, 2)
    y = 2 * x[:, :1] + 3
    model = nn.NeuralDifferentialManifold(2, [4], 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x)[0], y)
        loss.backward()
        optimizer.step()
    assert loss < 0.05 * y.var()


@pytest.mark.parametrize("task, loss", [("values", lambda o, y: (o - y).abs().mean()), (None, partial(F.mse_loss))])
def test_values_of_a_loss_that_is_not_torch_s(task, loss):
    """That they are values is said with the model, or inside the partial function: units are those of the targets."""
    x = torch.randn(50, 2)
    y = 1e5 + 30 * x[:, :1]
    model = nn.NeuralDifferentialManifold(2, [4], 1, task=task)
    nn.TrainingStep(model, loss, nn.EvolutionLoss())(x, y)
    assert_equal(model.head.units.offset, y.mean(0))
    assert_equal(model.head.units.unit, y.std(0, correction=0), rtol=1e-4)


@pytest.mark.parametrize("loss", [F.mse_loss, torch.nn.HuberLoss(), F.binary_cross_entropy_with_logits])
def test_targets_without_an_axis_of_outputs(loss):
    """Of one output: each target belongs to its own point, not to all."""
    step = nn.TrainingStep(nn.NeuralDifferentialManifold(2, [3], 1), loss, nn.EvolutionLoss())
    x, y = torch.randn(9, 2), torch.rand(9)
    assert_equal(step(x, y)[1]["task"], step(x, y[:, None])[1]["task"])


def test_classes_along_sequences():
    """Of as many steps as classes, too, where torch would take one axis for the other without a word."""
    step = nn.TrainingStep(nn.NeuralDifferentialManifold(2, [3], 3), F.cross_entropy, nn.EvolutionLoss())
    x, y = torch.randn(4, 3, 2), torch.randint(3, (4, 3))
    expected = step(x.flatten(0, 1), y.flatten())[1]["task"]
    assert_equal(step(x, y)[1]["task"], expected)
    assert_equal(step(x, F.one_hot(y, 3).float())[1]["task"], expected)


@pytest.mark.unshaped
def test_points_of_another_kind_are_refused():
    model = nn.NeuralDifferentialManifold(2, [3], 1)
    for x in (torch.ones(4, 5), torch.ones(4, 2, dtype=torch.int64), torch.ones(())):
        with pytest.raises(ValueError, match=r"`x` has shape \(.*\) and dtype torch.*, expected \(\*batch, 2\)"):
            model(x)


def test_several_labels():
    x = torch.randn(300, 2)
    y = torch.stack((x[:, 0] > -1, x[:, 1] > -1, x.sum(-1) < 3), -1).float()  # together, more often than not
    model = nn.NeuralDifferentialManifold(2, [4], 3)
    trained(model, x, y, F.binary_cross_entropy_with_logits)
    assert (((model(x)[0] > 0) == (y > 0)).float().mean(0) > 0.9).all()
    assert "independent labels" in repr(model)


def test_the_loss_says_what_is_predicted():
    evolution = nn.EvolutionLoss()
    for loss, words in ((F.mse_loss, "values"), (torch.nn.CrossEntropyLoss(), "exclusive classes")):
        assert words in repr(nn.NeuralDifferentialManifold(2, [3], 4, task=loss))
    model = nn.NeuralDifferentialManifold(2, [3], 4, task="classes")
    with pytest.raises(ValueError, match="mse_loss needs values predicted, but the head is for classes"):
        nn.TrainingStep(model, F.mse_loss, evolution)
    with pytest.raises(ValueError, match="`task` is 'ranks', expected 'values'"):
        nn.NeuralDifferentialManifold(2, [3], 4, task="ranks")
    model = nn.NeuralDifferentialManifold(2, [3], 2, task="values")
    with pytest.raises(ValueError, match=r"`targets` has shape \(5, 3\), expected \(\*batch, 2\)"):
        model.start_at(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="not all finite"):
        model.start_at(torch.full((5, 2), torch.nan))


@pytest.mark.filterwarnings("ignore:the metrics of this model are decorative")
@pytest.mark.parametrize("head", ["mahalanobis", "kernel", "linear"])
def test_counts(head):
    """Poisson's likelihood of logarithms of rates, which start at that of the mean count."""
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = torch.poisson(torch.exp(6 + x[:, 0]))
    loss = torch.nn.PoissonNLLLoss()
    model = nn.NeuralDifferentialManifold(2, [4], 1, head=head, task=loss)
    step = nn.TrainingStep(model, loss, nn.EvolutionLoss(monitor=None))
    optimizer = torch.optim.Adam(step.parameters(), lr=2e-2)
    for _ in range(150):
        optimizer.zero_grad()
        step(x, y)[0].backward()
        optimizer.step()
    assert (model(x)[0][:, 0] - 6 - x[:, 0]).abs().mean() < 0.3
    assert_equal(model.head.units.offset, y.mean().log()[None])
    with pytest.raises(ValueError, match="negative mean, and are no counts; use task='values'"):
        model.start_at(-torch.ones(5, 1))
    model.start_at(torch.zeros(5, 1))
    assert model(x)[0].isfinite().all()


@pytest.mark.parametrize(
    "loss, remedy",
    [
        (F.nll_loss, "use cross_entropy"),
        (torch.nn.KLDivLoss(), "use cross_entropy"),
        (torch.nn.BCELoss(), "use binary_cross_entropy_with_logits"),
        (torch.nn.GaussianNLLLoss(), "use lambda output, y: gaussian_nll_loss"),
        (torch.nn.PoissonNLLLoss(log_input=False), "use log_input=True"),
        (partial(F.poisson_nll_loss, log_input=False), "use log_input=True"),
    ],
    ids=["nll", "kl", "bce", "gaussian", "rates", "rates-partial"],
)
def test_losses_that_do_not_take_what_heads_give(loss, remedy):
    """Those of log-probabilities go down without end on logits."""
    with pytest.raises(ValueError, match=remedy):
        nn.TrainingStep(nn.NeuralDifferentialManifold(2, [3], 2), loss, nn.EvolutionLoss())


def test_means_and_variances_as_the_refusal_says():
    torch.manual_seed(0)
    model = nn.NeuralDifferentialManifold(1, [4], 2)
    task = lambda output, y: F.gaussian_nll_loss(output[..., :1], y, output[..., 1:].exp())
    x = torch.linspace(-1, 1, 400)[:, None]
    y = torch.sin(2 * x) + torch.exp(x - 2) * torch.randn(400, 1)
    step = nn.TrainingStep(model, task, nn.EvolutionLoss())
    optimizer = torch.optim.Adam(step.parameters(), lr=1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        step(x, y)[0].backward()
        optimizer.step()
    mean, log_variance = model(x)[0].unbind(-1)
    assert (mean - torch.sin(2 * x[:, 0])).abs().mean() < 0.1
    assert (log_variance / 2 - (x[:, 0] - 2)).abs().mean() < 0.3


# --------------------------------------------------------------------------------------------------------- structure


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("start", [1.0, 0.3])
@pytest.mark.parametrize("activation", [torch.nn.Tanh, torch.sin, lambda z: torch.atan(z)])
def test_lengths_volume_and_curvature_by_structure(family, start, activation):
    g = net(4, family, start=start, activation=activation)
    x, u, v = torch.randn(3, 2, 3, 4, dtype=torch.float64)
    same = lambda p: g(p)
    c = torch.randn(5, 4, dtype=torch.float64)
    w = x.unsqueeze(-2) - c
    assert_equal(squared_distances(g, x, c), torch.einsum("abki,abij,abkj->abk", w, g(x), w))
    assert_equal(rm.sectional_form(g, x, u, v), rm.sectional_form(same, x, u, v))
    assert_equal(rm.log_volume_element(g, x), rm.log_volume_element(same, x))
    vectors, covectors = normal_vectors(g, x[0, :1], None, 40_000)
    assert_equal(torch.einsum("zij,szj->szi", g(x[0, :1]), vectors), covectors)
    assert_equal(torch.einsum("szi,szj->zij", vectors, vectors) / 40_000, rm.inverse_metric(g, x[0, :1]), rtol=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_curvature_by_structure(family):
    g = net(3, family)
    x, u, v = torch.randn(3, 4, 3, dtype=torch.float64)
    parameters = list(g.parameters())
    found = [torch.autograd.grad(rm.sectional_form(f, x, u, v).square().sum(), parameters) for f in (g, lambda p: g(p))]
    for value, truth in zip(*found, strict=True):
        assert_equal(value, truth)


@pytest.mark.parametrize("family", FAMILIES)
def test_distances_far_from_the_origin(family):
    """Prototypes 1e4 away from it, of spread 1: in single precision lengths keep the digits of their differences."""
    g, c = net(4, family), torch.randn(5, 4, dtype=torch.float64)
    x = torch.randn(7, 4, dtype=torch.float64)
    far = torch.full((4,), 1e4, dtype=torch.float64)
    c, x = (c + far).float(), (x + far).float()
    w = x.double().unsqueeze(-2) - c.double()
    truth = torch.einsum("aki,aij,akj->ak", w, g(x.double()), w)
    assert_equal(squared_distances(g.float(), x, c), truth.float(), rtol=1e-4)


class _Largest(torch.overrides.TorchFunctionMode):
    """The size of the largest tensor that is made."""

    entries = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.entries = max(self.entries, result.numel())
        return result


@pytest.mark.parametrize("family", ["diagonal", "conformal", "low_rank"])
def test_no_array_of_differences_is_made(family):
    """Nor one of matrices: the head of a wide chart costs what its networks cost."""
    n, batch, classes = 64, 50, 30
    model = nn.NeuralDifferentialManifold(n, [n], classes, family=family)
    with _Largest() as largest:
        model(torch.randn(batch, n))
    assert largest.entries <= 2 * n * batch + 64 * batch


def test_what_changes_the_values_is_seen():
    """A hook on a network inside: lengths are those of g as it is evaluated."""
    for family in FAMILIES:
        g = net(3, family)
        x, c = torch.randn(2, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
        before, w = squared_distances(g, x, c), x.unsqueeze(-2) - c
        next(m for m in g.modules() if isinstance(m, torch.nn.Linear)).register_forward_hook(lambda m, i, o: o + 1)
        assert_equal(squared_distances(g, x, c), torch.einsum("aki,aij,akj->ak", w, g(x), w))
        assert not torch.allclose(squared_distances(g, x, c), before)


def test_wide_charts_have_metrics_of_low_rank():
    model = nn.NeuralDifferentialManifold(3, [64, 63], 2)
    assert [layer.metric.family for layer in model.layers] == ["low_rank", "cholesky"]
    assert "dim 64   MetricNet low_rank" in repr(model)


# ------------------------------------------------------------------------------------------------------- checkpoints


def test_states_are_of_one_configuration():
    model = nn.NeuralDifferentialManifold(2, [3], 2, activation=torch.nn.SiLU, task="classes")
    copy = nn.NeuralDifferentialManifold.from_config(model.config)
    stored = io.BytesIO()
    torch.save(model.state_dict(), stored)
    stored.seek(0)
    copy.load_state_dict(torch.load(stored, weights_only=True))
    x = torch.randn(5, 2)
    assert torch.equal(copy(x)[0], model(x)[0])
    with pytest.raises(ValueError, match="`activation` is 'Tanh' here and 'SiLU' there"):
        nn.NeuralDifferentialManifold(2, [3], 2, task="classes").load_state_dict(model.state_dict())


@pytest.mark.parametrize("other", [{"start": 2.0}, {"log_range": 0.5}, {"activation": torch.nn.SiLU}])
def test_states_of_metrics(other):
    g = nn.MetricNet(3)
    (name,) = other
    with pytest.raises(ValueError, match=f"of a metric of another configuration: `{name}` is .* here and .* there"):
        nn.MetricNet(3, **other).load_state_dict(g.state_dict())
    again = nn.MetricNet.from_config(nn.MetricNet(3, **other).config)
    again.load_state_dict(nn.MetricNet(3, **other).state_dict())
    with pytest.raises(ValueError, match="`activation` is 'sin' here and 'tanh' there"):
        nn.MLPCholesky(2, (4,), activation=torch.sin).load_state_dict(nn.MLPCholesky(2, (4,)).state_dict())


def test_states_of_coordinates():
    layer = nn.CoordinateLayer(3, activation=torch.nn.SiLU, log_scale=0.5)
    again = nn.CoordinateLayer(3, activation=torch.nn.SiLU, log_scale=0.5)
    again.load_state_dict(layer.state_dict())
    x = torch.randn(4, 3)
    assert torch.equal(again(x), layer(x))
    for other in ({"log_scale": 0.5}, {"activation": torch.nn.SiLU}):
        with pytest.raises(ValueError, match="of a coordinate layer of another configuration"):
            nn.CoordinateLayer(3, **other).load_state_dict(layer.state_dict())
    with pytest.raises(ValueError, match="`activation` is 'sin' here and 'silu' there"):
        nn.CoordinateLayer(3, activation=torch.sin, log_scale=0.5).load_state_dict(layer.state_dict())
    bare = {k: v for k, v in layer.state_dict().items() if k != "_extra_state"}  # as older versions saved it
    nn.CoordinateLayer(3).load_state_dict(bare)


@pytest.mark.parametrize("activation", [torch.sin, torch.nn.SiLU, "Softplus"])
def test_configurations_are_text(activation):
    model = nn.NeuralDifferentialManifold(2, [3], 2, activation=activation, task=F.mse_loss)
    again = nn.NeuralDifferentialManifold.from_config(json.loads(json.dumps(model.config)))
    again.load_state_dict(model.state_dict())
    x = torch.randn(4, 2)
    assert torch.equal(again(x)[0], model(x)[0])


def test_states_of_weights_alone():
    model, other = (nn.NeuralDifferentialManifold(2, [3], 2) for _ in range(2))
    other.load_state_dict({k: v for k, v in model.state_dict().items() if not k.endswith("metric._extra_state")})
    assert torch.equal(other(torch.ones(1, 2))[0], model(torch.ones(1, 2))[0])


# ---------------------------------------------------------------------------------------------------------- training


def test_a_last_batch_of_one():
    model = nn.NeuralDifferentialManifold(2, [3], 1)
    step = nn.TrainingStep(model, F.mse_loss, nn.EvolutionLoss(every=1))
    step(torch.randn(8, 2), torch.randn(8, 1))[0].backward()
    total, parts = step(torch.randn(1, 2), torch.randn(1, 1))
    total.backward()
    assert total.isfinite() and parts["volume"] == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(family, dtype):
    """Maps run in half precision, geometry in that of the metric."""
    model = nn.NeuralDifferentialManifold(2, [3, 3], 2, family=family)
    step = nn.TrainingStep(model, F.cross_entropy, nn.EvolutionLoss(every=1))
    x, y = torch.randn(16, 2), torch.randint(2, (16,))
    with torch.autocast("cpu", dtype):
        total, parts = step(x, y)
        output, charts = model(x)
    total.backward()
    assert output.dtype == torch.float32 and all(c.coordinates.dtype == torch.float32 for c in charts)
    assert all(p.isfinite() for p in parts.values())
    assert_equal(output, model(x)[0], rtol=0.1)


def test_parts_have_the_same_keys_at_every_step():
    model = nn.NeuralDifferentialManifold(2, [3], 1)
    step = nn.TrainingStep(model, F.mse_loss, nn.EvolutionLoss(every=3, delay=1))
    parts = [step(torch.randn(8, 2), torch.randn(8, 1))[1] for _ in range(6)]
    assert all(p.keys() == {"task", "volume", "curvature"} for p in parts)
    assert parts[0]["curvature"].isnan() and parts[2]["curvature"].isnan()
    assert parts[4]["curvature"] == parts[3]["curvature"] and parts[3]["curvature"].isfinite()


def test_gradient_accumulation():
    """Four calls are one step: the schedule counts steps, and all four have their share of the geometry."""
    model, x = nn.NeuralDifferentialManifold(2, [3], 1).double(), torch.randn(16, 2, dtype=torch.float64)
    evolution = nn.EvolutionLoss(volume=0.0, every=2, accumulate=4, monitor=None)
    evolved = []
    for _ in range(4):
        for part in x.split(4):
            output, charts = model(part)
            total, parts = evolution(output.square().mean(), charts)
            evolved.append(bool(total != parts["task"]))
    assert evolution.step == 4
    plain = nn.EvolutionLoss(volume=0.0, every=2, monitor=None)
    plain(model(x)[0].square().mean(), model(x)[1])
    assert plain.step == 1


def test_sequences():
    model = nn.NeuralDifferentialManifold(3, [4], 2, task="values")
    step = nn.TrainingStep(model, F.mse_loss, nn.EvolutionLoss(every=1))
    x, y = torch.randn(5, 7, 3), torch.randn(5, 7, 2)
    total, _ = step(x, y)
    total.backward()
    output, (chart,) = model(x)
    assert output.shape == (5, 7, 2) and chart.scalar_curvature().shape == (5, 7)
    assert_equal(output[2, 3], model(x[2, 3])[0])


@pytest.mark.unshaped
def test_a_compiled_step_is_one_graph():
    """For all steps: of planes in two dimensions there is one, so that what is drawn does not matter."""
    from torch._dynamo.testing import CompileCounterWithBackend

    model = nn.NeuralDifferentialManifold(2, [2], 3, family="diagonal", metric_hidden=(4,), depth=1).double()
    for p in model.layers[0].metric.parameters():
        torch.nn.init.normal_(p)
    step = nn.TrainingStep(model, F.cross_entropy, nn.EvolutionLoss(every=2, points=None, ramp=3))
    x, y = torch.randn(8, 2, dtype=torch.float64), torch.randint(3, (8,))
    truth = nn.TrainingStep(model, F.cross_entropy, nn.EvolutionLoss(points=None)).eval()(x, y)[1]
    torch.compiler.reset()  # what other tests compiled teaches torch which sizes vary
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(step.train(), fullgraph=True, backend=counter)
    for k in range(5):
        total, parts = compiled(x, y)
        assert parts.keys() == truth.keys()
        for name, part in parts.items():
            assert_equal(part, truth[name])
        geometry = 0.05 * (truth["curvature"] + truth["volume"])
        assert_equal(total, truth["task"] + min(k / 3, 1.0) * geometry)
    assert counter.frame_count == 1 and step.evolution.step == 5
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    for size in (5, 3):  # once more, for any number of points
        assert compiled(torch.randn(size, 2, dtype=torch.float64), torch.randint(3, (size,)))[0].isfinite()
    assert counter.frame_count == 2


@pytest.mark.unshaped
def test_a_share_of_the_points_at_each_compiled_step_is_unbiased():
    """Under torch's generator, in the mean over steps as what is drawn eagerly."""
    model, x = nn.NeuralDifferentialManifold(2, [2], 1).double(), torch.randn(12, 2, dtype=torch.float64)
    for p in model.layers[0].metric.parameters():
        torch.nn.init.normal_(p, std=0.3)
    evolution = nn.EvolutionLoss(volume=0.0, curvature=1.0, points=8, every=2, monitor=None)
    _, charts = model(x)
    truth = evolution.eval()(torch.zeros((), dtype=x.dtype), charts)[0]
    evolution.train()
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        drawn = torch.stack([evolution(torch.zeros((), dtype=x.dtype), charts)[0] for _ in range(400)])
    assert (drawn.mean() - truth).abs() < 4 * drawn.std() / 20


class _Output(torch.nn.Module):
    """What a model predicts: a graph has tensors for results, and no charts."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)[0]


@pytest.mark.unshaped
def test_export_of_the_forward_pass():
    """Of a batch of any size."""
    model = _Output(nn.NeuralDifferentialManifold(3, [2], 2, metric_hidden=(4,), depth=1)).eval()
    sizes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(model, (torch.randn(5, 3),), dynamic_shapes=sizes).module()
    x = torch.randn(9, 3)
    torch.testing.assert_close(exported(x), model(x))


@pytest.mark.slow
def test_test_losses_are_those_of_a_perceptron_or_less():
    """At default settings, on data where metrics could be fitted too well: within 1.2 times."""
    calibration = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "calibration.py"))

    ratios = []
    for name in ("breast cancer", "diabetes"):
        losses = [[calibration["by_estimator"](kind, name, seed) for kind in ("manifold", "MLP")] for seed in range(3)]
        ours, theirs = np.mean(losses, 0)
        ratios.append(ours / theirs)
    assert max(ratios) < 1.2


@pytest.mark.unshaped
@pytest.mark.parametrize("norm_first", [False, True])
def test_layer_in_a_transformer_block(norm_first):
    """In place of `linear1`, which torch's fused kernels would multiply with: it is called, in training and not."""

    def layer():
        map = torch.nn.Sequential(torch.nn.Linear(8, 16), nn.CoordinateLayer(16))
        return nn.TensorLayer(nn.ManifoldLayer(map, nn.MetricNet(16, (8,))))

    def block():
        return torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)

    one = block()
    one.linear1 = layer()
    x, mask = torch.randn(3, 5, 8), torch.arange(5).expand(3, 5) >= torch.tensor([[5], [2], [1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nested tensors are not for norm_first
        stack = torch.nn.TransformerEncoder(one, 2)
        mixed = torch.nn.TransformerEncoder(block(), 2)
    for model, given in ((one, {}), (stack, {}), (stack, {"src_key_padding_mask": mask})):
        expected, charts = nn.charts_of(model.train(), x, **given)
        assert charts[-1].scalar_curvature().shape == (3, 5)
        with torch.no_grad():
            assert_equal(model.eval()(x, **given)[~mask], expected[~mask], rtol=1e-5)
    stack.load_state_dict(stack.state_dict())

    mixed.layers[1].linear1 = layer()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of torch's prototype
        if norm_first:
            mixed.eval()(x, src_key_padding_mask=mask)
        else:
            with pytest.raises(TypeError, match="nested tensor; use"):
                mixed.eval()(x, src_key_padding_mask=mask)
    with pytest.raises(TypeError, match="a `TensorLayer` is no matrix, which `linear` wants: call the layer"):
        F.linear(x, one.linear1.weight)


def test_layers_among_other_modules():
    """In nested Sequentials, in a transformer block with masks, in copies; frozen; of widths 1 and 2; of one datum."""

    def layer(m, n):
        map = torch.nn.Sequential(torch.nn.Linear(m, n), nn.CoordinateLayer(n))
        return nn.TensorLayer(nn.ManifoldLayer(map, nn.MetricNet(n, (8,))))

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(4, 2, batch_first=True)
            self.inside = torch.nn.Sequential(torch.nn.Sequential(layer(4, 2)), layer(2, 1), torch.nn.Linear(1, 4))

        def forward(self, x, mask):
            return x + self.inside(self.attention(x, x, x, key_padding_mask=~mask)[0])

    model = Block()
    model.inside[1].requires_grad_(False)
    x, mask = torch.randn(3, 5, 4), torch.arange(5).expand(3, 5) < torch.tensor([[5], [2], [1]])
    output, charts = nn.charts_of(copy.deepcopy(model), x, mask)
    assert torch.equal(output, model(x, mask)) and [c.coordinates.shape[-1] for c in charts] == [2, 1]
    assert charts[0].scalar_curvature().shape == (3, 5)
    output, charts = nn.charts_of(model, x, mask)
    counted = [c._replace(coordinates=c.coordinates[mask]) for c in charts]
    total, parts = nn.EvolutionLoss()(output[mask].square().mean(), counted)
    total.backward()
    assert all(part.isfinite() for part in parts.values())
    assert not any(hooks for m in model.modules() for hooks in m._forward_hooks)
    one = model.inside[1]
    assert_equal(one.chart(x[:1, 0, :2]).coordinates, one(x[:1, 0, :2]))
    with pytest.raises(ValueError, match="no `ManifoldLayer` acted in this call of Linear: it has 0"):
        nn.charts_of(torch.nn.Linear(2, 2), torch.zeros(2))


class _Scaled(torch.nn.Module):
    """c times the identity."""

    def __init__(self):
        super().__init__()
        self.c = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return self.c * torch.eye(x.shape[-1]).expand(*x.shape[:-1], -1, -1)


@pytest.mark.parametrize("n", [1, 2, 20])
def test_the_monitor_sees_growth(n):
    metric, monitor = _Scaled(), nn.CollapseMonitor()
    chart = nn.Chart(torch.randn(5, n), metric, torch.nn.Identity())
    monitor([chart])
    with torch.no_grad():
        metric.c.fill_(1e6)
    with pytest.warns(
        UserWarning, match=f"chart 0 grows: its volume element rose by a factor of e\\^{6.907755 * n:.1f}"
    ):
        monitor([chart])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_monitor_sees_a_net_at_its_bounds(family, sign):
    metric = nn.MetricNet(3, (4,), family)
    chart, monitor = nn.Chart(torch.randn(5, 3), metric, torch.nn.Identity()), nn.CollapseMonitor()
    monitor([chart])
    for m in metric.modules():
        if isinstance(m, torch.nn.Linear):
            torch.nn.init.constant_(m.bias, 50 * sign)
    with pytest.warns(UserWarning, match="chart 0 sticks: .* of its heads are at their bounds"):
        monitor([chart])
    assert monitor.latest[0].saturation > 0.95


def test_the_monitor_names_a_metric_that_is_lost():
    """After a step that went wrong, or at data that are not finite; it sees the next finite batch as before."""
    metric, monitor = _Scaled(), nn.CollapseMonitor()
    x = torch.randn(5, 2)
    chart = nn.Chart(x, metric, torch.nn.Identity())
    monitor([chart])
    with torch.no_grad():
        metric.c.fill_(torch.nan)
    with pytest.warns(UserWarning, match="metric of chart 0 has no values: at the data it is not finite"):
        monitor([chart])
    assert np.isnan(monitor.latest[0].condition)
    monitor([chart])
    with torch.no_grad():
        metric.c.fill_(1e6)
    with pytest.warns(UserWarning, match="chart 0 grows"):
        monitor([chart])
    assert np.isnan(nn.health(chart._replace(coordinates=x[:0])).log_volume)


def test_data_that_are_not_finite_are_named():
    step = nn.TrainingStep(nn.NeuralDifferentialManifold(2, [3], 2), F.cross_entropy, nn.EvolutionLoss())
    x = torch.randn(9, 2)
    x[3, 0] = torch.nan
    with pytest.warns(UserWarning, match="has no values"), pytest.raises(ValueError, match=r"`x` is not finite at"):
        step(x, torch.zeros(9, dtype=torch.int64))


def test_old_monitors_resume():
    monitor = nn.CollapseMonitor()
    monitor.set_extra_state({"first": [(0.0, 1.0, 0.0, 0.0)], "said": []})
    monitor([nn.Chart(torch.randn(5, 2), nn.MetricNet(2), torch.nn.Identity())])
    assert monitor.latest[0].saturation == 0


# ------------------------------------------------------------------------------------------------------ scikit-learn


@pytest.mark.slow
@pytest.mark.parametrize("name", ["NDMClassifier", "NDMRegressor"])
def test_checks_of_scikit_learn(name):
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    options = {"hidden_dims": (4,), "lr": 0.02, "max_epochs": 40, "patience": 40, "validation_fraction": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = checks.check_estimator(getattr(nn, name)(random_state=0, **options), on_fail=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []


def test_a_classifier_is_calibrated():
    """Labels of which a quarter are wrong: no confidence beyond that."""
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(500, 3)), rng.random(500) < 0.25
    y = np.where((X[:, 0] > 0) ^ noise, "yes", "no")
    model = nn.NDMClassifier(random_state=0, max_epochs=40).fit(X[:300], y[:300])
    assert log_loss(y[300:], model.predict_proba(X[300:])) < 1.2 * 0.562  # the entropy of a quarter
    assert set(model.predict(X)) <= {"no", "yes"}


def test_estimators_of_several_outputs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    labels = np.stack((X[:, 0] > -1, X[:, 1] > -1), -1).astype(int)
    model = nn.NDMClassifier(random_state=0, max_epochs=60).fit(X, labels)
    assert (model.predict(X) == labels).mean() > 0.85 and model.predict_proba(X).shape == (120, 2)
    values = np.stack((1e4 + X[:, 0], X[:, 1]), -1)
    assert nn.NDMRegressor(random_state=0, max_epochs=100).fit(X, values).score(X, values) > 0.8
    with pytest.raises(ValueError, match="y has one class"):
        nn.NDMClassifier().fit(X, np.zeros(120))


@pytest.mark.parametrize("kind", ["classes", "labels", "values"])
def test_weights_count_samples(kind):
    """A sample of weight w is w samples, one of weight 0 none: in scales, in losses and in the temperature."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    y = {"classes": X[:, 0] > 0.2, "labels": (X[:, :2] > 0).astype(int), "values": 50 + 3 * X[:, 0]}[kind]
    make = nn.NDMRegressor if kind == "values" else nn.NDMClassifier
    predict = "predict" if kind == "values" else "predict_proba"
    options = {"hidden_dims": (3,), "batch_size": 1000, "max_epochs": 8, "validation_fraction": 0.0, "random_state": 0}
    weighted = getattr(make(**options).fit(X, y, sample_weight=w), predict)(X)
    copied = getattr(make(**options).fit(np.repeat(X, w, 0), np.repeat(y, w, 0)), predict)(X)
    np.testing.assert_allclose(weighted, copied, rtol=1e-9)
    assert np.abs(weighted - getattr(make(**options).fit(X, y), predict)(X)).max() > 1e-3


def test_constant_columns_and_huge_ones():
    """A feature that was constant, to rounding, weighs nothing elsewhere; a constant target is predicted as it is."""
    X = np.c_[np.random.default_rng(0).normal(size=(40, 2)), np.full(40, 0.1)]
    options = {"random_state": 0, "max_epochs": 3, "hidden_dims": (3,)}
    model = nn.NDMRegressor(**options).fit(X, np.c_[X[:, 0], np.full(40, 0.1), np.full(40, 7.0)])
    assert (model.predict(X)[:, 1:] == [0.1, 7.0]).all()
    moved = X + [0, 0, 1e-3]
    assert np.abs(model.predict(moved) - model.predict(X)).max() < 0.1
    X[0, 0] = 1e300  # whose square overflows
    assert np.ptp(nn.NDMRegressor(**options).fit(X, X[:, 0] / 1e300).predict(X)) > 1e-3


def test_labels_in_a_sparse_array():
    X = np.random.default_rng(0).normal(size=(40, 2))
    fitted = lambda y: nn.NDMClassifier((3,), random_state=0, max_epochs=2).fit(X, y).predict_proba(X)
    labels = (X > 0).astype(int)
    assert (fitted(scipy.sparse.csr_matrix(labels)) == fitted(labels)).all()


@pytest.mark.parametrize("unit", [1e-9, 1e30])
def test_a_regressor_knows_no_units(unit):
    X = np.random.default_rng(0).normal(size=(80, 2))
    fitted = lambda y: nn.NDMRegressor((3,), random_state=0, max_epochs=5).fit(X, y).predict(X)
    y = 3 + X[:, 0]
    np.testing.assert_allclose(fitted(unit * y), unit * fitted(y), rtol=1e-9)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "`batch_size` is 0, expected a whole number, 1 or more"),
        ({"max_epochs": 0}, "`max_epochs` is 0"),
        ({"patience": 0}, "`patience` is 0"),
        ({"validation_fraction": -0.1}, "`validation_fraction` is -0.1, expected a number from 0 to below 1"),
        ({"validation_fraction": 1.0}, "`validation_fraction` is 1.0"),
        ({"hidden_dims": 16}, "`hidden_dims` is 16, expected a sequence"),
    ],
)
def test_options_of_estimators(options, message):
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises((ValueError, TypeError), match=message):
        nn.NDMRegressor(**options).fit(X, X[:, 0])


def test_negative_weights_are_refused():
    X = np.random.default_rng(0).normal(size=(30, 2))
    for w in (-np.ones(30), np.zeros(30)):
        with pytest.raises(ValueError, match="`sample_weight` has negative numbers|non-zero"):
            nn.NDMRegressor().fit(X, X[:, 0], sample_weight=w)
