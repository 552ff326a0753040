"""Natural gradient is G⁻¹∇L for the G it says, in every setting that an optimiser meets."""

import copy
import logging
import pickle

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.utils.checkpoint
from torch.nn import Linear, Sequential, Tanh
from torch.nn.functional import cross_entropy

import riemann_nn
from riemann_nn import (
    EvolutionLoss,
    MLPCholesky,
    NeuralDifferentialManifold,
    TrainingStep,
    pulled_back_fisher,
    riemannian_gradient,
)
from riemann_nn._optim.covered import inputs, outputs
from tests.helpers import assert_equal

DTYPES = (torch.float64, torch.float32)
KINDS = ("identity", "fisher")


def NaturalGradient(model, *args, **options):
    """Without a trust region: steps are G⁻¹∇L itself."""
    return riemann_nn.NaturalGradient(model, *args, **{"clip": None, **options})


def network(*widths, dtype=torch.float64, activation=Tanh):
    pairs = [m for i, o in zip(widths, widths[1:], strict=False) for m in (Linear(i, o, dtype=dtype), activation())]
    return Sequential(*pairs[:-1])


def data(count, inputs, classes, dtype=torch.float64):
    return torch.randn(count, inputs, dtype=dtype), torch.arange(count) % classes


def constant(m, dtype=torch.float64):
    """A metric that is the same everywhere, and its matrix."""
    M = torch.randn(m, m, dtype=dtype)
    g = M @ M.T + torch.eye(m, dtype=dtype)
    return (lambda s: g.expand(*s.shape[:-1], m, m)), g


def eye(n):
    return torch.eye(n, dtype=torch.float64)


def ones(a):
    return torch.cat((a, torch.ones_like(a[:, :1])), -1)


def vector(layer, of):
    """Weight and bias (or their gradients) as one vector, inputs first: `[weight column, …, bias]`."""
    return torch.cat((of(layer.weight).flatten(1), of(layer.bias)[:, None]), -1).T.reshape(-1)


def steps_of(layer, optimizer):
    """What a step subtracts from weight and bias, and the gradient at which it does."""
    gradient, before = vector(layer, lambda p: p.grad), vector(layer, torch.clone)
    optimizer.step()
    return before.detach() - vector(layer, torch.clone).detach(), gradient


def kron_mean(a, g):
    """E[a aᵀ ⊗ g], dense."""
    return torch.einsum("zi,zj,zkl->ikjl", a, a, g).reshape(a.shape[1] * g.shape[1], -1) / len(a)


def train(model, optimizer, batches, scheduler=None):
    for x, y in batches:
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


# ------------------------------------------------------------------------------------------------- the definition


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_datum_without_damping_is_the_pseudo_inverse_step(dtype):
    layer = Linear(4, 3, dtype=dtype)
    metric = MLPCholesky(3, (5,)).to(dtype)
    optimizer = NaturalGradient(layer, lr=1.0, metrics={layer: metric}, damping=0)
    x = torch.randn(1, 4, dtype=dtype)
    s = layer(x)
    s.sin().sum().backward()
    step, gradient = steps_of(layer, optimizer)
    G = kron_mean(ones(x), metric(s.detach())).detach()
    assert_equal(step, torch.linalg.pinv(G, hermitian=True, rtol=1e-5) @ gradient)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_metric_without_damping_is_the_dense_step(dtype):
    layer = Linear(4, 3, dtype=dtype)
    metric, g = constant(3, dtype)
    optimizer = NaturalGradient(layer, lr=1.0, metrics={layer: metric}, damping=0)
    x = torch.randn(20, 4, dtype=dtype)
    layer(x).sin().mean(0).sum().backward()
    step, gradient = steps_of(layer, optimizer)
    assert_equal(step, torch.linalg.solve(kron_mean(ones(x), g.expand(20, 3, 3)), gradient))


@pytest.mark.parametrize("kind", ("learned", "identity", "fisher"))
def test_with_damping_it_is_the_product_of_damped_factors(kind):
    model = network(4, 3, 2)
    metrics = {model[0]: MLPCholesky(3, (5,)).double()} if kind == "learned" else None
    optimizer = NaturalGradient(model, lr=1.0, metric=kind, metrics=metrics, damping=0.3)
    x, y = data(20, 4, 2)
    if kind == "learned":
        g = metrics[model[0]](model[0](x)).detach()
    else:
        g = pulled_back_fisher(model, x)[model[0]] if kind == "fisher" else eye(3)[None]
    cross_entropy(model(x), y).backward()
    step, gradient = steps_of(model[0], optimizer)
    A, B = ones(x).T @ ones(x) / 20, g.mean(0)
    pi = (A.trace() / 5 * 3 / B.trace()).sqrt()
    damped = torch.kron(A + pi * 0.3**0.5 * eye(5), B + 0.3**0.5 / pi * eye(3))
    assert_equal(step, torch.linalg.solve(damped, gradient))


def test_fisher_is_the_gauss_newton_block_of_deep_linear_regression():
    model = network(4, 3, 3, 2, activation=torch.nn.Identity)
    optimizer = NaturalGradient(model, lr=1.0, metric="fisher", likelihood="gaussian", damping=0)
    x, target = torch.randn(30, 4, dtype=torch.float64), torch.randn(30, 2, dtype=torch.float64)
    parameters = dict(model.named_parameters())
    J = torch.func.vmap(  # of the output at each datum
        torch.func.jacrev(lambda p, x: torch.func.functional_call(model, p, x)), in_dims=(None, 0)
    )(parameters, x)
    (0.5 * (model(x) - target).square().sum(-1)).mean().backward()
    layers = [model[0], model[2], model[4]]
    names = ["0", "2", "4"]
    gradients = [vector(layer, lambda p: p.grad) for layer in layers]
    before = [vector(layer, torch.clone).detach() for layer in layers]
    optimizer.step()
    for name, layer, gradient, start in zip(names, layers, gradients, before, strict=True):
        Jl = torch.cat((J[f"{name}.weight"], J[f"{name}.bias"][..., None]), -1).mT.flatten(2)
        G = torch.einsum("zca,zcb->ab", Jl, Jl) / 30
        step = start - vector(layer, torch.clone).detach()
        assert_equal(step, torch.linalg.pinv(G, hermitian=True, rtol=1e-10) @ gradient, rtol=1e-8)


@pytest.mark.parametrize("likelihood", ("categorical", "bernoulli", "gaussian", "callable"))
def test_pulled_back_fisher_are_the_recursion(likelihood):
    model = network(4, 6, 5, 3)
    x, _ = data(7, 4, 3)
    h, slopes = x, []
    for i, module in enumerate(model):
        h = module(h)
        if i % 2:
            slopes.append(torch.diag_embed(1 - h**2))
    callable_metric = MLPCholesky(3, (4,)).double()
    p, q = torch.softmax(h, -1), torch.sigmoid(h)
    g = {
        "categorical": torch.diag_embed(p) - p[:, :, None] * p[:, None, :],
        "bernoulli": torch.diag_embed(q * (1 - q)),
        "gaussian": eye(3).expand(7, 3, 3),
        "callable": callable_metric(h),
    }[likelihood]
    found = pulled_back_fisher(model, x, likelihood=callable_metric if likelihood == "callable" else likelihood)
    assert_equal(found[model[4]], g.detach())
    for layer, after, D in ((2, 4, slopes[1]), (0, 2, slopes[0])):
        W = model[after].weight
        g = D @ W.T @ g @ W @ D
        assert_equal(found[model[layer]], g.detach())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_16_bits_are_refused(dtype):
    with pytest.raises(ValueError, match=r"`1` has weights of 16 bits.* use model.float\(\)"):
        NaturalGradient(torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(2, 1, dtype=dtype)), metric="identity")


def test_the_fisher_metric_of_logits_is_the_hessian_of_cross_entropy():
    z = torch.randn(5, dtype=torch.float64)
    identity = Linear(5, 5, bias=False, dtype=torch.float64)
    torch.nn.init.eye_(identity.weight)
    hessian = torch.func.hessian(lambda z: cross_entropy(z, torch.tensor(2)))(z)
    assert_equal(pulled_back_fisher(identity, z[None])[identity][0], hessian)


@pytest.mark.parametrize("kind", ("learned", "fisher"))
def test_affine_coordinates_of_activations_do_not_matter_without_damping(kind):
    """The same function with s' = Q s + q in the hidden layer, and its metric carried along, moves in the same way."""
    Q = torch.randn(3, 3, dtype=torch.float64) + 3 * eye(3)
    q = torch.randn(3, dtype=torch.float64)
    plain = network(2, 3, 2)
    moved = copy.deepcopy(plain)
    inverse = torch.linalg.inv(Q)

    class Unmoved(torch.nn.Module):
        def forward(self, s):
            h = torch.tanh((s - q) @ inverse.T)
            return h @ Q.T + q  # the next layer's inputs move, too

    moved[1] = Unmoved()
    with torch.no_grad():
        moved[0].weight.copy_(Q @ plain[0].weight)
        moved[0].bias.copy_(Q @ plain[0].bias + q)
        moved[2].weight.copy_(plain[2].weight @ inverse)
        moved[2].bias.copy_(plain[2].bias - plain[2].weight @ inverse @ q)
    hidden, outer = MLPCholesky(3, (4,)).double(), MLPCholesky(2, (4,)).double()
    metrics = {plain[0]: hidden, plain[2]: outer}
    carried = {moved[0]: lambda s: inverse.T @ hidden((s - q) @ inverse.T) @ inverse, moved[2]: outer}
    x, y = data(40, 2, 2)
    torch.testing.assert_close(plain(x), moved(x))
    optimizers = [
        NaturalGradient(m, lr=0.5, metric=kind, metrics=g if kind == "learned" else None, damping=0)
        for m, g in ((plain, metrics), (moved, carried))
    ]
    start = plain(x).detach()
    for model, optimizer in zip((plain, moved), optimizers, strict=True):
        train(model, optimizer, [(x, y)] * 3)
    assert (plain(x) - start).abs().max() > 0.05
    assert_equal(moved(x).detach(), plain(x).detach(), rtol=1e-6)


def test_a_metric_on_a_module_is_pulled_back_to_the_layers_in_it():
    """A coupling layer, whose conditioner is a network: E[Jᵀ g J] of its weights, for one datum exactly."""

    class Coupling(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conditioner = network(2, 4, 4)

        def forward(self, x):
            a, b = x.chunk(2, -1)
            scale, shift = self.conditioner(a).chunk(2, -1)
            return torch.cat((a, b * torch.tanh(scale).exp() + shift), -1)

    flow = Coupling()
    model = Sequential(flow, Linear(4, 2, dtype=torch.float64))
    metric = MLPCholesky(4, (5,)).double()
    optimizer = NaturalGradient(model, lr=1.0, metrics={flow: metric}, damping=0)
    x, y = data(1, 4, 2)
    parameters = dict(flow.named_parameters())
    J = torch.func.jacrev(lambda p: torch.func.functional_call(flow, p, x)[0])(parameters)
    g = metric(flow(x))[0].detach()
    cross_entropy(model(x), y).backward()
    layer = flow.conditioner[0]
    step, gradient = steps_of(layer, optimizer)
    name = "conditioner.0"
    J = torch.cat((J[f"{name}.weight"], J[f"{name}.bias"][..., None]), -1).mT.flatten(1)
    assert_equal(step, torch.linalg.pinv(J.T @ g @ J, hermitian=True, rtol=1e-10) @ gradient, rtol=1e-7)


def test_the_kronecker_error_is_that_of_the_dense_matrix():
    layer = Linear(4, 3, dtype=torch.float64)
    for metric, vanishes in ((MLPCholesky(3, (5,)).double(), False), (constant(3)[0], True)):
        optimizer = NaturalGradient(layer, metrics={layer: metric}, kronecker_error=True)
        x = torch.randn(20, 4, dtype=torch.float64)
        s = layer(x).detach()
        g = metric(s).detach()
        exact = kron_mean(ones(x), g)
        product = torch.kron(ones(x).T @ ones(x) / 20, g.mean(0))
        error = optimizer.kronecker_errors["the model"]
        assert_equal(torch.tensor(error, dtype=torch.float64), (exact - product).norm() / exact.norm(), rtol=1e-9)
        assert (error < 1e-15) == vanishes
        optimizer.close()


# ------------------------------------------------------------------------------------------- options of the optimiser


def test_clipping_bounds_the_natural_length_of_a_step():
    x, y = data(20, 4, 2)
    steps = {}
    for clip in (None, 0.01, 1e6):
        torch.manual_seed(1)
        model = network(4, 3, 2)
        optimizer = NaturalGradient(model, lr=0.7, metric="fisher", damping=0.1, clip=clip)
        before = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
        after = train(model, optimizer, [(x, y)])
        gradient = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
        steps[clip] = before - after
    length = 0.7 * (gradient @ steps[None] / 0.7).sqrt()  # lr sqrt(∇ᵀ G⁻¹ ∇)
    assert length > 0.01
    assert_equal(steps[0.01], steps[None] * 0.01 / length)
    assert_equal(steps[1e6], steps[None])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lr", [0.5, 5.0, 500.0])
def test_steps_of_any_learning_rate_are_safe(kind, lr):
    x = torch.randn(200, 6)
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = network(6, 8, 2, dtype=torch.float32)
    optimizer, losses = riemann_nn.NaturalGradient(model, lr, metric=kind), []
    for _ in range(30):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert max(losses) < 1.5 * losses[0] and losses[-1] < losses[0]


def test_momentum_weight_decay_and_running_averages():
    layer = Linear(3, 2, bias=False, dtype=torch.float64)
    optimizer = NaturalGradient(
        layer, lr=0.1, metric="identity", damping=0.2, decay=0.4, momentum=0.9, weight_decay=0.5
    )
    W, A, v = layer.weight.detach().clone(), torch.zeros(3, 3, dtype=torch.float64), 0.0
    for k in range(1, 4):
        x = torch.randn(9, 3, dtype=torch.float64)
        optimizer.zero_grad()
        (layer(x) ** 2).mean().backward()
        optimizer.step()
        past = min(0.4, 1 - 1 / k)
        A = past * A + (1 - past) * x.T @ x / 9
        pi = (A.trace() / 3).sqrt()
        inverse = torch.linalg.inv(A + pi * 0.2**0.5 * eye(3)) / (1 + 0.2**0.5 / pi)
        v = 0.9 * v + layer.weight.grad @ inverse
        W = (1 - 0.1 * 0.5) * W - 0.1 * v
        assert_equal(layer.weight.detach(), W)


def test_inverses_are_kept_for_the_refresh_period():
    layer = Linear(3, 2, dtype=torch.float64)
    optimizer = NaturalGradient(layer, lr=1.0, metric="identity", refresh=3, decay=0)
    inputs = [torch.randn(9, 3, dtype=torch.float64) for _ in range(4)]
    for k, x in enumerate(inputs):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        step, gradient = steps_of(layer, optimizer)
        a = ones(inputs[0] if k < 3 else inputs[3])
        A = a.T @ a / 9
        pi = (A.trace() / 4).sqrt()
        root = 1e-3**0.5
        G = torch.kron(A + pi * root * eye(4), (1 + root / pi) * eye(2))
        assert_equal(step, torch.linalg.solve(G, gradient))


@pytest.mark.parametrize(("widths", "count"), [((3, 40, 2), 8), ((20, 4, 3), 2000)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_the_work_is_a_period(kind, widths, count):
    """The least that keeps refreshes within the share, counted by hand; the same after a resumption."""
    model, (x, y) = network(*widths), data(count, widths[0], widths[-1])
    optimizer = NaturalGradient(model, metric=kind, refresh=0.25)
    refreshes = []
    for _ in range(2):
        cross_entropy(model(x), y).backward()
        refreshes.append(bool(optimizer._pending))
        optimizer.step()
    columns = widths[-1] if kind == "fisher" else 0
    pairs = [(i + 1, m) for i, m in zip(widths, widths[1:], strict=False)]
    step = sum(6 * count * n * m + 2 * n * m * (n + m) for n, m in pairs)
    refresh = sum(2 * count * (n * n + columns * (m * m + n * m)) + 32 * (n**3 + m**3) for n, m in pairs)
    (group,) = optimizer.param_groups
    period = group["period"]
    share = lambda period: refresh / period / (refresh / period + step)
    assert share(period) <= 0.25 and (period == 1 or share(period - 1) > 0.25)
    assert refreshes == [True, period == 1]
    again = NaturalGradient(model, metric=kind, refresh=0.25)
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["period"] == period


@pytest.mark.parametrize("kind", KINDS)
def test_training_resumes_exactly(kind):
    def make():
        torch.manual_seed(3)
        model = Sequential(network(4, 6, 6, 3), torch.nn.LayerNorm(3, dtype=torch.float64))
        options = {"lr": 0.2, "refresh": 3, "momentum": 0.8, "clip": 0.5, "weight_decay": 0.01}
        optimizer = NaturalGradient(model, metric=kind, **options)
        return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    batches = [data(20, 4, 3) for _ in range(9)]
    model, optimizer, scheduler = make()
    whole = train(model, optimizer, batches, scheduler)
    first, optimizer, scheduler = make()
    train(first, optimizer, batches[:5], scheduler)
    saved = pickle.loads(pickle.dumps([o.state_dict() for o in (first, optimizer, scheduler)]))
    second, *rest = make()
    for o, state in zip((second, *rest), saved, strict=True):
        o.load_state_dict(state)
    assert torch.equal(train(second, rest[0], batches[5:], rest[1]), whole)


def test_a_closure_is_evaluated_once_with_gradients():
    x, y = data(20, 4, 2)
    results = []
    for closed in (False, True):
        torch.manual_seed(1)
        model = network(4, 3, 2)
        optimizer = NaturalGradient(model, metric="fisher")

        def closure():
            optimizer.zero_grad()  # noqa: B023
            loss = cross_entropy(model(x), y)  # noqa: B023
            loss.backward()
            return loss

        for _ in range(3):
            loss = closure() if not closed else None
            loss = optimizer.step(closure) if closed else (optimizer.step(), loss)[1]
        results.append((loss.detach(), model[0].weight.detach()))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_parameter_groups_have_their_own_options():
    x, y = data(20, 4, 2)
    model = network(4, 3, 2)
    head = {"params": model[2].parameters(), "lr": 0.0}
    optimizer = NaturalGradient(model, lr=0.3, metric="identity", groups=[head])
    before = copy.deepcopy(model.state_dict())
    train(model, optimizer, [(x, y)])
    assert torch.equal(model[2].weight, before["2.weight"]) and not torch.equal(model[0].weight, before["0.weight"])
    assert [g["param_names"] for g in optimizer.param_groups] == [["2.weight", "2.bias"], ["0.weight", "0.bias"]]


def test_schedulers_scale_both_kinds_of_groups():
    model = Sequential(Linear(4, 3), torch.nn.LayerNorm(3))
    optimizer = NaturalGradient(model, lr=0.5, metric="identity", inner_lr=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1**step)
    train(model, optimizer, [data(20, 4, 3, torch.float32)], scheduler)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.05, 0.001])
    torch.optim.lr_scheduler.OneCycleLR(optimizer, [1.0, 0.1], 10)


def test_the_rest_is_trained_by_adam_and_named(caplog):
    x, y = data(20, 4, 3)
    torch.manual_seed(1)
    model = Sequential(network(4, 3), torch.nn.LayerNorm(3, dtype=torch.float64))
    with caplog.at_level(logging.WARNING, "riemann_nn"):
        optimizer = NaturalGradient(model, metric="identity", inner_lr=0.02, weight_decay=0.1)
    (record,) = caplog.records
    assert "induced on 1; Adam" in record.getMessage()
    assert "Adam: 1\n" in repr(optimizer) and "natural gradient: 0\n" in repr(optimizer)
    other = copy.deepcopy(model[1])
    adam = torch.optim.AdamW(other.parameters(), lr=0.02, weight_decay=0.1)
    for _ in range(3):
        hidden = model[0](x).detach()
        train(model, optimizer, [(x, y)])
        train(other, adam, [(hidden, y)])
    assert torch.equal(model[1].weight, other.weight)


def test_frozen_parameters_stay_and_their_columns_do_not_count():
    x, y = data(20, 4, 2)
    model = network(4, 3, 2)
    model[0].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    optimizer = NaturalGradient(model, lr=1.0, metric="identity", damping=0)
    cross_entropy(model(x), y).backward()
    before = copy.deepcopy(model.state_dict())
    h = torch.tanh(model[0](x)).detach()
    optimizer.step()
    assert_equal(before["0.bias"] - model[0].bias.detach(), model[0].bias.grad)  # A = E[1]
    assert_equal(before["2.weight"] - model[2].weight.detach(), model[2].weight.grad @ torch.linalg.inv(h.T @ h / 20))
    assert torch.equal(model[0].weight, before["0.weight"]) and torch.equal(model[2].bias, before["2.bias"])
    model[0].weight.requires_grad_(True)  # thawed in the middle of training
    train(model, optimizer, [(x, y)])
    assert not torch.equal(model[0].weight, before["0.weight"])


def test_layers_without_gradients_stay():
    model = torch.nn.ModuleDict({"used": Linear(4, 2), "idle": Linear(4, 2)})
    model.forward = lambda x: model["used"](x)
    optimizer = NaturalGradient(model, metric="fisher")
    before = model["idle"].weight.detach().clone()
    train(model, optimizer, [data(20, 4, 2, torch.float32)] * 2)
    assert torch.equal(model["idle"].weight, before)


def test_the_order_of_zero_grad_does_not_matter_and_gradients_accumulate():
    results = []
    x, y = data(20, 4, 2)
    for order in ("before", "between", "parts"):
        torch.manual_seed(1)
        model = network(4, 3, 2)
        optimizer = NaturalGradient(model, metric="fisher")
        for _ in range(2):
            if order != "between":
                optimizer.zero_grad()
            if order == "parts":
                for part in (slice(0, 10), slice(10, 20)):
                    (0.5 * cross_entropy(model(x[part]), y[part])).backward()
            else:
                loss = cross_entropy(model(x), y)
                optimizer.zero_grad(set_to_none=order == "before")
                loss.backward()
            optimizer.step()
        results.append(model[0].weight.detach())
    assert_equal(results[0], results[1])
    assert_equal(results[0], results[2])


def test_only_training_calls_count():
    x, y = data(20, 4, 2)
    results = []
    for disturbed in (False, True):
        torch.manual_seed(1)
        model = network(4, 3, 2)
        optimizer = NaturalGradient(model, metric="fisher")
        for _ in range(2):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            if disturbed:
                with torch.no_grad():
                    model(5 * x)
                model.eval()(5 * x)
                model.train()[0](5 * x)  # a part of the model
                torch.func.vmap(model)(5 * x)
                pulled_back_fisher(model, 5 * x)
                with pytest.raises(RuntimeError):
                    model(x[:, :2])
            optimizer.step()
        results.append(model[0].weight.detach())
    assert torch.equal(*results)


def test_overwriting_activations_do_not_change_the_metric():
    x, y = data(20, 4, 2)
    model = Sequential(Linear(4, 3), torch.nn.ReLU(inplace=True), Linear(3, 2)).double()
    other = copy.deepcopy(model)
    other[1] = torch.nn.ReLU()
    for a, b in zip(pulled_back_fisher(model, x).values(), pulled_back_fisher(other, x).values(), strict=True):
        assert torch.equal(a, b)
    results = [train(m, NaturalGradient(m, metric="fisher"), [(x, y)] * 2) for m in (model, other)]
    assert torch.equal(*results)


def test_checkpointed_modules_are_looked_at_once():
    class Checkpointed(Sequential):
        def forward(self, x):
            return torch.utils.checkpoint.checkpoint(super().forward, x, use_reentrant=False)

    x, y = data(20, 4, 2)
    model = Sequential(network(4, 3, 3), network(3, 2))
    other = copy.deepcopy(model)
    other[0] = Checkpointed(*other[0])
    results = [train(m, NaturalGradient(m, metric="fisher"), [(x, y)] * 2) for m in (model, other)]
    assert torch.equal(*results)


# -------------------------------------------------------------------------------------------- models in all conditions


class Manifold(torch.nn.Module):
    """A model that says which metrics it has, and returns its charts beside its output."""

    def __init__(self):
        super().__init__()
        self.layers = network(4, 3, 2)
        self.metric_net = MLPCholesky(3, (4,)).double()

    def forward(self, x):
        return self.layers(x), ["charts"]

    def induced_metrics(self):
        def on_preactivation(s):
            z = torch.tanh(s)
            D = torch.diag_embed(1 - z * z)
            return D @ self.metric_net(z) @ D

        return {self.layers[0]: on_preactivation}


def test_a_model_offers_its_metrics():
    model = Manifold()
    optimizer = NaturalGradient(model, lr=1.0, damping=0)
    x, y = data(20, 4, 2)
    s = model.layers[0](x).detach()
    cross_entropy(model(x)[0], y).backward()
    step, gradient = steps_of(model.layers[0], optimizer)
    A, B = ones(x).T @ ones(x) / 20, model.induced_metrics()[model.layers[0]](s).mean(0).detach()
    assert_equal(step, torch.linalg.solve(torch.kron(A, B), gradient), rtol=1e-8)
    assert "natural gradient: layers.0\n    Adam: layers.2, metric_net\n" in repr(optimizer)
    pulled_back_fisher(model, x)
    NaturalGradient(model, metric="fisher", exclude=[model.metric_net])


def test_copies_and_pickles_of_the_model_are_free_of_the_optimiser():
    model = network(4, 3, 2)
    optimizer = NaturalGradient(model, metric="fisher")
    x, y = data(20, 4, 2)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        cross_entropy(other(x), y).backward()
        assert not optimizer._pending
        twin = NaturalGradient(other, metric="fisher")
        twin.load_state_dict(optimizer.state_dict())
        twin.zero_grad()
        train(other, twin, [(x, y)])
    assert not optimizer._pending
    with pytest.raises(TypeError, match="load_state_dict"):
        copy.deepcopy(optimizer)
    optimizer.close()
    hooks = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ("eager", "aot_eager"))
@pytest.mark.filterwarnings("ignore")  # torch's own, of its compiler
def test_compiled_models_make_the_same_steps(kind, backend):
    x, y = data(20, 4, 2)
    results = []
    for compiled in (False, True):
        torch.manual_seed(1)
        model = network(4, 3, 2)
        called = torch.compile(model, backend=backend) if compiled else model
        optimizer = NaturalGradient(called, metric=kind, refresh=2)
        results.append(train(called, optimizer, [(x, y)] * 4))
    torch._dynamo.reset()
    assert_equal(results[0], results[1])


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_was_compiled_before_is_refused():
    x, y = data(20, 4, 2)
    model = torch.compile(network(4, 3, 2), backend="eager")
    model(x)
    optimizer = NaturalGradient(model, metric="identity")
    with pytest.raises(ValueError, match="if it is compiled, for the first time after"):
        train(model, optimizer, [(x, y)])
    torch._dynamo.reset()


def test_float32_follows_float64():
    x, y = data(40, 4, 3)
    torch.manual_seed(1)
    model = network(4, 6, 3)
    single = copy.deepcopy(model).float()
    results = [
        train(m, NaturalGradient(m, metric="fisher", damping=1e-2), [(x.to(t), y)] * 5)
        for m, t in ((model, torch.float64), (single, torch.float32))
    ]
    assert results[1].dtype == torch.float32
    assert_equal(results[1].double(), results[0], rtol=2e-4)


# ------------------------------------------------------------------------------------------- representation space


def test_the_riemannian_gradient_raises_the_index():
    metric = MLPCholesky(3, (5,)).double()
    z = torch.randn(2, 4, 3, dtype=torch.float64)
    grad = torch.randn(2, 4, 3, dtype=torch.float64)
    raised = riemannian_gradient(metric, z, grad)
    assert_equal(torch.einsum("...ij,...j->...i", metric(z), raised).detach(), grad)
    with pytest.raises(ValueError, match="`grad` has shape"):
        riemannian_gradient(metric, z, grad[0])


# ------------------------------------------------------------------------- positions, shared weights, whole models


class Mean(torch.nn.Module):
    """Over positions."""

    def forward(self, x):
        return x.mean(1)


def gaussian_step(model, layer, x, **options):
    """The natural step of a layer for the squares of the outputs, and the optimiser."""
    optimizer = NaturalGradient(model, metric="fisher", likelihood="gaussian", lr=1.0, damping=1e-2, **options)
    z = model(x)
    (0.5 * z.square().sum() / z.shape[:-1].numel()).backward()
    step, _ = steps_of(layer, optimizer)
    return step


def test_positions_with_a_loss_each_are_data():
    model, x = network(4, 3, 2), data(20, 4, 2)[0]
    other = copy.deepcopy(model)
    assert_equal(gaussian_step(other, other[0], x.reshape(5, 4, 4)), gaussian_step(model, model[0], x))


def test_reduced_positions_are_exact_where_the_mean_is_taken():
    model = Sequential(network(4, 3), Mean())
    other, x = copy.deepcopy(model[0]), data(20, 4, 2)[0].reshape(5, 4, 4)
    expected = gaussian_step(other, other[0], x.mean(1))
    assert_equal(gaussian_step(model, model[0][0], x, sharing="reduce"), expected)


def test_a_layer_used_twice_is_the_sum_of_its_uses():
    """Of B and, over both uses, the mean of A: K-FAC's "expand"."""

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = network(3, 2)[0]

        def forward(self, x):
            return self.layer(x[:, 0]) + 2 * self.layer(x[:, 1])

    model, x = Twice(), data(20, 3, 2)[0].reshape(10, 2, 3)
    optimizer = NaturalGradient(model, metric="fisher", likelihood="gaussian", damping=1e-2)
    model(x).square().mean().backward()
    optimizer.step()
    state, a = optimizer.state[model.layer.weight], ones(x.reshape(20, 3))
    assert_equal(state["A"], a.T @ a / 20)
    assert_equal(state["B"], 5 * eye(2))


@pytest.mark.parametrize(
    "layer, shape",
    [
        (torch.nn.Conv2d(2, 3, (2, 3), stride=2, padding=(1, 0), dilation=(1, 2)), (4, 2, 7, 8)),
        (torch.nn.Conv1d(2, 3, 3, padding=1), (4, 2, 6)),
        (torch.nn.Conv2d(2, 3, 2), (2, 5, 5)),
    ],
)
def test_a_convolution_is_a_linear_layer_of_patches(layer, shape):
    x = torch.randn(*shape)
    linear = torch.nn.functional.linear(inputs(layer, x), layer.weight.flatten(1), layer.bias)
    torch.testing.assert_close(outputs(layer, layer(x)), linear)


def test_a_convolution_of_whole_images_makes_the_step_of_a_linear_layer():
    conv = Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten()).double()
    linear, x = Sequential(Linear(18, 3)).double(), torch.randn(20, 2, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        linear[0].weight.copy_(conv[0].weight.flatten(1))
        linear[0].bias.copy_(conv[0].bias)
    torch.testing.assert_close(gaussian_step(conv, conv[0], x), gaussian_step(linear, linear[0], x.flatten(1)))


def test_convolutions_are_trained():
    model = Sequential(torch.nn.Conv2d(1, 4, 3), Tanh(), torch.nn.Flatten(), Linear(64, 2))
    optimizer = NaturalGradient(model, lr=0.3, metric="fisher")
    assert "Adam: nothing" in repr(optimizer)
    x = torch.randn(40, 1, 6, 6)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), (x.mean((1, 2, 3)) > 0).long())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_output_of_attention_is_left_to_adam():
    model = Sequential(
        torch.nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation=torch.tanh, batch_first=True),
        Mean(),
        Linear(4, 2),
    )
    optimizer = NaturalGradient(model, metric="fisher")
    assert "natural gradient: 0.linear1, 0.linear2, 2\n    Adam: 0.self_attn, 0.norm1, 0.norm2\n" in repr(optimizer)
    cross_entropy(model(torch.randn(6, 5, 4)), torch.arange(6) % 2).backward()
    before = model[0].self_attn.out_proj.weight.clone()
    optimizer.step()
    assert not torch.equal(before, model[0].self_attn.out_proj.weight)


class Taken(torch.nn.Module):
    """Takes the weights of a layer, and does not call it."""

    def __init__(self):
        super().__init__()
        self.layers, self.taken = network(4, 3, 2), network(2, 2)[0]

    def forward(self, x):
        return torch.nn.functional.linear(self.layers(x), self.taken.weight, self.taken.bias)


def test_a_layer_that_is_never_called_is_left_to_adam(caplog):
    (x, y), results = data(20, 4, 2), []
    for pause in (False, True):
        torch.manual_seed(0)
        model = Taken()
        optimizer = NaturalGradient(model, metric="fisher", inner_lr=0.1)
        before = model.taken.weight.clone()
        for k in range(4):
            if pause and k == 2:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer.close()
                optimizer = NaturalGradient(model, metric="fisher", inner_lr=0.1)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
        assert (model.taken.weight - before).abs().max() > 0.1
        results.append(vector(model.taken, lambda p: p))
    assert_equal(*results)
    assert "`taken` is never called as a layer; Adam trains it" in caplog.text


def test_all_linear_layers_of_a_manifold_have_the_metric_of_its_charts():
    model = NeuralDifferentialManifold(4, [16, 8], 3)
    optimizer = NaturalGradient(model)
    natural = {p for g in optimizer.param_groups if g["kind"] == "natural" for p in g["params"]}
    assert natural == {
        p for layer in model.layers for m in layer.map.modules() if isinstance(m, Linear) for p in m.parameters()
    }
    assert sum(p.numel() for p in natural) > 0.26 * sum(p.numel() for p in model.parameters())
    x, y = torch.randn(40, 4), torch.arange(40) % 3
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = cross_entropy(model(x)[0], y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_random_columns_have_the_metric_in_the_mean():
    model = network(4, 3, 2)
    optimizer = NaturalGradient(model, metric="fisher", probes=3)
    S = torch.randn(5, 4, dtype=torch.float64).expand(20_000, 5, 4)
    for several in (False, True):
        columns = optimizer._observer._columns(S, several)
        assert columns.shape == (20_000, 5, 3)
        assert_equal((columns @ columns.mT).mean(0), S[0] @ S[0].T, rtol=0.05)
    assert optimizer._observer._columns(S[..., :2], False).shape == (20_000, 5, 2)


# ---------------------------------------------------------------------------------------------------------- refusals


def test_layers_used_twice_have_no_pulled_back_metric_and_tied_weights_go_to_adam():
    layer = Linear(3, 3)
    with pytest.raises(ValueError, match="layer `0` is called more than once"):
        pulled_back_fisher(Sequential(layer, Tanh(), layer), torch.randn(5, 3))
    tied = Sequential(Linear(3, 3), Linear(3, 3), Linear(3, 3))
    tied[1].weight = tied[0].weight
    optimizer = NaturalGradient(tied, metric="identity")
    assert "natural gradient: 2\n    Adam: 0, 1\n" in repr(optimizer)


def test_positions_of_one_datum_are_refused_where_a_metric_is_pulled_back():
    model = Sequential(Linear(3, 3), torch.nn.Flatten(), Linear(12, 2))
    with pytest.raises(ValueError, match=r"layer `0` returned shape \(5, 4, 3\)"):
        pulled_back_fisher(model, torch.randn(5, 4, 3))
    with pytest.raises(ValueError, match=r"returned shape \(5, 2, 1\)"):
        pulled_back_fisher(Sequential(Linear(3, 2), torch.nn.Unflatten(1, (2, 1))), torch.randn(5, 3))


def test_batch_norm_is_refused_where_a_metric_is_pulled_back():
    model = Sequential(Linear(3, 3), torch.nn.BatchNorm1d(3), Linear(3, 2))
    with pytest.raises(ValueError, match="`1` is a BatchNorm1d"):
        NaturalGradient(model, metric="fisher")
    NaturalGradient(model, metric="identity")


def test_a_step_without_statistics_is_refused():
    x, y = data(20, 4, 2)
    model = network(4, 3, 2).eval()
    optimizer = NaturalGradient(model, metric="fisher")
    cross_entropy(model(x), y).backward()
    with pytest.raises(ValueError, match="layer `0` has a gradient, but no statistics"):
        optimizer.step()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lr": -1}, "`lr` is -1, expected 0 or more"),
        ({"damping": -1}, "`damping` is -1"),
        ({"decay": 1}, "`decay` is 1"),
        ({"refresh": 0}, "`refresh` is 0"),
        ({"refresh": 1.5}, "`refresh` is 1.5, expected a whole number, 1 or more, or a share between 0 and 1"),
        ({"clip": 0}, "`clip` is 0"),
        ({"metric": "euclid"}, "`metric` is 'euclid', expected 'learned'"),
        ({"metric": "learned"}, "no method `induced_metrics"),
        ({"metric": "identity", "metrics": {}}, "are for metric='learned'"),
        ({"metric": "learned", "metrics": {}}, "`metrics` is empty"),
        ({"metric": "fisher", "likelihood": "softmax"}, "`likelihood` is 'softmax', expected 'categorical'"),
        ({"exclude": [Linear(1, 1)]}, "not the model's"),
        ({"groups": [{"params": torch.nn.Parameter(torch.ones(1))}]}, "not the model's"),
        ({"groups": [{"params": [], "speed": 1}]}, r"options \['speed'\]"),
    ],
)
def test_bad_options_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        NaturalGradient(network(4, 3, 2), **{"metric": "identity", **options})


def test_other_misuse_says_what_is_wrong():
    model = network(4, 3, 2)
    with pytest.raises(ValueError, match="two groups"):
        NaturalGradient(model, metric="identity", groups=[{"params": [model[0].weight]}])
    with pytest.raises(TypeError, match=r"`model` is a generator, expected the module itself"):
        NaturalGradient(model.parameters(), metric="identity")
    with pytest.raises(ValueError, match="no metric is induced"):
        NaturalGradient(torch.nn.LayerNorm(3), metric="identity")
    step = TrainingStep(NeuralDifferentialManifold(2, [3], 1), torch.nn.functional.mse_loss, EvolutionLoss())
    with pytest.raises(ValueError, match=r"TrainingStep has its learned metrics in `\.model`: pass that module"):
        NaturalGradient(step)
    optimizer = NaturalGradient(model, metrics={model[0]: lambda s: s})
    with pytest.raises(ValueError, match=r"layer `0` returned shape \(3,\) at one point, expected \(3, 3\)"):
        model(torch.randn(5, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match="groups="):
        optimizer.add_param_group({"params": []})
    optimizer.close()
    NaturalGradient(model, metrics={model[0]: lambda s: eye(3) * torch.nan})
    with pytest.raises(ValueError, match="not finite or not symmetric"):
        model(torch.randn(5, 4, dtype=torch.float64))


# ------------------------------------------------------------------------------------------------- several processes


def _rank(rank, path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path / 'store'}", rank=rank, world_size=2)
    try:
        torch.save([_distributed_steps(kind, rank) for kind in KINDS], path / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def _distributed_steps(kind, rank=None):
    torch.manual_seed(0)
    model = Sequential(network(4, 6, 3), torch.nn.LayerNorm(3, dtype=torch.float64))
    batches = [data(20, 4, 3) for _ in range(4)]
    if rank is not None:
        with pytest.raises(ValueError, match="several processes"):
            NaturalGradient(model, metric=kind)
        model = torch.nn.parallel.DistributedDataParallel(model)
        batches = [(x[rank::2], y[rank::2]) for x, y in batches]
    optimizer = NaturalGradient(model, lr=0.3, metric=kind, momentum=0.5, refresh=2, clip=0.4)
    return train(model, optimizer, batches)


def test_two_processes_make_the_steps_of_one(tmp_path):
    mp.spawn(_rank, (tmp_path,), nprocs=2)
    for kind, *two in zip(KINDS, *(torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)), strict=True):
        one = _distributed_steps(kind)
        for parameters in two:
            assert_equal(parameters, one, rtol=1e-9)
