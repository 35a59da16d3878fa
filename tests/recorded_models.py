"""A stand-in for the trained models of a section: it keeps what it is asked to measure."""

from types import SimpleNamespace


class RecordedModels:
    """What a section `trained` asks of `rescore.models.evaluate.TrainedModels`.

    Args:
        processes: of each model, by the config's names.
    """

    def __init__(self, processes):
        self.names, self._processes = tuple(processes), processes
        self.samplings, self.likelihoods, self.floors, self.trainings = [], [], [], 0

    def process(self, name):
        return self._processes[name]

    def spec(self, name):
        return SimpleNamespace(network=SimpleNamespace(name="mlp"))

    def measure(self, samplings, label, metrics=None):
        self.samplings += samplings

    def likelihood(self, *arguments, **options):
        self.likelihoods.append((arguments, options))

    def floor(self, table):
        self.floors.append(table)

    def training(self):
        self.trainings += 1
