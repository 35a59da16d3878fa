"""Commands that compute, fetch, or say what computing takes: run, train, import, figures, plan, fetch, proof, cost, parity."""

import argparse
import sys

from rescore.commands.output import print_counts, print_frame, print_table
from rescore.commands.places import chosen_suite, how_to_run, instead_of_run, papers_asked, scale_folder
from rescore.errors import RescoreError
from rescore.files import atomic_write, read_json
from rescore.papers import find_root


def run(args: argparse.Namespace) -> None:
    """Run one job of a paper."""
    from rescore.experiments.run import main_run

    main_run(args)


def train(args: argparse.Namespace) -> None:
    """Train the models named."""
    from rescore.models.train import main_train

    main_train(args)


def import_weights(args: argparse.Namespace) -> None:
    """Make published weights into ours."""
    from rescore.models.imported.load import main_import

    main_import(args)


def figures(args: argparse.Namespace) -> None:
    """Draw papers' figures."""
    from rescore.experiments.run import main_figures

    main_figures(args)


def plan(args: argparse.Namespace) -> None:
    """Print what a scale needs before anything starts."""
    from rescore.estimates import arithmetic, job_rows, model_rows, networks_path
    from rescore.ledger.cost import read_proofs
    from rescore.plan import all_needs, model_plans, need_rows, routes, sampling_plans, sampling_rows, write_networks

    suite = chosen_suite(args)
    plans = model_plans(suite)
    samplings = sampling_plans(suite, plans)
    for title, rows in (
        ("models", model_rows(plans)),
        ("jobs", job_rows(suite)),
        ("published networks", sampling_rows(samplings)),
        ("needs", need_rows(all_needs(suite))),
    ):
        print(f"{title}: {len(rows)}")
        if rows:
            print_table(list(rows[0]), rows)
        print()
    print("\n".join([*arithmetic(plans, read_proofs(args.results)), *routes(samplings, plans)]))
    if args.write:
        path = networks_path(find_root(args.root))  # which the report reads, whatever the results' folder
        print(f"{path}: {write_networks(path, plans)} networks")


def fetch(args: argparse.Namespace) -> int:
    """Download what a scale needs; 1 if something is missing."""
    from rescore.plan import all_needs, fetch

    found = all_needs(chosen_suite(args))
    missing = fetch(found)
    for name, reason in missing.items():
        print(f"{name}: {reason}", file=sys.stderr)
    print(f"{len(found) - len(missing)} of {len(found)} needs of scale {args.scale} are here")
    return int(bool(missing))


def proof(args: argparse.Namespace) -> int:
    """Measure this machine's GPU; 1 if a part failed."""
    from rescore.ledger.cost import read_proofs
    from rescore.proof import TINY, Size, prove

    size, device = (TINY, "cpu") if args.tiny else (Size(), "cuda")
    path = prove(size, device, args.results, args.missing)
    found = read_json(path)
    if rows := [row for row in read_proofs(args.results) if row["device"] == found["device"]]:
        print_table(list(rows[0]), rows)
    for part, error in found["failed"].items():
        print(f"{part} failed: {error}", file=sys.stderr)
    print(path)
    return int(bool(found["failed"]))


def cost(args: argparse.Namespace) -> None:
    """Print what each job took."""
    from rescore.ledger.cost import COST, MODELS, cost_frame, kept_costs, read_proofs, run_costs, timings
    from rescore.ledger.reference import read_reference
    from rescore.workflow.paths import ended_jobs

    papers = papers_asked(args)
    if reference := instead_of_run(args, "*/*/cost.json"):
        if (reference / COST).is_file():
            frame = cost_frame(kept_costs(reference / COST))
        else:
            frame = timings(read_reference(reference))
            print(f"no {reference / COST}: seconds are the timings that records name, less than the whole job", file=sys.stderr)
    else:
        jobs = ended_jobs(scale_folder(args), papers)
        rows = run_costs(scale_folder(args))
        frame = cost_frame(row for row in rows if row["paper"] == MODELS or (row["paper"], row["job"]) in jobs)
    shown = [*papers] if args.paper else [*papers, MODELS]
    frame, proofs = frame[frame["paper"].isin(shown)], read_proofs(args.results)
    if proofs:
        print_table(list(proofs[0]), proofs)
        print(f"{_count(len({row['device'] for row in proofs}), 'machine')}, as `rescore proof` measured them")
    if frame.empty and proofs:
        return
    if frame.empty:
        raise RescoreError(f"{scale_folder(args)}/<paper>/<job>/cost.json: no such file; make them with `{how_to_run(args)}`")
    print_frame(frame)
    trainings = int((frame["paper"] == MODELS).sum())
    models = f", {_count(trainings, 'model')}" if trainings else ""
    print(f"{_count(len(frame) - trainings, 'job')}{models}, {frame['seconds'].sum():.0f} s")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def parity(args: argparse.Namespace) -> int:
    """Print the library beside the authors' own numbers; 1 if one is off."""
    from rescore.parity.compare import compare_all
    from rescore.parity.table import COLUMNS, VERDICTS, golden_folder, to_csv

    rows = list(compare_all(golden_folder(args.golden)))
    print_table(COLUMNS[:-1], [vars(row) | {"verdict": row.verdict} for row in rows], digits=2)
    reasons = {row.reason: row.quantity for row in rows if row.verdict == "explained"}
    for reason, quantity in reasons.items():
        print(f"explained: {reason} (such as: {quantity})")
    print_counts([row.verdict for row in rows], VERDICTS)
    if args.out:
        atomic_write(args.out, to_csv(rows))
    return int(any(row.verdict == "off" for row in rows))
