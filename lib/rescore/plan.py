"""What a scale will take, before anything starts: models, jobs, downloads and hours of GPUs, the last by arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from rescore.data.images import image_shape
from rescore.errors import MissingData, RescoreError
from rescore.models.build import make_model, make_process
from rescore.models.needs import Need, needs
from rescore.specs import ModelSpec
from rescore.training.weights import parameter_count
from rescore.workflow.paths import missing_data, model_folder
from rescore.workflow.suite import Suite

BACKWARD = 3  # a training step takes three times the operations of the network's forward pass: the backward pass is two of them
SPEED = (100.0, 250.0)  # sustained TFLOP/s of one H100 in bf16, a tenth to a quarter of its peak: an assumption, nobody's measurement


@dataclass(frozen=True)
class ModelPlan:
    """One node that trains.

    Args:
        names: `<paper>/<name>` of all who use it.
        parameters: of the network.
        gflop: floating-point operations of its forward pass for one image, 1e9.
        trained: whether it is there already.
    """

    key: str
    names: tuple[str, ...]
    spec: ModelSpec
    seeds: tuple[int, ...]
    parameters: int
    gflop: float
    trained: bool

    @property
    def images(self) -> int:
        """That all its trainings see; published weights are not trained."""
        return 0 if self.spec.weights else self.spec.steps * self.spec.batch * len(self.seeds)

    def gpu_hours(self, tflops: float) -> float:
        """Of its trainings, at a sustained speed; 0 on the CPU."""
        return BACKWARD * self.gflop * self.images / (tflops * 1e3) / 3600 if self.spec.gpu else 0.0


def network_cost(spec: ModelSpec) -> tuple[int, float]:
    """Parameters, and GFLOP of a forward pass for one image, from tensors without numbers."""
    shape = image_shape(spec.data)
    with torch.device("meta"):  # neither memory nor arithmetic
        model = make_model(spec, make_process(spec.process, shape), shape)
        side = torch.empty(1, *model.process.state_shape(shape)).flatten(1, 1 + len(model.process.state_shape(())))
        level = torch.empty(1)
    with FlopCounterMode(display=False) as count, torch.no_grad():
        model.network(side, level)
    return parameter_count(model.network), count.get_total_flops() / 1e9


def model_plans(suite: Suite) -> list[ModelPlan]:
    """All nodes that train, the dearest first."""
    plans = []
    for key, of in suite.models.items():
        names = tuple(name for name, its in suite.model_names.items() if its == key)
        folder = model_folder(suite.options.results, suite.scale, key)
        trained = folder.is_dir() and missing_data(folder) is None
        plans.append(ModelPlan(key, names, of.spec, of.seeds, *network_cost(of.spec), trained))
    return sorted(plans, key=lambda plan: -plan.gflop * plan.images)


def model_rows(plans: Iterable[ModelPlan]) -> list[dict[str, object]]:
    """A table's rows; hours from the fast to the slow end of `SPEED`."""
    slow, fast = SPEED
    return [
        {"key": plan.key, "names": " ".join(plan.names), "data": plan.spec.data, "network": plan.spec.network.name,
         "parameters": f"{plan.parameters / 1e6:.2f} M", "trainings": len(plan.seeds), "steps": plan.spec.steps,
         "batch": plan.spec.batch, "gflop": plan.gflop, "gpu": plan.spec.gpu, "mem_mb": plan.spec.mem_mb,
         "gpu_hours": f"{plan.gpu_hours(fast):.2f} to {plan.gpu_hours(slow):.2f}" if plan.spec.gpu else "",
         "state": "trained" if plan.trained else "published weights" if plan.spec.weights else ""}
        for plan in plans
    ]  # fmt: skip


def job_rows(suite: Suite) -> list[dict[str, object]]:
    """A table's rows: what each job asks for, and the evaluations of models that its config tells of."""
    rows = []
    for paper, rules in suite.papers.items():
        for name in rules.jobs:
            job, trainings = rules.config.jobs[name], rules.config.job_trainings(name)
            evaluation, seeds = getattr(rules.config, "evaluation", None), max((len(of.seeds) for of in trainings.values()), default=0)
            judged = evaluation if trainings and "evaluation" in rules.config.model_fields_set else None  # else the paper has its own
            rows.append({"paper": paper, "job": name, "gpu": job.gpu, "threads": job.threads, "mem_mb": job.mem_mb,
                         "minutes": job.runtime, "models": len(trainings),
                         "samples": f"{seeds} x {judged.samples} a sampler" if judged else "",
                         "likelihoods": f"{seeds} x {judged.likelihood_images}" if judged else ""})  # fmt: skip
    return rows


def all_needs(suite: Suite) -> list[Need]:
    """Of all papers, each once."""
    found = {need.name: need for rules in suite.papers.values() if rules.config for need in needs(rules.config)}
    return [found[name] for name in sorted(found)]


def need_rows(found: Iterable[Need]) -> list[dict[str, object]]:
    """A table's rows."""
    return [{"needs": need.name, "state": "present" if need.at_hand else "absent",
             "download_mb": need.megabytes if need.get and not need.at_hand else None,
             "place": "" if need.at_hand else f"under RESCORE_DATA: {need.place}" if need.get is None else "rescore fetch"}
            for need in found]  # fmt: skip


def arithmetic(plans: Sequence[ModelPlan], proofs: Iterable[Mapping[str, object]] = ()) -> list[str]:
    """How the hours come about, in lines.

    Args:
        proofs: rows of `rescore.ledger.cost.read_proofs`: a GPU among them has a measured speed.
    """
    slow, fast = SPEED
    gpu = [plan for plan in plans if plan.spec.gpu and plan.images]
    if not gpu:
        return ["No model of this scale is trained on a GPU."]
    work = sum(BACKWARD * plan.gflop * plan.images for plan in gpu)
    dear = gpu[0]
    speeds: dict[str, float] = {}
    for row in proofs:
        if not str(row["device"]).startswith("cpu "):
            speeds[row["device"]] = max(speeds.get(row["device"], 0.0), row["tflops"])
    return [
        f"Estimate, not measured: training takes {BACKWARD} x (GFLOP an image) x (steps x batch x trainings), at a sustained "
        f"{slow:g} to {fast:g} TFLOP/s of one H100 (assumed).",
        f"For example {dear.names[0]}: {BACKWARD} x {dear.gflop:.1f} GFLOP x {dear.images:,} images = "
        f"{BACKWARD * dear.gflop * dear.images:.2e} GFLOP: {dear.gpu_hours(fast):.1f} to {dear.gpu_hours(slow):.1f} GPU-hours.",
        f"All {len(gpu)} models on GPUs: {work:.2e} GFLOP: {sum(plan.gpu_hours(fast) for plan in gpu):.1f} to "
        f"{sum(plan.gpu_hours(slow) for plan in gpu):.1f} GPU-hours. Sampling, likelihoods and trainings inside jobs come on top.",
        *(f"At the {speed:.0f} TFLOP/s that `rescore proof` measured on {device}: {work / (speed * 1e3) / 3600:.1f} GPU-hours."
          for device, speed in speeds.items()),
    ]


def fetch(found: Iterable[Need]) -> Mapping[str, str]:
    """Read each need, which downloads it and checks its digest; what could not be had, with the reason.

    One that is not to be downloaded is not read, only looked for. A damaged file is among them too: the others are fetched.
    """
    missing = {}
    for need in found:
        if need.get is None:
            if not need.at_hand:
                missing[need.name] = f"it is not downloaded; put {need.place} under RESCORE_DATA"
            continue
        try:
            need.get()
        except MissingData as error:
            missing[need.name] = str(error)
        except RescoreError as error:
            missing[need.name] = f"damaged: {error}"
        print(f"{need.name}: {'absent' if need.name in missing else 'here'}", flush=True)
    return missing
