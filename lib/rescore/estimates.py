"""What a scale will take, by arithmetic on its configs: rows of models and jobs, hours of GPUs. No torch.

The operations of a network's forward pass are an input: `rescore plan` counts them, and `rescore plan --write` keeps them by
network in results/reference/networks.csv, for whoever has no time to count, such as the report.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescore.config import config_hash
from rescore.data.images import image_shape
from rescore.errors import RescoreError
from rescore.ledger.records import read_rows
from rescore.specs.model import ModelSpec
from rescore.workflow.suite import Suite

BACKWARD = 3  # a training step takes three times the operations of the network's forward pass: the backward pass is two of them
PASSES = {"ssm": 2, "fd_ssm": 2}
"""By objective, that many times it: fd_ssm has two evaluations, ssm differentiates an evaluation and its derivative."""
SPEED = (50.0, 100.0)
"""Sustained TFLOP/s of one H100 in bf16: an assumption. What `rescore proof` measured stands beside it, from its own record."""
TRAINED_AS = "bf16, compiled, channels last"
"""Of the ways of training that `rescore proof` measures, the one that trainings on a GPU take."""
NETWORKS = "networks.csv"
COLUMNS = ("network", "parameters", "gflop")


def network_id(spec: ModelSpec) -> str:
    """A hash of what decides a network's size: its settings, the process's state, the images' shape, and what it predicts."""
    velocities = str(spec.objective.of_velocities)
    return config_hash(spec.network, spec.process.model_dump_json(), str(image_shape(spec.data)), velocities)


def networks_path(root: Path) -> Path:
    """Where the networks' sizes are kept, with the papers whose networks they are."""
    path = Path("results", "reference", NETWORKS)
    return path if root == Path.cwd() else root / path


def read_networks(path: Path) -> dict[str, tuple[int, float]]:
    """Parameters and GFLOP of a forward pass by `network_id`; none without a file."""
    if not path.is_file():
        return {}
    found = {}
    for line, row in read_rows(path, COLUMNS):
        try:
            found[row["network"]] = int(row["parameters"]), float(row["gflop"])
        except ValueError as error:
            raise RescoreError(f"{path}, line {line}: {error}") from None
    return found


@dataclass(frozen=True)
class ModelPlan:
    """One node that trains.

    Args:
        names: `<paper>/<name>` of all who use it.
        parameters: of the network; None where that is not known.
        gflop: floating-point operations of its forward pass for one image, 1e9; None likewise.
        trained: whether it is there already.
        on_request: no job of a run of everything uses it.
    """

    key: str
    names: tuple[str, ...]
    spec: ModelSpec
    seeds: tuple[int, ...]
    parameters: int | None
    gflop: float | None
    trained: bool
    on_request: bool = False

    @property
    def images(self) -> int:
        """That all its trainings see; published weights are not trained."""
        return 0 if self.spec.weights else self.spec.steps * self.spec.batch * len(self.seeds)

    @property
    def passes(self) -> int:
        """What a training step takes, in forward passes of the network for each of its images."""
        return BACKWARD * PASSES.get(self.spec.objective.name, 1)

    @property
    def work(self) -> float:
        """GFLOP of all its trainings; 0 where the network's are not known."""
        return self.passes * (self.gflop or 0.0) * self.images

    def gpu_hours(self, tflops: float) -> float:
        """Of its trainings, at a sustained speed; 0 on the CPU."""
        return self.work / (tflops * 1e3) / 3600 if self.spec.gpu else 0.0


def known_plans(suite: Suite, networks: Mapping[str, tuple[int, float]], trained: Container[str] = ()) -> list[ModelPlan]:
    """The models of a suite, the dearest first, by the networks that are known.

    Args:
        networks: of `read_networks`.
        trained: keys of models that are there already, which are left out.
    """
    plans = []
    for key, of in suite.models.items():
        if key not in trained:
            names = tuple(name for name, its in suite.model_names.items() if its == key)
            parameters, gflop = networks.get(network_id(of.spec), (None, None))
            asked = key not in suite.wanted_models
            plans.append(ModelPlan(key, names, of.spec, of.seeds, parameters, gflop, False, asked))
    return sorted(plans, key=lambda plan: -plan.work)


def model_rows(plans: Iterable[ModelPlan]) -> list[dict[str, object]]:
    """A table's rows; hours from the fast to the slow end of `SPEED`."""
    slow, fast = SPEED
    return [
        {
            "key": plan.key,
            "names": " ".join(plan.names),
            "data": plan.spec.data,
            "network": plan.spec.network.name,
            "parameters": f"{plan.parameters / 1e6:.2f} M" if plan.parameters is not None else "",
            "trainings": len(plan.seeds),
            "steps": plan.spec.steps,
            "batch": plan.spec.batch,
            "gflop": plan.gflop,
            "gpu": plan.spec.gpu,
            "mem_mb": plan.spec.mem_mb,
            "gpu_hours": f"{plan.gpu_hours(fast):.2f} to {plan.gpu_hours(slow):.2f}" if plan.spec.gpu and plan.gflop else "",
            "state": ", ".join(
                filter(
                    None,
                    (
                        "trained" if plan.trained else "published weights" if plan.spec.weights else "",
                        "on request" * plan.on_request,
                    ),
                )
            ),
        }
        for plan in plans
    ]


def job_rows(suite: Suite) -> list[dict[str, object]]:
    """A table's rows: what each job asks for, and the evaluations of models that its config tells of."""
    rows = []
    for paper, rules in suite.papers.items():
        for name in rules.jobs:
            job, trainings = rules.known.jobs[name], rules.known.job_trainings(name)
            evaluation = getattr(rules.known.under(name), "evaluation", None)
            # else the paper has its own
            judged = evaluation if trainings and "evaluation" in rules.known.model_fields_set else None
            sets = max(judged.sets(len(of.seeds), bool(of.spec.weights)) for of in trainings.values()) if judged else 0
            rows.append(
                {
                    "paper": paper,
                    "job": name,
                    "gpu": job.gpu,
                    "threads": job.threads,
                    "mem_mb": job.mem_mb,
                    "minutes": job.runtime,
                    "models": " ".join(trainings),
                    "part": getattr(job, "part", None) or "",
                    "on_request": "on request" * job.on_request,
                    "samples": f"{sets} x {judged.samples} a sampler" if judged else "",
                    "likelihoods": f"{sets} x {judged.likelihood_images}" if judged else "",
                }
            )
    return rows


def arithmetic(plans: Sequence[ModelPlan], proofs: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """How the hours come about, in lines.

    Args:
        proofs: rows of `rescore.ledger.cost.read_proofs`: a GPU among them has a measured speed of `TRAINED_AS`.
    """
    slow, fast = SPEED
    gpu = [plan for plan in plans if plan.spec.gpu and plan.images and not plan.on_request]
    if not gpu:
        return ["No model of this scale is trained on a GPU."]
    unknown, gpu = [plan for plan in gpu if not plan.work], [plan for plan in gpu if plan.work]
    left_out = [f"Not in it: {len(unknown)} whose network's operations are not known."] if unknown else []
    if not gpu:
        return left_out
    work = sum(plan.work for plan in gpu)
    dear = max(gpu, key=lambda plan: plan.work)
    speeds = {
        row["device"]: row["tflops"]
        for row in proofs
        if row["training"] == TRAINED_AS and not str(row["device"]).startswith("cpu ")
    }
    return [
        f"Estimate, not measured: training takes {BACKWARD} x (GFLOP an image) x (steps x batch x trainings), at a sustained "
        f"{slow:g} to {fast:g} TFLOP/s of one H100 (assumed).",
        f"For example {dear.names[0]}: {dear.passes} x {dear.gflop:.1f} GFLOP x {dear.images:,} images = "
        f"{dear.work:.2e} GFLOP: {dear.gpu_hours(fast):.1f} to {dear.gpu_hours(slow):.1f} GPU-hours.",
        f"All {len(gpu)} models on GPUs: {work:.2e} GFLOP: {sum(plan.gpu_hours(fast) for plan in gpu):.1f} to "
        f"{sum(plan.gpu_hours(slow) for plan in gpu):.1f} GPU-hours. Sampling, likelihoods and trainings inside jobs come on "
        "top; models on request are not counted.",
        *(
            f"At the {speed:.0f} TFLOP/s that rescore proof measured on {device}: {work / (speed * 1e3) / 3600:.1f} GPU-hours."
            for device, speed in speeds.items()
        ),
        *left_out,
    ]
