"""What a scale will take, before anything starts: the networks are built without numbers and counted, the data looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from rescore.data.images import image_shape
from rescore.errors import MissingData, RescoreError
from rescore.estimates import COLUMNS, SPEED, ModelPlan, network_id, read_networks
from rescore.files import atomic_write
from rescore.ledger.published import read_published
from rescore.ledger.records import format_rows
from rescore.models.build import make_model, make_process
from rescore.models.listing import listable, listed
from rescore.models.needs import Need, needs
from rescore.models.parts import ADAPTIVE
from rescore.specs.config import TRAINED_HERE, ModelConfig
from rescore.specs.model import ModelSpec
from rescore.training.weights import parameter_count
from rescore.workflow.paths import missing_data, model_folder
from rescore.workflow.suite import Suite


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
    plans, counted = [], {}
    for key, of in suite.models.items():
        names = tuple(name for name, its in suite.model_names.items() if its == key)
        folder = model_folder(suite.options.results, suite.scale, key)
        trained = folder.is_dir() and missing_data(folder) is None
        network = network_id(of.spec)
        if network not in counted:  # papers and ablations train one network many times
            counted[network] = network_cost(of.spec)
        plans.append(ModelPlan(key, names, of.spec, of.seeds, *counted[network], trained, key not in suite.wanted_models))
    return sorted(plans, key=lambda plan: -plan.work)


def write_networks(path: Path, plans: Iterable[ModelPlan]) -> int:
    """Add the networks that train on GPUs to the file that `read_networks` reads; returns how many it has then."""
    rows = {name: {"network": name, "parameters": size, "gflop": gflop} for name, (size, gflop) in read_networks(path).items()}
    for plan in (plan for plan in plans if plan.spec.gpu):
        name = network_id(plan.spec)
        rows[name] = {"network": name, "parameters": plan.parameters, "gflop": plan.gflop}
    atomic_write(path, format_rows(COLUMNS, [rows[name] for name in sorted(rows)]))
    return len(rows)


@dataclass(frozen=True)
class SamplingPlan:
    """Jobs that sample published networks, of one paper and the same models.

    Args:
        jobs: their names.
        models: the config's names, each with its images times the evaluations of its network for one.
        cells: how many they measure.
        printed: how many printed numbers have the key of one of their records.
        gflop: of all evaluations.
        training: GFLOP of training the same networks here, as their `-trained-here` says; 0 where there is none.
    """

    paper: str
    jobs: tuple[str, ...]
    models: tuple[str, ...]
    cells: int
    printed: int
    gflop: float
    training: float


def sampling_plans(suite: Suite, plans: Iterable[ModelPlan]) -> list[SamplingPlan]:
    """Of all jobs of a run of everything that use published networks; takes seconds a job, for samplers' coefficients."""
    by_name = {name: plan for plan in plans for name in plan.names}
    found: list[SamplingPlan] = []
    for paper, rules in suite.papers.items():
        jobs = [job for job in rules.wanted if listable(rules.known, job)]
        path = rules.paper.folder / "published.csv"
        printed = {row.key for row in read_published(path, paper)} if jobs else set()
        for one in listed(rules.paper, rules.known, suite.scale, jobs) if jobs else ():
            models = tuple(dict.fromkeys(cell.model for cell in one.cells))
            config = cast(ModelConfig, rules.known)  # as that of every paper with models
            images = config.evaluation.samples * config.evaluation.sets(len(config.training_seeds), published=True)
            here = [by_name.get(f"{paper}/{name}{TRAINED_HERE}") for name in models]
            found.append(
                SamplingPlan(
                    paper,
                    one.jobs,
                    models,
                    len(one.cells),
                    len(printed & one.keys(paper)),
                    sum(images * one.evaluations(name) * (by_name[f"{paper}/{name}"].gflop or 0.0) for name in models),
                    sum(plan.work for plan in here if plan),
                )
            )
    return found


def hours(gflop: float) -> str:
    """From the fast to the slow end of `SPEED`."""
    slow, fast = (gflop / (speed * 1e3) / 3600 for speed in SPEED)
    return f"{fast:.1f} to {slow:.1f}" if gflop else ""


def sampling_rows(plans: Iterable[SamplingPlan]) -> list[dict[str, object]]:
    """A table's rows."""
    return [
        {
            "paper": plan.paper,
            "jobs": plan.jobs[0] if len(plan.jobs) == 1 else f"{plan.jobs[0]} ... {plan.jobs[-1]}",
            "models": " ".join(plan.models),
            "cells": plan.cells,
            "printed": plan.printed,
            "gpu_hours": hours(plan.gflop),
            "gpu_hours_trained_here": hours(plan.training),
        }
        for plan in plans
    ]


def trained_here(plans: Iterable[ModelPlan]) -> float:
    """GFLOP of training all networks that end in `-trained-here`, each node once."""
    here = [plan for plan in plans if any(name.endswith(TRAINED_HERE) for name in plan.names)]
    return sum(plan.work for plan in here)


def routes(plans: Sequence[SamplingPlan], models: Iterable[ModelPlan]) -> list[str]:
    """Published networks against training them, in lines."""
    if not plans:
        return []
    work, training = sum(plan.gflop for plan in plans), trained_here(models)
    return [
        f"Published networks: {sum(plan.printed for plan in plans)} printed numbers in "
        f"{sum(len(plan.jobs) for plan in plans)} jobs, {hours(work)} GPU-hours of sampling (evaluations x images x GFLOP; "
        f"{ADAPTIVE} evaluations assumed of an adaptive solver; likelihoods on top), no training.",
        f"Trained here, on request: {hours(training) or 0} GPU-hours of training come before the same sampling.",
    ]


def plan_block(suites: Iterable[Suite]) -> str:
    """What stands between the README's markers of the plan: a row a scale, all of it arithmetic."""
    rows = []
    for suite in suites:
        models = model_plans(suite)
        samplings = sampling_plans(suite, models)
        trained = [plan for plan in models if plan.spec.gpu and plan.images and not plan.on_request]
        rows.append(
            (
                suite.scale,
                len(trained),
                hours(sum(plan.work for plan in trained)),
                sum(plan.printed for plan in samplings),
                hours(sum(plan.gflop for plan in samplings)),
                hours(trained_here(models)),
            )
        )
    slow, fast = SPEED
    lines = [
        "| scale | trained models | GPU-hours | printed numbers of published networks | GPU-hours of sampling them "
        "| of training them instead |",
        "| --- | --- | --- | --- | --- | --- |",
        *("| " + " | ".join(str(cell or "") for cell in row) + " |" for row in rows),
    ]
    return (
        f"Estimates by `rescore plan`, not measured: operations of the networks' passes at {slow:g} to {fast:g} TFLOP/s of "
        f"one H100 (assumed).\n\n" + "\n".join(lines) + "\n"
    )


def all_needs(suite: Suite) -> list[Need]:
    """Of all papers, each once."""
    found = {need.name: need for rules in suite.papers.values() if rules.config for need in needs(rules.config)}
    return [found[name] for name in sorted(found)]


def need_rows(found: Iterable[Need]) -> list[dict[str, object]]:
    """A table's rows."""
    return [
        {
            "needs": need.name,
            "state": "present" if need.at_hand else "absent",
            "download_mb": need.megabytes if need.get and not need.at_hand else None,
            "place": "" if need.at_hand else f"under RESCORE_DATA: {need.place}" if need.get is None else "rescore fetch",
        }
        for need in found
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
