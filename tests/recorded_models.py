"""A stand-in for the trained models of a section: it keeps what it is asked to measure."""

from types import SimpleNamespace


class RecordedModels:
    """What a section `trained` asks of `rescore.models.evaluate.TrainedModels`.

    Args:
        processes: of each model, by the config's names.
        data: their data set.
        levels: of the networks that take another than 999 t.
    """

    def __init__(self, processes, data="digits", levels=None):
        self.names, self.data, self._processes, self._levels = tuple(processes), data, processes, levels or {}
        self.samplings, self.likelihoods, self.floors, self.trainings = [], [], [], 0

    def process(self, name):
        return self._processes[name]

    def spec(self, name):
        process = SimpleNamespace(name=type(self._processes[name]).__name__)
        return SimpleNamespace(network=SimpleNamespace(name="mlp", level=self._levels.get(name, "steps")), process=process)

    def measure(self, samplings, label, metrics=None):
        self.samplings += samplings

    def likelihood(self, *arguments, **options):
        self.likelihoods.append((arguments, options))

    def floor(self, table):
        self.floors.append(table)

    def training(self):
        self.trainings += 1
