"""What a scale will take, before anything starts: the networks are built without numbers and counted, the data looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from rescore.data.images import image_shape
from rescore.errors import MissingData, RescoreError
from rescore.estimates import COLUMNS, ModelPlan, network_id, read_networks
from rescore.files import atomic_write
from rescore.ledger.records import format_rows
from rescore.models.build import make_model, make_process
from rescore.models.needs import Need, needs
from rescore.specs import ModelSpec
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
        plans.append(ModelPlan(key, names, of.spec, of.seeds, *counted[network], trained))
    return sorted(plans, key=lambda plan: -plan.work)


def write_networks(path: Path, plans: Iterable[ModelPlan]) -> int:
    """Add the networks that train on GPUs to the file that `read_networks` reads; returns how many it has then."""
    rows = {name: {"network": name, "parameters": size, "gflop": gflop} for name, (size, gflop) in read_networks(path).items()}
    for plan in (plan for plan in plans if plan.spec.gpu):
        name = network_id(plan.spec)
        rows[name] = {"network": name, "parameters": plan.parameters, "gflop": plan.gflop}
    atomic_write(path, format_rows(COLUMNS, [rows[name] for name in sorted(rows)]))
    return len(rows)


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
