"""Neural differential manifolds: their metrics matter, fit together, do not collapse, and resume exactly."""

import copy
import math
import re
import warnings

import pytest
import torch

import riemann as rm
import riemann_nn as nn
from tests.helpers import assert_equal

bce = torch.nn.functional.binary_cross_entropy_with_logits


def points(*batch, n):
    return torch.randn(*batch, n, dtype=torch.float64)


def moons(count=200, noise=0.1):
    """Two interleaved half circles and their labels."""
    t, label = math.pi * torch.rand(count), torch.arange(count) % 2
    sign = 1.0 - 2 * label
    x = torch.stack((torch.cos(t) * sign + 0.5 * (1 - sign), torch.sin(t) * sign + 0.25 * (1 - sign)), -1)
    return x + noise * torch.randn(count, 2), label.to(x.dtype).unsqueeze(-1)


def manifold(*dims, std=0.3, **options):
    """A model away from its start, float64."""
    model = nn.NeuralDifferentialManifold(
        dims[0], list(dims[1:-1]), dims[-1], metric_hidden=(8,), depth=2, **options
    ).double()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=std)
    return model


# --------------------------------------------------------------------------------------------------------- the model


@pytest.mark.parametrize("coordinates", ["flow", "linear"])
@pytest.mark.parametrize("head", ["mahalanobis", "kernel"])
def test_charts(coordinates, head):
    model, x = manifold(3, 4, 4, 2, 5, coordinates=coordinates, head=head), points(6, n=3)
    output, charts = model(x)
    assert output.shape == (6, 5) and [c.coordinates.shape[-1] for c in charts] == [4, 4, 2]
    assert [layer.kind for layer in model.layers] == ["embedding", "transition", "submersion"]
    for chart in charts:
        g, z = chart.metric, chart.coordinates
        assert_equal(chart.g, g(z))
        for name in ("volume_element", "log_volume_element", "scalar_curvature", "ricci_tensor", "riemann_tensor",
                     "inverse_metric", "christoffel"):  # fmt: skip
            assert_equal(getattr(chart, name)(), getattr(rm, name)(g, z))
        assert_equal(chart.at(1).dg, rm.at(g, z, 1).dg)
        u, v = torch.eye(z.shape[-1], dtype=z.dtype)[:2]
        assert_equal(chart.sectional_curvature(u, v), rm.sectional_curvature(g, z, u, v))
        assert_equal(chart.squared_distance(z), torch.zeros(6))
    for i, chart in enumerate(charts):  # derivatives of the output, whatever constant the head leaves out
        J = rm.jet(lambda z, i=i: model.output_from(i, z), chart.coordinates, 1)[1]
        assert J.shape == (6, 5, chart.coordinates.shape[-1])


@pytest.mark.parametrize("head", ["mahalanobis", "kernel"])
@pytest.mark.parametrize("coordinates", ["flow", "linear"])
def test_the_task_has_a_gradient_in_every_metric(head, coordinates):
    """On two moons, and for every parameter of every metric net."""
    model = nn.NeuralDifferentialManifold(2, [4, 4], 1, head=head, coordinates=coordinates)
    x, y = moons()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(2):  # the last layers of the nets start at 0, and with them the gradients of those before
        optimizer.zero_grad()
        bce(model(x)[0], y).backward()
        optimizer.step()
    for layer in model.layers:
        assert all(p.grad.abs().sum() > 0 for p in layer.metric.parameters())


def test_in_the_article_it_has_none():
    with pytest.warns(UserWarning, match="the metrics of this model are decorative") as said:
        model = nn.NeuralDifferentialManifold.article(2, [16], 1)
    assert len(said) == 1 and "DECORATIVE" in model.card()
    x, y = moons()
    bce(model(x)[0], y).backward()
    assert all(p.grad is None for p in model.layers[0].metric.parameters())
    coupled = nn.NeuralDifferentialManifold.article(2, [16], 1, head="mahalanobis")
    bce(coupled(x)[0], y).backward()
    assert all(p.grad.abs().sum() > 0 for p in coupled.layers[0].metric.parameters())


def test_the_architecture_of_the_article():
    with pytest.warns(UserWarning, match="decorative"):
        model = nn.NeuralDifferentialManifold.article(2, [16], 1)
    layer, x = model.layers[0], torch.randn(5, 2)
    output, (chart,) = model(x)
    z = torch.nn.functional.elu(layer.map[0](x))
    assert_equal(chart.coordinates, z)
    assert_equal(output, model.head.linear(z))
    first, last = layer.metric.layers
    o = last(torch.tanh(first(z)))
    L = torch.zeros(5, 16, 16)
    rows, columns = torch.tril_indices(16, 16)
    L[:, rows, columns] = o
    d = torch.arange(16)
    L[:, d, d] = torch.nn.functional.softplus(L[:, d, d])
    assert_equal(chart.g, L @ L.mT)
    assert_equal(chart.volume_element(), L[:, d, d].prod(-1), scale=1e-3)  # of the same L, without an epsilon


def test_a_classifier_learns():
    model, (x, y) = nn.NeuralDifferentialManifold(2, [2, 2], 1), moons()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        bce(model(x)[0], y).backward()
        optimizer.step()
    x, y = moons()
    assert ((model(x)[0] > 0) == (y > 0)).float().mean() > 0.95


def test_the_card_says_what_is_whose():
    card = repr(nn.NeuralDifferentialManifold(2, [4, 3], 2))
    for words in ("embedding", "submersion", "coupling  forward", "the paper's", "ours", "<= g <="):
        assert words in card
    model, x = manifold(2, 3, 3, 2), points(20, n=2)
    card = model.card(x)
    assert "at 20 points" in card and "+-" in card and "neighbouring metrics differ by a factor" in card
    assert all(p.grad is None for p in model.parameters())
    assert "fisher_loss" in nn.NeuralDifferentialManifold(2, [3], 2, head="linear", coupling="fisher").card()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"coordinates": "polar"}, "`coordinates` is 'polar'"),
        ({"head": "mean"}, "`head` is 'mean'"),
        ({"head": "linear", "coupling": "forward"}, "`coupling` is 'forward' with the head 'linear'"),
        ({"activation": torch.nn.ReLU}, "`activation` is ReLU"),
        ({"hidden_dims": []}, "at least one chart"),
    ],
)
def test_messages(options, words):
    with pytest.raises(ValueError, match=words):
        nn.NeuralDifferentialManifold(**{"input_dim": 2, "hidden_dims": [3], "output_dim": 2, **options})


# ------------------------------------------------------------------------------------------------- induced metrics


@pytest.mark.parametrize("coordinates", ["flow", "linear"])
def test_metrics_on_outputs_of_linear_layers(coordinates):
    model = manifold(3, 4, 2, 5, coordinates=coordinates)
    induced = model.induced_metrics()
    assert len(induced) == 2 and all(isinstance(linear, torch.nn.Linear) for linear in induced)
    for linear, g in induced.items():
        s = points(2, 3, n=linear.out_features)
        assert_equal(g(s), rm.at(rm.metrics.Pullback(g.map, g.ambient), s, 0).g)
        assert_equal(g(s)[0, 0], g(s[0, 0]))
        assert_equal(rm.scalar_curvature(g, s), rm.scalar_curvature(g.ambient, g.map(s)))


def test_induced_metric_of_an_activation():
    layer = nn.ManifoldLayer(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()), nn.MetricNet(4)).double()
    (g,), s = layer.induced_metrics().values(), points(5, n=4)
    slope = 1 - torch.tanh(s) ** 2
    assert_equal(g(s), slope.unsqueeze(-1) * layer.metric(torch.tanh(s)) * slope.unsqueeze(-2))


# ------------------------------------------------------------------------------------------- Fisher, compatibility


def test_both_ways_to_the_fisher_metric_agree():
    """On the output of a linear layer and on the chart that this output is, for any metric of the model's output."""
    model, x = manifold(4, 5, 3, coordinates="linear", head="linear", coupling="fisher"), points(7, n=4)
    model.layers[0].map[1] = torch.nn.Identity()  # the chart's coordinates are the layer's output
    for likelihood in ("categorical", "bernoulli", "gaussian", nn.MLPCholesky(3, (4,)).double()):
        (F,) = nn.fisher_metrics(model, model(x)[1], likelihood)
        assert_equal(nn.pulled_back_fisher(model, x, likelihood=likelihood)[model.layers[0].map[0]], F)


@pytest.mark.parametrize("likelihood, outputs", [("categorical", 3), ("bernoulli", 1), ("gaussian", 2)])
def test_fisher_metrics(likelihood, outputs):
    """The mean of squared scores, which knows nothing of Jacobians."""
    model, x = manifold(2, 4, 3, outputs), points(4, n=2)
    output, charts = model(x)
    metrics = nn.fisher_metrics(model, charts, likelihood)
    for i, (chart, F) in enumerate(zip(charts, metrics, strict=True)):
        z = chart.coordinates.detach().requires_grad_()
        logits = model.output_from(i, z)
        if likelihood == "categorical":
            log_p, p = torch.log_softmax(logits, -1), torch.softmax(logits, -1).detach()
        elif likelihood == "bernoulli":
            log_p = torch.nn.functional.logsigmoid(torch.cat((logits, -logits), -1))
            p = log_p.exp().detach()
        else:  # score of y ~ N(mean, 1) along each axis, E (y - mean)^2 = 1
            log_p, p = logits, torch.ones_like(logits)
        scores = torch.stack([torch.autograd.grad(log_p[:, k].sum(), z, retain_graph=True)[0]
                              for k in range(log_p.shape[-1])], 1)  # fmt: skip
        assert_equal(F, torch.einsum("zk,zki,zkj->zij", p, scores, scores))
        assert not F.requires_grad


def test_fisher_metrics_are_the_recursion():
    model, x = manifold(4, 5, 3, 6, coordinates="linear", head="linear", coupling="fisher"), points(7, n=4)
    output, charts = model(x)
    p = torch.softmax(output, -1)
    W = model.head.linear.weight
    truth = W.T @ (torch.diag_embed(p) - p[:, :, None] * p[:, None]) @ W
    metrics = nn.fisher_metrics(model, charts)
    assert_equal(metrics[1], truth)
    D = torch.diag_embed(1 - charts[1].coordinates ** 2)
    W = model.layers[1].map[0].weight
    assert_equal(metrics[0], W.T @ D @ truth @ D @ W)


def test_metrics_can_be_fitted_to_the_fisher_metric():
    model, x = manifold(2, 3, 4, head="linear", coupling="fisher"), points(50, n=2)
    before = nn.fisher_loss(model, model(x)[1]).item()
    parameters = [p for layer in model.layers for p in layer.metric.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.fisher_loss(model, model(x)[1])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * before
    assert all(p.grad is None for p in model.layers[0].map.parameters())


def test_fisher_needs_a_likelihood():
    model = manifold(2, 3, 1)
    with pytest.raises(ValueError, match="'categorical' with one output"):
        nn.fisher_loss(model, model(points(3, n=2))[1])
    with pytest.raises(ValueError, match="`likelihood` is 'poisson'"):
        nn.fisher_loss(model, model(points(3, n=2))[1], "poisson")
    with pytest.raises(ValueError, match="`likelihood` is 'poisson'"):
        nn.pulled_back_fisher(model, points(3, n=2), likelihood="poisson")
    with pytest.raises(ValueError, match="'categorical' with one output"):  # it would be 0 everywhere
        nn.pulled_back_fisher(model, points(3, n=2))
    nn.NaturalGradient(model, metric="fisher")
    with pytest.raises(ValueError, match="'categorical' with one output"):
        model(points(3, n=2))


def chart(z, metric, map=None):
    return nn.Chart(z, metric, torch.nn.Identity() if map is None else map)


@pytest.mark.parametrize("m, n", [(3, 3), (2, 4)])
def test_isometries_are_compatible(m, n):
    """An immersion and the metric that it pulls back."""
    map = torch.nn.Sequential(torch.nn.Linear(m, n), torch.nn.Tanh()).double()
    g, x = manifold(2, n, 2).layers[0].metric, points(6, n=m)

    class Pulled(torch.nn.Module):
        def forward(self, x):
            return rm.at(rm.metrics.Pullback(map, g), x, 0).g

    assert_equal(nn.compatibility_loss([chart(x, Pulled()), chart(map(x), g, map)]), 0.0)


def test_compatibility_is_the_square_of_log_stretch():
    for m, n in ((3, 3), (2, 4), (4, 2)):
        map = torch.nn.Linear(m, n, bias=False).double()
        with torch.no_grad():
            map.weight.copy_(torch.eye(n, m))
        x, c = points(6, n=m), 1.7
        charts = [chart(x, nn.MetricNet(m).double()), chart(map(x), nn.MetricNet(n, start=c).double(), map)]
        assert_equal(nn.compatibility_loss(charts), math.log(c) ** 2)


def test_compatibility_of_a_model_is_that_of_its_charts():
    model, x = manifold(3, 3, 4, 2), points(5, n=3)
    assert_equal(nn.compatibility_loss(model, x), nn.compatibility_loss(model(x)[1]))
    for arguments in ((model,), (model(x)[1], x)):
        with pytest.raises(TypeError, match=r"expected charts alone, or a model and its data `x`"):
            nn.compatibility_loss(*arguments)


def test_compatibility_does_not_depend_on_the_chart():
    """The second chart in other coordinates, with the metric that belongs to them."""
    model, x = manifold(3, 3, 3, 2), points(5, n=3)
    one, two = model(x)[1]
    phi = nn.CoordinateLayer(3, depth=2).double()
    for p in phi.parameters():
        torch.nn.init.normal_(p, std=0.2)

    class Pushed(torch.nn.Module):
        def forward(self, z):
            E = torch.linalg.inv(rm.jet(phi, phi.inverse(z), 1)[1])
            return E.mT @ two.metric(phi.inverse(z)) @ E

    other = chart(phi(two.coordinates), Pushed(), torch.nn.Sequential(two.map, phi))
    assert_equal(nn.compatibility_loss([one, other]), nn.compatibility_loss([one, two]))


def test_compatibility_can_be_trained():
    model, x = manifold(3, 4, 4, 2, 2), points(10, n=3)
    parameters = [p for layer in model.layers for p in layer.metric.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-2)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = nn.compatibility_loss(model(x)[1])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_compatibility_needs_neighbours_and_kinds():
    model = manifold(2, 3, 2)
    with pytest.raises(ValueError, match="there is 1 chart, expected two or more"):
        nn.compatibility_loss(model(points(3, n=2))[1])
    one, x = nn.MetricNet(2).double(), points(3, n=2)
    with pytest.raises(ValueError, match="neither transition, embedding nor submersion"):
        nn.compatibility_loss([chart(x, one), chart(x, one, torch.nn.LayerNorm(2).double())])


# ------------------------------------------------------------------------------------------------------- evolution


def parts_of(evolution, model, x, task=None):
    output, charts = model(x)
    return evolution(output.square().mean() if task is None else task(output), charts, model)


def test_the_total_is_the_weighted_sum():
    model, x = manifold(2, 3, 3, 2), points(12, n=2)
    weights = {"curvature": 0.3, "volume": 0.7, "compatibility": 0.2, "fisher": 0.4}
    evolution = nn.EvolutionLoss(**weights, estimator="exact", every=1, points=None)
    total, parts = parts_of(evolution, model, x)
    assert_equal(total, parts["task"] + sum(w * parts[name] for name, w in weights.items()))
    charts = model(x)[1]
    each = [nn.curvature_loss(c.metric, c.coordinates, "sectional", scale_free=True) for c in charts]
    assert_equal(parts["curvature"], sum(each))
    assert_equal(parts["volume"], sum(nn.volume_loss(c.metric, c.coordinates) for c in charts))
    assert_equal(parts["compatibility"], nn.compatibility_loss(charts))
    assert_equal(parts["fisher"], nn.fisher_loss(model, charts))


def test_the_preset_of_the_paper_is_what_it_writes():
    model, x = manifold(2, 3, 2), points(12, n=2)
    total, parts = parts_of(nn.EvolutionLoss("paper", curvature=0.1, volume=0.1), model, x)
    (c,) = model(x)[1]
    assert_equal(parts["curvature"], c.scalar_curvature().square().mean())
    assert_equal(parts["volume"], c.volume_element().var())
    assert_equal(total, parts["task"] + 0.1 * parts["curvature"] + 0.1 * parts["volume"])


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_schedule(shape):
    model, x = manifold(2, 3, 2), points(12, n=2)
    evolution = nn.EvolutionLoss("paper", curvature=0.0, volume=1.0, delay=3, ramp=4, shape=shape)
    for step in range(10):
        total, parts = parts_of(evolution, model, x)
        t = min(max((step - 3) / 4, 0), 1)
        w = t if shape == "linear" else (1 - math.cos(math.pi * t)) / 2
        assert parts.keys() == {"task", "volume"} and bool(parts["volume"].isnan()) == (w == 0)
        assert_equal(total - parts["task"], w * parts["volume"].nan_to_num())
        assert evolution.step == step + 1


def test_parts_of_batches_and_steps_are_unbiased():
    model, x = manifold(2, 3, 2, std=0.5), points(20, n=2)
    full = nn.EvolutionLoss(volume=0.0, estimator="exact", every=1, points=None)
    part = nn.EvolutionLoss(volume=0.0, every=3, points=4)

    def gradient(evolution):
        model.zero_grad()
        total, _ = parts_of(evolution, model, x, lambda output: 0 * output.sum())
        total.backward()
        return model.layers[0].metric.structure.layers[-1].bias.grad.clone()

    truth = gradient(full)
    steps = torch.stack([gradient(part) for _ in range(450)])
    assert (steps[1::3] == 0).all() and (steps[2::3] == 0).all() and (steps[::3] != 0).any()
    samples = steps.unflatten(0, (150, 3)).mean(1)
    assert ((samples.mean(0) - truth).abs() < 4 * samples.std(0) / 150**0.5).all()


def test_cap():
    """The geometry's gradient in the charts is at most rho times that of the task, and points where it pointed."""
    model, x = manifold(2, 3, 2, std=0.5), points(20, n=2)
    parameters = list(model.layers.parameters())

    def gradient(loss):
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, materialize_grads=True,
                                                                   allow_unused=True)])  # fmt: skip

    options = {"volume": 0.0, "curvature": 1e3, "every": 1}
    output, _ = model(x)
    task = gradient(output.square().mean())
    free = gradient(parts_of(nn.EvolutionLoss(**options), model, x)[0]) - task
    capped = gradient(parts_of(nn.EvolutionLoss(**options, cap=0.1), model, x)[0]) - task
    assert free.norm() > 0.1 * task.norm()
    assert_equal(capped.norm(), 0.1 * task.norm())
    assert_equal(torch.cosine_similarity(capped, free, 0), 1.0)
    options["curvature"] = 1e-6  # nothing to cap
    small = gradient(parts_of(nn.EvolutionLoss(**options, cap=0.1), model, x)[0]) - task
    assert_equal(small, gradient(parts_of(nn.EvolutionLoss(**options), model, x)[0]) - task)


def test_evaluation_uses_all_points_and_keeps_the_step():
    model, x = manifold(2, 3, 2), points(20, n=2)
    evolution = nn.EvolutionLoss(estimator="exact").eval()
    parts = [parts_of(evolution, model, x)[1] for _ in range(2)]
    assert evolution.step == 0
    (c,) = model(x)[1]
    for p in parts:
        assert_equal(p["curvature"], nn.curvature_loss(c.metric, c.coordinates, "sectional", scale_free=True))


def test_training_resumes_exactly():
    x, y = moons()

    def make():
        torch.manual_seed(1)
        model = nn.NeuralDifferentialManifold(2, [3], 1)
        step = nn.TrainingStep(model, bce, nn.EvolutionLoss(delay=1, ramp=4, every=2, monitor_every=2))
        return step, torch.optim.Adam(step.parameters(), lr=1e-2)

    def train(step, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            total, parts = step(x, y)
            total.backward()
            optimizer.step()
        return total, parts

    straight, optimizer = make()
    train(straight, optimizer, 5)
    state = copy.deepcopy((straight.state_dict(), optimizer.state_dict()))
    total, parts = train(straight, optimizer, 4)
    resumed, optimizer = make()
    resumed.load_state_dict(state[0])
    optimizer.load_state_dict(state[1])
    again, parts_again = train(resumed, optimizer, 4)
    assert torch.equal(total, again) and parts.keys() == parts_again.keys()
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert resumed.evolution.monitor.first == straight.evolution.monitor.first


def test_steps_work_as_functions_and_copies(tmp_path):
    x, y = moons(40)
    step = nn.TrainingStep(nn.NeuralDifferentialManifold(2, [3], 1), bce, nn.EvolutionLoss())
    torch.save(step, tmp_path / "step.pt")
    others = [copy.deepcopy(step), torch.load(tmp_path / "step.pt", weights_only=False)]
    parameters = {name: p.clone() for name, p in step.named_parameters()}
    called = torch.func.functional_call(others[0], parameters, (x, y))[0]
    total, _ = step(x, y)
    assert torch.equal(called, total) and torch.equal(others[1](x, y)[0], total)
    assert total.dtype == torch.float32 and step.double()(x.double(), y.double())[0].dtype == torch.float64


@pytest.mark.parametrize(
    "options, words",
    [
        ({"preset": "none"}, "`preset` is 'none'"),
        ({"shape": "step"}, "`shape` is 'step'"),
        ({"every": 0}, "`every` is 0"),
        ({"volume": -1.0}, "not negative"),
        ({"kind": "weyl"}, "`kind` is 'weyl', expected one of 'scalar'"),
        ({"estimator": "guess"}, "`estimator` is 'guess'"),
        ({"likelihood": "poisson"}, "`likelihood` is 'poisson'"),
        ({"cap": 0.0}, "`cap` is 0.0, expected None or a positive number"),
    ],
)
def test_messages_of_evolution(options, words):
    with pytest.raises(ValueError, match=words):
        nn.EvolutionLoss(**options)
    model = manifold(2, 3, 2)
    output, charts = model(points(4, n=2))
    with pytest.raises(ValueError, match="needs the model"):
        nn.EvolutionLoss(fisher=1.0)(output.mean(), charts)
    for task, got in ((output, "shape (4, 2)"), (0.5, "a float")):
        with pytest.raises(ValueError, match=re.escape(f"`task` is {got}, expected a scalar tensor")):
            nn.EvolutionLoss()(task, charts)


# --------------------------------------------------------------------------------------------------------- collapse


def train_moons(model, evolution, steps=400):
    x, y = moons(400)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        output, charts = model(x)
        total, _ = evolution(bce(output, y), charts)
        total.backward()
        optimizer.step()
    return nn.health(model(x)[1][0])


def test_the_case_of_the_article_collapses_and_says_so():
    """Its architecture, its loss (no curvature, the literal variance): the metric goes to 0, its curvature explodes."""
    with pytest.warns(UserWarning) as said:
        model = nn.NeuralDifferentialManifold.article(2, [16], 1)
        evolution = nn.EvolutionLoss("paper", curvature=0.0, volume=1.0)
        now = train_moons(model, evolution)
    messages = [str(w.message) for w in said]
    assert sum("its volume element fell" in m for m in messages) == 1
    assert sum("the median of its |S|" in m for m in messages) == 1
    (start,) = evolution.monitor.first
    assert now.log_volume < start.log_volume - 4 and now.curvature > 30 * start.curvature


def test_the_same_data_without_collapse():
    model = nn.NeuralDifferentialManifold(2, [4], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        now = train_moons(model, nn.EvolutionLoss(), steps=100)
    assert now.log_volume > -4 and now.condition < 1e3 and now.curvature < 100
