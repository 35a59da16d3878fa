"""What a job's notebook makes of values at seeds."""

import pytest

from rescore.experiments.book import Measurement, Notebook

KEY = ("3.1", "rings", "DiffFlow", "ELBO", "nll", 30)


def test_a_record_is_the_mean_with_its_standard_error():
    book = Notebook()
    book.record(*KEY, [1.0, 2.0, 6.0], 300, {"batch": 5}, 1.5, over="trainings")
    (one,) = book.result.measurements
    # variance 7 of the three values, over 3
    assert (one.value, one.stderr) == (3.0, pytest.approx((7 / 3) ** 0.5, rel=1e-15))
    assert (one.table, one.nfe, one.n_seeds, one.n_samples, one.seconds) == ("3.1", 30, 3, 300, 1.5)
    assert (one.df, one.over) == (2, "trainings")


def test_samplings_of_one_training_are_one_training():
    one = Measurement.of_seeds(*KEY, [1.0, 2.0, 6.0], 300, {}, 0.0, over="samplings")
    assert (one.n_seeds, one.df, one.over) == (1, 2, "samplings") and one.stderr == pytest.approx((7 / 3) ** 0.5)


def test_one_seed_has_no_standard_error_and_a_count_has_none_to_have():
    one = Measurement.of_seeds(*KEY, [2.0], 10, {}, 0.0, over="runs")
    assert (one.stderr, one.df, one.n_seeds) == (None, None, 1)
    book = Notebook()
    book.exact(*KEY[:5], 7, {})
    assert (book.measurements[0].value, book.measurements[0].stderr, book.measurements[0].nfe) == (7.0, 0.0, None)
    assert (book.measurements[0].df, book.measurements[0].over) == (None, "exact")


def test_a_result_holds_all_of_the_notebook():
    book = Notebook(skipped=[{"reason": "no data"}], function_evaluations=12)
    assert book.result.skipped == [{"reason": "no data"}] and book.result.function_evaluations == 12
